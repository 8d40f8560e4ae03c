//! A line that is cut in the middle of a run: the run finishes by itself, and next to nothing travels twice.

use wan_proxy::Line;

use crate::{
    line::Wire,
    site::{Site, count, noise},
};

const MIB: u64 = 1 << 20;
/// Enough that one chunk on its way at the cut is less than the fiftieth part.
const IMAGE_LEN: usize = 384 << 20;
const IMAGE: u64 = IMAGE_LEN as u64;

fn cut_after(bytes: u64) -> Line {
    Line { cut_after_bytes: bytes, ..Line::default() }
}

#[test]
fn a_pull_over_a_line_that_is_cut_finishes_by_itself_and_fetches_next_to_nothing_twice() {
    let (source, target) = (Site::new(), Site::new());
    source.datastore("src");
    source.back_up("src", "host/a", 1_700_000_000, "drive", &noise(1, IMAGE_LEN));
    let secret = source.token("sync", "Admin", "/datastore");
    let server = source.serve();
    let wire = Wire::with(cut_after(IMAGE / 2), server.address);
    target.datastore("dst");
    target.remote("peer", wire.address(), "sync@pbs!run", &secret, &source.fingerprint());

    let said = target.words("pull peer src dst").well();

    assert!(wire.was_cut());
    assert!(said.err.contains("broken off"), "{said:#?}");
    let report = said.json();
    assert_eq!(count(&report, "chunks-transferred"), IMAGE / (4 * MIB));
    assert_eq!(count(&report, "chunks-reused"), 0);
    let down = wire.bytes_down();
    assert!(down * 100 <= IMAGE * 102, "{down} bytes for {IMAGE}");
    target.run(["snapshot", "verify", "dst"]).well();
}

#[test]
fn a_push_over_a_line_that_is_cut_finishes_by_itself_and_sends_only_what_was_on_its_way_twice() {
    let (source, target) = (Site::new(), Site::new());
    source.datastore("src");
    source.back_up("src", "host/a", 1_700_000_000, "drive", &noise(2, IMAGE_LEN));
    let secret = target.token("sync", "Admin", "/datastore");
    let store = target.datastore("dst");
    let server = target.serve();
    let wire = Wire::with(cut_after(IMAGE / 2), server.address);
    source.remote("peer", wire.address(), "sync@pbs!run", &secret, &target.fingerprint());

    let said = source.words("push src peer dst").well();

    assert!(wire.was_cut() && store.exists());
    assert!(said.err.contains("broken off"), "{said:#?}");
    // The session that broke is gone with its snapshot; its chunks are known by who sent them.
    let up = wire.bytes_up();
    assert!(up <= IMAGE + 128 * MIB, "{up} bytes for {IMAGE}");
    target.run(["snapshot", "verify", "dst"]).well();
}
