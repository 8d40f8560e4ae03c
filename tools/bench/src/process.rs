//! What a process cost: CPU seconds and peak memory, as the kernel counts them.

use std::{
    fs,
    io::Read,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};

/// A finished run of a command.
pub(crate) struct Finished {
    pub(crate) output: Vec<u8>,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
}

/// Runs `command` to its end and measures it.
pub(crate) fn run_measured(command: &mut Command) -> anyhow::Result<Finished> {
    let before = children_cpu()?;
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut stdout = child.stdout.take().context("no standard output")?;
    let reader = thread::spawn(move || {
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).map(|_| output)
    });
    let mut peak_bytes = 0;
    let status = loop {
        // The high-water mark only rises, so the last look before the end is the peak to within a blink.
        peak_bytes = peak_of(&child).unwrap_or(peak_bytes);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let output = reader.join().ok().context("reader of standard output panicked")??;
    anyhow::ensure!(status.success(), "{command:?} ended with {status}");
    Ok(Finished { output, cpu_seconds: children_cpu()? - before, peak_bytes })
}

/// Highest resident memory of a running process, in bytes.
pub(crate) fn peak_of(child: &Child) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// CPU seconds a running process has used.
pub(crate) fn cpu_of(child: &Child) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    // The command name in parentheses may hold anything; fields are counted behind it.
    let (_, fields) = stat.rsplit_once(") ").context("odd /proc/PID/stat")?;
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no clock tick")?;
    Ok(ticks.iter().sum::<f64>() / per_second as f64)
}

fn children_cpu() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
