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

#[test]
fn ten_machines_cloned_from_one_are_pushed_for_the_price_of_their_unique_bytes() {
    let pair = Pair::new();
    pair.target.datastore("own");
    let shared = noise(6, 20 << 20);
    for clone in 0..10 {
        let mut image = shared.clone();
        image.extend(noise(100 + clone, 2 << 20));
        pair.target.back_up("own", &format!("vm/{}", 100 + clone), 1_700_000_000, "drive", &image);
    }
    let unique = 40 * MIB;

    let report = pair.target.words("push own peer src --worker-threads 4").well().json();

    assert_eq!(count(&report, "snapshots-copied"), 10);
    assert_eq!(count(&report, "chunks-transferred"), 5 + 10);
    assert_eq!(count(&report, "chunks-reused"), 9 * 5);
    let up = pair.wire.bytes_up();
    assert!(up > unique && up < unique / 100 * 105, "{up} bytes for {unique} unique ones");
    pair.source.run(["snapshot", "verify", "src"]).well();
}

#[test]
fn a_push_that_broke_off_sends_nothing_again_that_arrived() {
    let pair = Pair::new();
    pair.target.datastore("own");
    let image = noise(7, 40 << 20);
    pair.target.back_up("own", "vm/100", 1_700_000_000, "drive", &image);
    let mut push = pair.target.command(["push", "own", "peer", "src"]).spawn().expect("backup-manager starts");
    pair.wire.wait_for(25 * MIB, || push.try_wait().expect("a state").is_some());
    push.kill().expect("it dies");
    push.wait().expect("it died");
    let before = pair.wire.bytes_up();

    let report = pair.target.words("push own peer src").well().json();

    let sent = pair.wire.bytes_up() - before;
    assert!(before > 25 * MIB && before < 40 * MIB, "it was killed after {before} bytes");
    assert!(count(&report, "chunks-reused") > 0 && sent + 4 * MIB < 40 * MIB, "{sent} bytes, {report:#}");
}

/// A stored job between a site and a server that notes its calls.
struct Job {
    site: Site,
    peer: Site,
    _server: crate::site::Server,
}

impl Job {
    /// `DIRECTION` is `pull` or `push`; the store of the site is `here`, that of the peer `there`.
    fn new(direction: &str) -> Self {
        let (site, peer) = (Site::new(), Site::new());
        site.datastore("here");
        peer.datastore("there");
        let secret = peer.token("sync", "Admin", "/datastore");
        let server = peer.serve_noting_calls();
        site.remote("peer", server.address, "sync@pbs!run", &secret, &peer.fingerprint());
        let words = "sync-job create job --store here --remote peer --remote-store there";
        site.words(&format!("{words} --sync-direction {direction}")).well();
        Self { site, peer, _server: server }
    }

    /// Runs the job; returns its report and how often the peer was asked.
    fn run(&self) -> (serde_json::Value, usize) {
        let before = self.peer.calls().len();
        let report = self.site.words("sync-job run job").well().json();
        (report, self.peer.calls().len() - before)
    }
}

#[test]
fn a_job_with_nothing_to_do_knows_it_in_two_calls_whatever_the_number_of_snapshots() {
    for direction in ["pull", "push"] {
        let job = Job::new(direction);
        let (source, store) = if direction == "pull" { (&job.peer, "there") } else { (&job.site, "here") };
        for number in 0..50 {
            source.back_up(store, &format!("host/{}", number % 10), 1_700_000_000 + number, "a", b"small");
        }
        let (first, asked) = job.run();
        assert_eq!(count(&first, "snapshots-copied"), 50);
        assert!(asked > 10, "the first run looks at everything");

        let (second, asked) = job.run();
        assert_eq!((count(&second, "snapshots-copied"), second["result"].as_str()), (0, Some("ok")));
        assert!(asked <= 3, "{asked} calls: {:?}", job.peer.calls());
        let said = job.site.run(["sync-job", "run", "job"]).well();
        assert!(format!("{}{}", said.out, said.err).contains("nothing to do"), "{said:#?}");
    }
}

#[test]
fn any_change_at_either_end_makes_a_job_look_again() {
    let job = Job::new("pull");
    let snapshot = "host/a/2023-11-14T22:13:20Z";
    job.peer.back_up("there", "host/a", 1_700_000_000, "a", b"first");
    job.run();
    let looks = |what: &str| {
        let (_, asked) = job.run();
        assert!(asked > 3, "{what} was overlooked");
        let (_, asked) = job.run();
        assert!(asked <= 3, "after {what} everything was looked at twice");
    };
    assert!(job.run().1 <= 3);

    job.peer.back_up("there", "host/a", 1_700_000_100, "a", b"second");
    looks("a new snapshot at the source");
    for (site, store, end) in [(&job.peer, "there", "source"), (&job.site, "here", "target")] {
        let group = site.path(store).join("host/a");
        let mark = site.path(store).join(snapshot).join(".protected");
        std::fs::write(&mark, "").unwrap();
        looks(&format!("protection at the {end}"));
        std::fs::remove_file(&mark).unwrap();
        looks(&format!("no protection at the {end}"));
        std::fs::write(group.join("notes"), "new").unwrap();
        looks(&format!("a note at the {end}"));
        site.run(["snapshot", "verify", store]).well();
        looks(&format!("a verify state at the {end}"));
        site.run(["snapshot", "forget", store, snapshot]).well();
        looks(&format!("a removal at the {end}"));
    }
    job.site.run(["sync-job", "update", "job", "--transfer-last", "1"]).well();
    looks("another option");
    let receipt = job.site.path("var/lib/backup-manager/receipts/job.json");
    std::fs::write(&receipt, "damaged").unwrap_or_else(|error| panic!("{error}: {}", receipt.display()));
    looks("a damaged receipt");
    job.site.run(["sync-job", "update", "job", "--resync-corrupt", "true"]).well();
    assert!(job.run().1 > 3 && job.run().1 > 3, "resync-corrupt always looks");
}
