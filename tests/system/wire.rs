//! What crosses the wire, counted at a line between the two servers.

use crate::{
    line::Wire,
    site::{Site, count, noise},
};

const MIB: u64 = 1 << 20;

/// A source with store `src`, served through a counting line, known as `peer` at a target with store `dst`.
struct Pair {
    source: Site,
    target: Site,
    wire: Wire,
    _server: crate::site::Server,
}

impl Pair {
    fn new() -> Self {
        let (source, target) = (Site::new(), Site::new());
        source.datastore("src");
        target.datastore("dst");
        let secret = source.token("sync", "Admin", "/datastore");
        let server = source.serve();
        let wire = Wire::to(server.address);
        target.remote("peer", wire.address(), "sync@pbs!run", &secret, &source.fingerprint());
        Self { source, target, wire, _server: server }
    }
}

#[test]
fn chunks_that_two_groups_share_are_pulled_once() {
    let pair = Pair::new();
    let image = noise(1, 24 << 20);
    pair.source.back_up("src", "vm/100", 1_700_000_000, "drive", &image);
    pair.source.back_up("src", "vm/200", 1_700_000_000, "drive", &image);

    let report = pair.target.words("pull peer src dst").well().json();

    assert_eq!(count(&report, "snapshots-copied"), 2);
    assert_eq!(count(&report, "chunks-transferred"), 6);
    assert_eq!(count(&report, "chunks-reused"), 6);
    let down = pair.wire.bytes_down();
    assert!(down > 24 * MIB && down < 26 * MIB, "{down} bytes for 24 MiB that two groups share");
}

#[test]
fn the_report_counts_the_bytes_of_the_wire() {
    let pair = Pair::new();
    pair.source.back_up("src", "host/a", 1_700_000_000, "drive", &noise(2, 9 << 20));

    let report = pair.target.words("pull peer src dst").well().json();

    // The two sides look at slightly different moments of the connections' last bytes.
    let (seen_in, seen_out) = (pair.wire.bytes_down(), pair.wire.bytes_up());
    assert!(count(&report, "bytes-on-wire-in").abs_diff(seen_in) < 4096, "{seen_in} bytes seen, {report:#}");
    assert!(count(&report, "bytes-on-wire-out").abs_diff(seen_out) < 4096, "{seen_out} bytes seen, {report:#}");
    assert!(count(&report, "bytes-transferred") > 9 * MIB);
}

#[test]
fn a_run_with_nothing_to_do_moves_no_chunk_and_says_so() {
    let pair = Pair::new();
    pair.source.back_up("src", "host/a", 1_700_000_000, "drive", &noise(3, 9 << 20));
    pair.target.words("pull peer src dst").well();
    let before = pair.wire.bytes_down();

    let again = pair.target.run(["pull", "peer", "src", "dst"]).well();

    let said = format!("{}{}", again.out, again.err).to_lowercase();
    assert!(said.contains("nothing"), "{again:#?}");
    assert!(pair.wire.bytes_down() - before < MIB / 16);
}

#[test]
fn a_push_sends_no_chunk_of_the_previous_snapshot_again() {
    let pair = Pair::new();
    pair.target.datastore("own");
    let mut image = noise(4, 32 << 20);
    pair.target.back_up("own", "host/a", 1_700_000_000, "drive", &image);
    pair.target.words("push own peer src").well();
    image[..1000].fill(7);
    pair.target.back_up("own", "host/a", 1_700_000_100, "drive", &image);
    let before = pair.wire.bytes_up();

    let report = pair.target.words("push own peer src").well().json();

    assert_eq!(count(&report, "chunks-transferred"), 1);
    assert!(pair.wire.bytes_up() - before < 5 * MIB);
}

#[test]
fn rate_in_holds_for_the_bytes_of_the_wire() {
    let pair = Pair::new();
    pair.source.back_up("src", "host/a", 1_700_000_000, "drive", &noise(5, 8 << 20));

    let report = pair.target.words("pull peer src dst --rate-in 4MiB").well().json();

    let seconds = report["elapsed-seconds"].as_f64().expect("a number");
    // 8 MiB at 4 MiB/s, less the burst of one second's worth.
    assert!(seconds > 0.9, "{seconds} s for 8 MiB at 4 MiB/s");
}
