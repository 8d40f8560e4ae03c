//! Encrypted on the way out, decrypted on the way back, and readable by nobody in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use formats::{ArchiveKind, ArchiveName, ChunkDigest, CryptMode, DataBlob, Index, Manifest};

use crate::site::{Server, Site, count, noise};

const LIMIT: usize = 64 << 20;

/// A site with the golden datastore and the golden key, and another one that it pushes to as `vault`.
struct Pair {
    here: Site,
    there: Site,
    vault: PathBuf,
    _server: Server,
}

impl Pair {
    fn new() -> Self {
        let (here, there) = (Site::new(), Site::new());
        let vault = there.datastore("vault");
        let secret = there.token("sync", "Admin", "/datastore/vault");
        let server = there.serve();
        here.remote("offsite", server.address, "sync@pbs!run", &secret, &there.fingerprint());
        let key = here.path("golden-key.json");
        fs::write(&key, golden::key_file()).unwrap();
        here.run(["encryption-key", "import", "golden", key.to_str().unwrap()]).well();
        Self { here, there, vault, _server: server }
    }

    fn key_file(&self) -> String {
        self.here.path("golden-key.json").to_str().unwrap().to_owned()
    }
}

/// Every file of every snapshot below a datastore.
fn files(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![store.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !name.starts_with('.') {
                open.push(path);
            } else if [".fidx", ".didx", ".blob"].iter().any(|end| name.ends_with(end)) {
                found.insert(path.strip_prefix(store).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Every chunk of a datastore.
fn chunks(store: &Path) -> BTreeMap<ChunkDigest, DataBlob> {
    let directories = fs::read_dir(store.join(".chunks")).unwrap();
    let of_one = |directory: PathBuf| fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    directories
        .flat_map(|directory| of_one(directory.unwrap().path()))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            (name, DataBlob::parse(fs::read(path).unwrap()).unwrap())
        })
        .collect()
}

fn manifests(files: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<PathBuf, Manifest> {
    let manifests = files.iter().filter(|(path, _)| path.ends_with("index.json.blob"));
    manifests
        .map(|(path, bytes)| {
            let manifest = Manifest::parse_blob(&DataBlob::parse(bytes.clone()).unwrap()).unwrap();
            (path.parent().unwrap().to_owned(), manifest)
        })
        .collect()
}

/// Restores every archive of the golden datastore from `store`, and returns how many are as the stock client has them.
fn restored(site: &Site, store: &str, key: Option<&str>) -> usize {
    let mut good = 0;
    for wanted in golden::expected().unwrap() {
        for file in wanted.files.iter().filter(|file| file.name != formats::MANIFEST_NAME) {
            let Some(sha256) = &file.plain_sha256 else { continue };
            let output = site.path("restored");
            let words = ["restore", &wanted.snapshot, &file.name, output.to_str().unwrap(), "--store", store];
            let said = site.run(
                words
                    .into_iter()
                    .chain(["--ns", &wanted.ns])
                    .chain(key.map(|key| ["--keyfile", key]).into_iter().flatten()),
            );
            if said.code == Some(0) {
                let bytes = fs::read(&output).unwrap();
                fs::remove_file(&output).unwrap();
                assert_eq!(&ChunkDigest::of(&bytes).to_string(), sha256, "{} {}", wanted.snapshot, file.name);
                good += 1;
            } else {
                assert!(!output.exists(), "{said:#?}");
            }
        }
    }
    good
}

fn restorable() -> usize {
    let expected = golden::expected().unwrap();
    let files = expected.iter().flat_map(|snapshot| &snapshot.files);
    files.filter(|file| file.plain_sha256.is_some() && file.name != formats::MANIFEST_NAME).count()
}

#[test]
fn an_encrypting_push_leaves_nothing_readable_and_the_way_back_gives_everything() {
    let pair = Pair::new();
    let source = pair.here.golden("golden");
    let back = pair.here.datastore("back");

    let report = pair.here.words("push golden offsite vault --encryption-key golden").well().json();

    assert_eq!(count(&report, "snapshots-copied"), 12);
    // No chunk of the plain data is there, neither by name nor in any other form.
    let encrypted_before: BTreeSet<ChunkDigest> =
        chunks(&source).into_iter().filter(|(_, blob)| blob.kind().is_encrypted()).map(|(name, _)| name).collect();
    let plain: BTreeSet<ChunkDigest> =
        chunks(&source).into_keys().filter(|name| !encrypted_before.contains(name)).collect();
    let there = chunks(&pair.vault);
    assert!(plain.len() > 10 && there.len() > 10, "{} {}", plain.len(), there.len());
    assert!(there.values().all(|blob| blob.kind().is_encrypted()));
    assert!(there.keys().all(|name| !plain.contains(name)));
    let sent = files(&pair.vault);
    let is_manifest = |path: &Path| path.ends_with("index.json.blob");
    for (path, bytes) in sent.iter().filter(|(path, _)| path.extension().unwrap() == "blob" && !is_manifest(path)) {
        assert!(DataBlob::parse(bytes.clone()).unwrap().kind().is_encrypted(), "{}", path.display());
    }
    for (path, manifest) in manifests(&sent) {
        assert!(manifest.is_fully_encrypted() && manifest.signature.is_some(), "{}", path.display());
    }

    // The key file of the stock client opens all of it; without it nothing opens.
    let key = pair.key_file();
    assert_eq!(restored(&pair.there, "vault", Some(&key)), restorable());
    assert_eq!(restored(&pair.there, "vault", None), 0);

    // Nothing new: nothing is sent.
    let again = pair.here.words("push golden offsite vault --encryption-key golden").well().json();
    assert_eq!((count(&again, "chunks-transferred"), count(&again, "snapshots-copied")), (0, 0));

    // And back again, as announced.
    let announced = pair.here.words("pull offsite vault back --decryption-key golden --dry-run").well().json();
    assert!(files(&back).is_empty(), "a dry run wrote something");
    let report = pair.here.words("pull offsite vault back --decryption-key golden").well().json();
    assert_eq!(count(&report, "snapshots-copied"), 12);
    for key in ["snapshots-copied", "chunks-transferred", "chunks-reused", "errors", "warnings"] {
        assert_eq!(announced[key], report[key], "{key}");
    }
    assert_eq!((&announced["chunks-exact"], &announced["bytes-exact"]), (&true.into(), &false.into()));
    assert_eq!(restored(&pair.here, "back", None), restorable());
    assert_same_content(&source, &back);
    for namespace in ["", "site-a", "site-a/lab"] {
        pair.here.run(["snapshot", "verify", "back", "--ns", namespace]).well();
    }
    let again = pair.here.words("pull offsite vault back --decryption-key golden").well().json();
    assert_eq!((count(&again, "chunks-transferred"), count(&again, "bytes-transferred")), (0, 0));
}

/// Asserts that what was plain in `source` has the same indexes, blobs and notes in `back`, and all there is plain.
fn assert_same_content(source: &Path, back: &Path) {
    let (wanted, found) = (files(source), files(back));
    let before = manifests(&wanted);
    let after = manifests(&found);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (directory, before) in before {
        let after = &after[&directory];
        assert_eq!(after.notes(), before.notes());
        assert!(after.files.iter().all(|info| info.crypt_mode == CryptMode::None) && after.signature.is_none());
        if before.is_fully_encrypted() {
            continue;
        }
        for info in &before.files {
            let path = directory.join(info.filename.as_str());
            if info.kind() == ArchiveKind::Blob {
                let plain = |bytes: &[u8]| DataBlob::parse(bytes.to_vec()).unwrap().decode(None, LIMIT).unwrap();
                assert_eq!(plain(&found[&path]), plain(&wanted[&path]));
            } else {
                let copy = after.file(&info.filename).unwrap();
                assert_eq!((copy.csum, copy.size), (info.csum, info.size), "{}", path.display());
                let entries =
                    |bytes: &[u8]| -> Vec<_> { Index::parse_any(bytes.to_vec()).unwrap().entries().collect() };
                assert_eq!(entries(&found[&path]), entries(&wanted[&path]));
            }
        }
        let log = directory.join(ArchiveName::client_log().as_str());
        assert_eq!(found.contains_key(&log), wanted.contains_key(&log));
    }
    let chunks = chunks(back);
    assert!(chunks.values().all(|blob| !blob.kind().is_encrypted()));
}

#[test]
fn a_stored_job_sends_what_changed_and_nothing_else() {
    let pair = Pair::new();
    pair.here.datastore("own");
    let mut image = noise(1, 24 << 20);
    pair.here.back_up("own", "host/a", 1_700_000_000, "drive", &image);
    pair.here.words("encryption-key create fresh").well();
    pair.here
        .words(
            "sync-job create out --store own --remote offsite --remote-store vault --sync-direction push \
             --active-encryption-key fresh",
        )
        .well();
    assert_eq!(count(&pair.here.words("sync-job run out").well().json(), "chunks-transferred"), 6);
    image[..1000].fill(7);
    pair.here.back_up("own", "host/a", 1_700_000_100, "drive", &image);

    let report = pair.here.words("sync-job run out").well().json();

    assert_eq!((count(&report, "chunks-transferred"), count(&report, "chunks-reused")), (1, 5));
    let again = pair.here.words("sync-job run out").well().json();
    assert_eq!((count(&again, "chunks-transferred"), count(&again, "bytes-transferred")), (0, 0));

    // A key in use stays; one that was used is kept with the job.
    let refused = pair.here.run(["encryption-key", "archive", "fresh"]).ended(1);
    assert!(refused.err.contains("`out`"), "{refused:#?}");
    pair.here.run(["sync-job", "update", "out", "--active-encryption-key", "golden"]).well();
    let job = pair.here.words("sync-job show out").well().json();
    assert_eq!(job["associated-key"], serde_json::json!(["fresh"]));
    pair.here.run(["encryption-key", "archive", "fresh"]).well();

    // Archived, it still decrypts.
    let back = pair.here.datastore("back");
    pair.here.words("pull offsite vault back --decryption-key fresh").well();
    assert!(chunks(&back).values().all(|blob| !blob.kind().is_encrypted()));
}

#[test]
fn a_wrong_or_missing_key_is_named_and_nothing_is_touched() {
    let pair = Pair::new();
    pair.here.datastore("own");
    let back = pair.here.datastore("back");
    pair.here.back_up("own", "host/a", 1_700_000_000, "drive", &noise(2, 5 << 20));
    pair.here.words("encryption-key create other").well();
    pair.here.words("push own offsite vault --encryption-key golden").well();

    // With another key it stays encrypted, and with the right one it is then not decrypted over that.
    pair.here.words("pull offsite vault back --decryption-key other").well();
    assert!(chunks(&back).values().all(|blob| blob.kind().is_encrypted()));
    // What is there in plain is not overwritten by what cannot be decrypted.
    let refused = pair.here.run(["pull", "offsite", "vault", "own", "--decryption-key", "other"]).ended(1);
    assert!(refused.err.contains("no such key") && refused.err.contains("--associated-key"), "{refused:#?}");
    assert!(chunks(&pair.here.path("own")).values().all(|blob| !blob.kind().is_encrypted()));
    for words in ["push own offsite vault --encryption-key nokey", "pull offsite vault back --decryption-key nokey"] {
        let refused = pair.here.words(words).ended(1);
        assert!(refused.err.contains("there is: golden, other"), "{refused:#?}");
    }
}
