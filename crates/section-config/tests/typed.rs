//! Sections as structs, and structs as sections.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use section_config::{Section, SectionConfig};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Direction {
    Pull,
    Push,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Job {
    id: String,
    remote_store: String,
    ns: Option<String>,
    max_depth: Option<u8>,
    offset: Option<i64>,
    remove_vanished: Option<bool>,
    #[serde(default)]
    group_filter: Vec<String>,
    sync_direction: Option<Direction>,
}

fn read(text: &str) -> Result<Job, String> {
    let file = SectionConfig::parse(text);
    file.sections().next().unwrap().read("id").map(|read| read.value).map_err(|error| error.to_string())
}

#[test]
fn every_kind_of_field_is_read_and_written_back() {
    let text = "sync: a\n\tgroup-filter type:vm\n\tgroup-filter group:ct/1\n\tmax-depth 7\n\tns \n\toffset -3\n\
                \tremote-store x\n\tremove-vanished true\n\tsync-direction push\n";

    let job = read(text).unwrap();

    assert_eq!(
        job,
        Job {
            id: "a".into(),
            remote_store: "x".into(),
            ns: Some(String::new()),
            max_depth: Some(7),
            offset: Some(-3),
            remove_vanished: Some(true),
            group_filter: vec!["type:vm".into(), "group:ct/1".into()],
            sync_direction: Some(Direction::Push),
        }
    );
    assert_eq!(Section::from_value("sync", "id", &job).unwrap().to_text().unwrap(), text);
}

#[test]
fn unset_fields_are_not_written() {
    let text = "sync: a\n\tremote-store x\n";

    assert_eq!(Section::from_value("sync", "id", &read(text).unwrap()).unwrap().to_text().unwrap(), text);
}

#[test]
fn booleans_have_eight_spellings() {
    for (word, value) in [
        ("1", true),
        ("On", true),
        ("YES", true),
        ("true", true),
        ("0", false),
        ("off", false),
        ("No", false),
        ("FALSE", false),
    ] {
        let job = read(&format!("sync: a\n\tremote-store x\n\tremove-vanished {word}\n")).unwrap();
        assert_eq!(job.remove_vanished, Some(value), "{word}");
    }
}

#[test]
fn an_error_names_line_and_key() {
    for (line, expected) in [
        (
            "max-depth many",
            "line 3: property `max-depth`: `many` is not a fitting integer: invalid digit found in string",
        ),
        (
            "max-depth 256",
            "line 3: property `max-depth`: `256` is not a fitting integer: number too large to fit in target type",
        ),
        (
            "remove-vanished maybe",
            "line 3: property `remove-vanished`: `maybe` is no boolean (1 on yes true / 0 off no false)",
        ),
        ("sync-direction up", "line 3: property `sync-direction`: unknown variant `up`, expected `pull` or `push`"),
        ("ns a\n\tns b", "line 4: property `ns`: given more than once"),
        ("ns a\n\tid b", "line 4: property `id`: given more than once"),
    ] {
        assert_eq!(read(&format!("sync: a\n\tremote-store x\n\t{line}\n")).unwrap_err(), expected);
    }
    assert_eq!(read("\nsync: a\n\tns x\n").unwrap_err(), "line 2: property `remote-store`: missing and not optional");
}

#[test]
fn unknown_keys_are_handed_out_with_their_lines() {
    let file = SectionConfig::parse("sync: a\n\tnew-thing 1\n\tremote-store x\n\tnew-thing 2\n\tother\n");

    let read = file.get("a").unwrap().read::<Job>("id").unwrap();

    let unknown: Vec<_> = read.unknown.iter().map(|p| (p.line, p.key.as_str(), p.value.as_str())).collect();
    assert_eq!(unknown, [(2, "new-thing", "1"), (4, "new-thing", "2"), (5, "other", "")]);
}
