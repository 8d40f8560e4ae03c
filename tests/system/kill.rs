//! SIGKILL at many points of a pull, a push and a backup: nothing incomplete shows, and the next run converges.
//!
//! The points are counted, not rolled: so many bytes on the wire, or so many chunks in the store. After each kill the
//! rerun may transfer at most what was missing (pull), or what the open archive holds (push).

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
};

use crate::{
    line::Wire,
    site::{Site, count, noise},
};

const MIB: usize = 1 << 20;
const CHUNK: usize = 4 * MIB;
const POINTS: usize = 20;
const CHUNKS: usize = 10;

fn start(site: &Site, words: &str) -> Child {
    let mut command = site.command(words.split_whitespace());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("backup-manager starts")
}

fn chunk_count(store: &Path) -> usize {
    let directories = fs::read_dir(store.join(".chunks")).unwrap();
    let files = directories.flat_map(|directory| fs::read_dir(directory.unwrap().path()).unwrap());
    files.filter(|file| file.as_ref().unwrap().file_name().len() == 64).count()
}

/// Makes a datastore as new: 65,536 directories for each point would be most of the work.
fn empty(store: &Path) {
    for directory in fs::read_dir(store.join(".chunks")).unwrap() {
        for file in fs::read_dir(directory.unwrap().path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    if store.join("host").exists() {
        fs::remove_dir_all(store.join("host")).unwrap();
    }
}

fn kill(mut child: Child) {
    // One that ended by itself just before is as good.
    child.kill().ok();
    child.wait().expect("an end");
}

/// Two archives of five chunks each, in one snapshot.
fn back_up_two(site: &Site, store: &str, time: i64, seed: u64) {
    let (first, second) = (site.path("first"), site.path("second"));
    fs::write(&first, noise(seed, 5 * CHUNK)).unwrap();
    fs::write(&second, noise(seed + 1, 5 * CHUNK)).unwrap();
    let archives = [format!("first.img:{}", first.display()), format!("second.img:{}", second.display())];
    let time = time.to_string();
    let target = ["--store", store, "--backup-type", "host", "--backup-id", "a", "--backup-time", &time];
    site.run(["backup", "create", &archives[0], &archives[1]].into_iter().chain(target)).well();
}

#[test]
fn a_killed_pull_shows_nothing_and_goes_on_where_it_stopped() {
    let (source, target) = (Site::new(), Site::new());
    source.datastore("src");
    back_up_two(&source, "src", 1_700_000_000, 1);
    let secret = source.token("sync", "Admin", "/datastore");
    let server = source.serve();
    let store = target.datastore("dst");
    let total = (CHUNKS * CHUNK) as u64;
    for point in 0..POINTS as u64 {
        empty(&store);
        let wire = Wire::to(server.address);
        let remote = format!("peer{point}");
        target.remote(&remote, wire.address(), "sync@pbs!run", &secret, &source.fingerprint());

        let mut child = start(&target, &format!("pull {remote} src dst"));
        wire.wait_for(total * point / POINTS as u64, || child.try_wait().unwrap().is_some());
        kill(child);

        let before = target.snapshots("dst", "");
        assert!(before.is_empty() || before == ["host/a/1700000000"], "{before:?}");
        let there = chunk_count(&store);
        let report = target.words(&format!("pull {remote} src dst")).well().json();
        assert_eq!(target.snapshots("dst", ""), ["host/a/1700000000"]);
        assert!(count(&report, "chunks-transferred") <= (CHUNKS - there) as u64, "{there} were there: {report:#}");
        target.run(["snapshot", "verify", "dst"]).well();
    }
}

#[test]
fn a_killed_push_shows_nothing_and_sends_at_most_the_open_archives_again() {
    let (source, target) = (Site::new(), Site::new());
    source.datastore("src");
    back_up_two(&source, "src", 1_700_000_000, 3);
    let secret = target.token("sync", "Admin", "/datastore");
    let store = target.datastore("dst");
    let server = target.serve();
    let total = (CHUNKS * CHUNK) as u64;
    for point in 0..POINTS as u64 {
        empty(&store);
        let wire = Wire::to(server.address);
        let remote = format!("peer{point}");
        source.remote(&remote, wire.address(), "sync@pbs!run", &secret, &target.fingerprint());

        let mut child = start(&source, &format!("push src {remote} dst"));
        wire.wait_for(total * point / POINTS as u64, || child.try_wait().unwrap().is_some());
        kill(child);

        let before = target.snapshots("dst", "");
        assert!(before.is_empty() || before == ["host/a/1700000000"], "{before:?}");
        // The server sees the end of the connection a moment after the kill: until then the group is busy.
        let report = loop {
            let said = source.words(&format!("push src {remote} dst"));
            if said.code == Some(0) {
                break said.json();
            }
            assert!(format!("{}{}", said.out, said.err).contains("lock"), "{said:#?}");
        };
        assert_eq!(target.snapshots("dst", ""), ["host/a/1700000000"]);
        assert!(count(&report, "chunks-transferred") <= CHUNKS as u64, "{report:#}");
        target.run(["snapshot", "verify", "dst"]).well();
    }
}

#[test]
fn a_killed_backup_shows_nothing_and_the_next_one_completes() {
    let site = Site::new();
    let image = site.path("image");
    fs::write(&image, noise(5, CHUNKS * CHUNK)).unwrap();
    let store = site.datastore("dst");
    let words = format!(
        "backup create drive.img:{} --store dst --backup-type host --backup-id a --backup-time 1700000000",
        image.display()
    );
    for point in 0..POINTS {
        empty(&store);

        let mut child = start(&site, &words);
        while chunk_count(&store) < (point * CHUNKS).div_ceil(POINTS) && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        kill(child);

        let before = site.snapshots("dst", "");
        if before.is_empty() {
            site.run(words.split_whitespace()).well();
        }
        assert_eq!(site.snapshots("dst", ""), ["host/a/1700000000"]);
        site.run(["snapshot", "verify", "dst"]).well();
    }
}
