//! The golden datastore, written by a stock server, goes through every direction unharmed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use formats::{ArchiveKind, ArchiveName, CryptMode, DataBlob, Index, KeyFile, Manifest};

use crate::site::{Site, count};

/// Every file of every finished snapshot: path below the datastore, and bytes.
fn snapshot_files(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![store.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_file = [".fidx", ".didx", ".blob"].iter().any(|end| name.ends_with(end));
            if path.is_dir() && !name.starts_with('.') {
                open.push(path);
            } else if is_file && directory.join("index.json.blob").exists() {
                files.insert(path.strip_prefix(store).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Names of all chunk files.
fn chunks(store: &Path) -> BTreeSet<String> {
    let directories = fs::read_dir(store.join(".chunks")).unwrap();
    directories
        .flat_map(|directory| fs::read_dir(directory.unwrap().path()).unwrap())
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Digests that the indexes among `files` name.
fn referenced(files: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeSet<String> {
    let indexes = files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end != "blob"));
    indexes
        .flat_map(|(_, bytes)| {
            let index = Index::parse_any(bytes.clone()).unwrap();
            index.entries().map(|entry| entry.digest.to_string()).collect::<Vec<_>>()
        })
        .collect()
}

/// Asserts that `target` has every snapshot of `source` byte for byte, and exactly the chunks these name.
#[track_caller]
fn assert_identical(source: &Path, target: &Path) {
    let (wanted, found) = (snapshot_files(source), snapshot_files(target));
    assert!(wanted.len() > 30, "the golden datastore has more files than {}", wanted.len());
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (path, bytes) in &wanted {
        assert!(found[path] == *bytes, "{} differs", path.display());
    }
    assert_eq!(chunks(target), referenced(&wanted));
}

fn manifest(bytes: &[u8]) -> Manifest {
    Manifest::parse_blob(&DataBlob::parse(bytes.to_vec()).unwrap()).unwrap()
}

fn all_snapshots(site: &Site, store: &str) -> Vec<Vec<String>> {
    ["", "site-a", "site-a/lab", "empty-ns"].iter().map(|namespace| site.snapshots(store, namespace)).collect()
}

#[test]
fn it_lists_and_verifies() {
    let site = Site::new();
    site.golden("golden");

    let counts: Vec<usize> = all_snapshots(&site, "golden").iter().map(Vec::len).collect();
    assert_eq!(counts.iter().sum::<usize>(), 12);
    for namespace in ["", "site-a", "site-a/lab"] {
        site.run(["snapshot", "verify", "golden", "--ns", namespace]).well();
    }
}

#[test]
fn local_sync_reproduces_it_byte_for_byte() {
    let site = Site::new();
    let source = site.golden("golden");
    let target = site.datastore("copy");
    site.words("sync-job create gold --store copy --remote-store golden").well();

    let report = site.words("sync-job run gold").well().json();

    assert_identical(&source, &target);
    assert_eq!(count(&report, "snapshots-copied"), 12);
    assert_eq!(count(&report, "chunks-transferred"), chunks(&target).len() as u64);
    let again = site.words("sync-job run gold").well().json();
    assert_eq!((count(&again, "chunks-transferred"), count(&again, "snapshots-copied")), (0, 0));
    for namespace in ["", "site-a", "site-a/lab"] {
        site.run(["snapshot", "verify", "copy", "--ns", namespace]).well();
    }
}

#[test]
fn a_pull_reproduces_it_byte_for_byte() {
    let (here, there) = (Site::new(), Site::new());
    let source = there.golden("golden");
    let secret = there.token("sync", "DatastoreReader", "/datastore/golden");
    let server = there.serve();
    let target = here.datastore("copy");
    here.remote("stock", server.address, "sync@pbs!run", &secret, &there.fingerprint());
    here.words("sync-job create gold --store copy --remote stock --remote-store golden").well();

    let report = here.words("sync-job run gold").well().json();

    assert_identical(&source, &target);
    assert_eq!(count(&report, "snapshots-copied"), 12);
    let again = here.words("sync-job run gold").well().json();
    assert_eq!((count(&again, "chunks-transferred"), count(&again, "bytes-transferred")), (0, 0));
}

#[test]
fn a_push_keeps_contents_and_signatures() {
    let (here, there) = (Site::new(), Site::new());
    let source = here.golden("golden");
    let target = there.datastore("copy");
    let secret = there.token("sync", "Admin", "/datastore/copy");
    let server = there.serve();
    here.remote("stock", server.address, "sync@pbs!run", &secret, &there.fingerprint());

    let report = here.words("push golden stock copy").well().json();

    assert_eq!(count(&report, "snapshots-copied"), 12);
    let (wanted, found) = (snapshot_files(&source), snapshot_files(&target));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    let key = KeyFile::parse(golden::key_file()).unwrap().unlock(None).unwrap();
    let mut signed = 0;
    for (path, bytes) in &wanted {
        let name: ArchiveName = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        if name.as_str() == formats::MANIFEST_NAME {
            let (before, after) = (manifest(bytes), manifest(&found[path]));
            assert_eq!(after.canonical_signed_part(), before.canonical_signed_part(), "{}", path.display());
            assert_eq!(after.signature, before.signature);
            assert_eq!(after.notes(), before.notes());
            if after.signature.is_some() {
                after.verify_signature(&key).unwrap();
                signed += 1;
            }
            assert!(before.files.iter().all(|file| file.crypt_mode != CryptMode::SignOnly || signed > 0));
        } else if name.kind() == ArchiveKind::Blob {
            assert!(found[path] == *bytes, "{} differs", path.display());
        } else {
            let (before, after) = (Index::parse_any(bytes.clone()).unwrap(), found[path].clone());
            let after = Index::parse_any(after).unwrap();
            assert_eq!((after.csum(), after.size()), (before.csum(), before.size()), "{}", path.display());
            assert!(after.entries().eq(before.entries()));
        }
    }
    assert!(signed > 0, "the golden datastore has signed snapshots");
    assert_eq!(chunks(&target), referenced(&wanted));
    let again = here.words("push golden stock copy").well().json();
    assert_eq!((count(&again, "chunks-transferred"), count(&again, "snapshots-copied")), (0, 0));
}

#[test]
fn every_archive_restores_to_the_contents_the_stock_client_restored() {
    let site = Site::new();
    site.golden("golden");
    let key = site.path("key.json");
    fs::write(&key, golden::key_file()).unwrap();

    let mut restored = 0;
    for wanted in golden::expected().unwrap() {
        let snapshot = &wanted.snapshot;
        for file in &wanted.files {
            let Some(sha256) = &file.plain_sha256 else { continue };
            let output = site.path("restored");
            let words = ["restore", snapshot, file.name.as_str(), output.to_str().unwrap(), "--store", "golden"];
            let more = ["--ns", wanted.ns.as_str(), "--keyfile", key.to_str().unwrap()];
            site.run(words.into_iter().chain(more)).well();
            let bytes = fs::read(&output).unwrap();
            let digest = formats::ChunkDigest::of(&bytes).to_string();
            assert_eq!(
                (digest.as_str(), bytes.len() as u64),
                (sha256.as_str(), file.plain_bytes.unwrap()),
                "{snapshot}"
            );
            fs::remove_file(&output).unwrap();
            restored += 1;
        }
    }
    assert!(restored > 15, "only {restored} archives have expected contents");
}
