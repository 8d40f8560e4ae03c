//! How fast is a pull, a push, and a run with nothing to do - next to what this machine can do at all?
//!
//! Builds a synthetic datastore (half of it compressible), replicates it between two real servers over loopback TLS with
//! the shipped binaries, and prints rates, CPU seconds and peak memory, with the rate of one core's SHA-256 and of a
//! plain file copy measured in the same run. The ratios are the result; absolute numbers belong to the machine.

mod data;
mod process;
mod site;

use std::{io::Write, path::PathBuf, time::Instant};

use anyhow::Context;
use clap::Parser;

use crate::site::{Cost, Site};

const MIB: u64 = 1 << 20;

/// Measure pull, push and no-op runs against this machine's own rates
#[derive(Parser)]
struct Args {
    /// Directory that holds backup-manager and backup-server
    binaries: PathBuf,
    /// Logical size of the synthetic datastore in MiB
    #[arg(long, default_value_t = 2048)]
    mib: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let binaries = args.binaries.canonicalize().with_context(|| format!("no directory {}", args.binaries.display()))?;
    let temporary = tempfile::Builder::new().prefix("backup-replicator-bench.").tempdir()?;
    let mut out = std::io::stdout();

    writeln!(out, "Building {} MiB of backups in 2 groups (half compressible) ...", args.mib)?;
    let here = Site::start(&binaries, &temporary.path().join("a"))?;
    let there = Site::start(&binaries, &temporary.path().join("b"))?;
    let image = temporary.path().join("image");
    for (group, seed) in [("100", 1), ("101", 2)] {
        data::write_image(&image, args.mib / 2 * MIB, seed)?;
        here.back_up(&image, group)?;
    }
    let stored = data::stored_bytes(&here.store_path("main"))?;
    writeln!(out, "{} MiB stored in chunks\n", stored / MIB)?;

    let sha = data::sha256_rate();
    let copy = data::copy_rate(&here.store_path("main"), temporary.path())?;
    writeln!(out, "this machine: SHA-256 on one core {sha:.0} MiB/s, plain copy of the chunk files {copy:.0} MiB/s\n")?;

    there.trust("here", &here)?;
    let pull = measure(&there, &here, &["pull", "here", "main", "main"])?;
    let push = measure(&there, &here, &["push", "main", "here", "pushed"])?;
    let again = measure(&there, &here, &["pull", "here", "main", "main"])?;

    let gib = args.mib as f64 / 1024.0;
    writeln!(
        out,
        "{:<12} {:>8} {:>9} {:>12} {:>12} {:>10} {:>10} {:>10} {:>9}",
        "run", "seconds", "MiB/s", "CPU s/GiB", "CPU s/GiB", "peak MiB", "peak MiB", "of SHA-256", "of copy"
    )?;
    writeln!(
        out,
        "{:<12} {:>8} {:>9} {:>12} {:>12} {:>10} {:>10} {:>10} {:>9}",
        "", "", "logical", "replicator", "server", "replicator", "server", "(1 core)", ""
    )?;
    for (name, cost) in [("pull", &pull), ("push", &push)] {
        let rate = args.mib as f64 / cost.seconds;
        writeln!(
            out,
            "{:<12} {:>8.2} {:>9.0} {:>12.2} {:>12.2} {:>10} {:>10} {:>9.2}x {:>8.2}x",
            name,
            cost.seconds,
            rate,
            cost.own_cpu / gib,
            cost.peer_cpu / gib,
            cost.own_peak / MIB,
            cost.peer_peak / MIB,
            rate / sha,
            rate / copy,
        )?;
    }
    writeln!(
        out,
        "{:<12} {:>8.2} {:>9} {:>12} {:>12} {:>10} {:>10}",
        "no-op pull",
        again.seconds,
        "-",
        format!("{:.2} s", again.own_cpu),
        format!("{:.2} s", again.peer_cpu),
        again.own_peak / MIB,
        again.peer_peak / MIB,
    )?;
    writeln!(out, "\nchunks moved: pull {}, push {}, no-op {}", pull.chunks, push.chunks, again.chunks)?;
    Ok(())
}

/// Runs one replication at `site` against `peer` and says what it cost both.
fn measure(site: &Site, peer: &Site, arguments: &[&str]) -> anyhow::Result<Cost> {
    let peer_before = peer.server_cpu()?;
    let begin = Instant::now();
    let finished = site.manager_measured(arguments)?;
    let seconds = begin.elapsed().as_secs_f64();
    let report: serde_json::Value = serde_json::from_slice(&finished.output).context("the report is no JSON")?;
    anyhow::ensure!(report["result"] == "ok", "{arguments:?} ended with {report}");
    Ok(Cost {
        seconds,
        own_cpu: finished.cpu_seconds,
        peer_cpu: peer.server_cpu()? - peer_before,
        own_peak: finished.peak_bytes,
        peer_peak: peer.server_peak()?,
        chunks: report["chunks-transferred"].as_u64().context("no chunks-transferred in the report")?,
    })
}
