//! The recordings are what their README says, and the twins of their contents hold together.

use std::collections::HashSet;
use std::path::Path;

use formats::{Index, sha256};
use traces::{Recording, Trace, Twin};

fn all() -> Vec<Recording> {
    Trace::ALL.into_iter().map(Trace::load).collect()
}

#[test]
fn every_file_has_the_size_and_digest_that_its_readme_tells() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/traces");
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
    for trace in Trace::ALL {
        let name = format!("{}.jsonl", trace.name());
        let bytes = std::fs::read(dir.join(&name)).unwrap();
        let line = format!("| `{name}` | {} | `{}` |", bytes.len(), hex::encode(sha256(&bytes)));
        assert!(readme.lines().any(|known| known == line), "not in the README: {line}");
    }
}

#[test]
fn every_session_has_all_its_streams() {
    for recording in all() {
        for connection in recording.connections() {
            let streams: Vec<u64> = connection.session().filter_map(|exchange| exchange.stream).collect();
            let expected: Vec<u64> = (0..streams.len() as u64).map(|number| 2 * number + 1).collect();
            let mut sorted = streams.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, expected, "{} connection {}", recording.name, connection.number);
        }
    }
}

#[test]
fn every_index_is_known_entry_by_entry() {
    let recordings = all();
    let twin = Twin::of(&recordings.iter().collect::<Vec<_>>());
    let contents = twin.contents();
    let unproven: Vec<usize> =
        contents.indexes.values().filter(|shape| !shape.proven).map(|shape| shape.entries.len()).collect();
    // Only the long lists of the image of many chunks were cut.
    assert_eq!(unproven, [161]);
    for sighting in &contents.manifests {
        for file in sighting.json["files"].as_array().unwrap() {
            let csum = file["csum"].as_str().unwrap();
            assert!(contents.indexes.contains_key(csum) || contents.blobs.contains_key(csum), "{file} is not known");
        }
    }
}

#[test]
fn a_twin_is_consistent_in_itself() {
    let recordings = all();
    let twin = Twin::of(&recordings.iter().collect::<Vec<_>>());
    let mut verified = HashSet::new();
    for sighting in &twin.contents().manifests {
        let snapshot = twin.snapshot(&sighting.json);
        for (info, (name, bytes)) in snapshot.manifest.files.iter().zip(&snapshot.files) {
            assert_eq!(info.filename, *name);
            if name.as_str().ends_with(".blob") {
                assert_eq!((info.size, info.csum), (bytes.len() as u64, sha256(bytes)), "{name}");
            } else {
                let index = Index::parse(name.kind(), bytes.clone()).unwrap();
                assert_eq!((info.size, info.csum), (index.size(), index.csum()), "{name}");
            }
        }
        for chunk in snapshot.chunks.into_iter().filter(|chunk| verified.insert(chunk.digest)) {
            chunk.blob.verify_chunk(&chunk.digest, chunk.plain_len, Some(twin.key())).unwrap();
        }
        if snapshot.manifest.signature.is_some() {
            snapshot.manifest.verify_signature(twin.key()).unwrap();
        }
    }
}
