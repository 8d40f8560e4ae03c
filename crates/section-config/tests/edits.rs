//! An edit rewrites its own section and keeps every other byte.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use section_config::{Section, SectionConfig};

fn section(id: &str, properties: &[(&str, &str)]) -> Section {
    let mut section = Section::new("sync", id);
    for (key, value) in properties {
        section.push(*key, *value);
    }
    section
}

fn after_set(text: &str, new: &Section) -> String {
    let mut file = SectionConfig::parse(text);
    file.set(new).unwrap();
    String::from_utf8(file.to_bytes()).unwrap()
}

fn after_remove(text: &str, id: &str) -> String {
    let mut file = SectionConfig::parse(text);
    assert!(file.remove(id));
    String::from_utf8(file.to_bytes()).unwrap()
}

#[test]
fn a_section_is_written_canonically() {
    let new = section("a", &[("store", "x"), ("group-filter", "2"), ("ns", ""), ("group-filter", "1")]);

    assert_eq!(after_set("", &new), "sync: a\n\tgroup-filter 2\n\tgroup-filter 1\n\tns \n\tstore x\n");
}

#[test]
fn a_new_section_comes_last_after_one_empty_line() {
    let new = section("z", &[]);
    for (before, after) in [
        ("", "sync: z\n"),
        ("sync: a\n", "sync: a\n\nsync: z\n"),
        ("sync: a", "sync: a\n\nsync: z\n"),
        ("sync: a\n\n", "sync: a\n\nsync: z\n"),
        ("sync: a\n\n# end", "sync: a\n\n# end\n\nsync: z\n"),
        ("sync: a\n  ", "sync: a\n  \nsync: z\n"),
    ] {
        assert_eq!(after_set(before, &new), after, "{before:?}");
    }
}

#[test]
fn a_changed_section_stays_in_its_place_and_its_comments_follow_its_properties() {
    let before = "# top\n\nsync: a\n  store  old\n# why\n\tns\n\n\nsync: b\r\n\tx  y\r\n";
    let after = "# top\n\nsync: a\n\tstore new\n# why\n\n\nsync: b\r\n\tx  y\r\n";

    assert_eq!(after_set(before, &section("a", &[("store", "new")])), after);
}

#[test]
fn removing_takes_one_of_the_empty_lines_along() {
    for (before, after) in [
        ("sync: a\n", ""),
        ("sync: a\n\nsync: b\n", "sync: b\n"),
        ("sync: b\n\nsync: a\n", "sync: b\n"),
        ("sync: b\n\nsync: a\n\tx y\n\nsync: c\n", "sync: b\n\nsync: c\n"),
        ("# note\nsync: a\n\nsync: c\n", "# note\n\nsync: c\n"),
        ("sync: b\nsync: a\n\nsync: c\n", "sync: b\n\nsync: c\n"),
        ("sync: a\nwhat\n\nsync: c\n", "sync: c\n"),
        ("sync: a\n\nsync: c\n\nsync: a\n", "sync: c\n"),
    ] {
        assert_eq!(after_remove(before, "a"), after, "{before:?}");
    }
}

#[test]
fn what_could_not_be_read_back_is_refused_and_nothing_changes() {
    let mut file = SectionConfig::parse("sync: a\n");
    for bad in [
        section("", &[]),
        section(" a", &[]),
        section("a\nsync: b", &[]),
        section("b", &[("k", "x\ny")]),
        section("b", &[("k", " x")]),
        section("b", &[("k k", "x")]),
        section("b", &[("", "x")]),
        section("b", &[("#k", "x")]),
        Section::new("sy nc", "b"),
        Section::new("", "b"),
    ] {
        assert!(file.set(&bad).is_err(), "{bad:?}");
    }
    assert_eq!(file.to_bytes(), b"sync: a\n");
}

#[test]
fn a_refused_secret_is_not_shown() {
    let error = SectionConfig::default().set(&section("a", &[("password", "se\u{7}cret")])).unwrap_err();

    assert!(!format!("{error} {error:?}").contains("cret"));
}

/// A piece of a file: a section with known id, or something between.
#[derive(Clone, Debug)]
struct Piece {
    id: Option<String>,
    text: String,
}

fn piece() -> impl Strategy<Value = Piece> {
    let body = prop::sample::select(vec![
        "\tstore x\n",
        "  ns a/b  \n",
        "\tns\n",
        "\tgroup-filter type:vm\n",
        "bad line\n",
        "\tcomment ä: ö\r\n",
    ]);
    let section = ("[a-e]", prop::collection::vec(body, 0..4), prop::sample::select(vec!["\n", "\r\n"]))
        .prop_map(|(id, body, eol)| Piece { text: format!("sync:  {id}{eol}{}", body.concat()), id: Some(id) });
    let between =
        prop::sample::select(vec!["\n", " \t\n", "\r\n", "\n# comment\n\n", "\nno header\n\n", "\n\torphan x\n\n"])
            .prop_map(|text| Piece { id: None, text: text.to_owned() });
    (section, between).prop_map(|(section, between)| vec![section, between]).prop_map(|pieces| Piece {
        id: pieces[0].id.clone(),
        text: pieces.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>().join("\u{0}"),
    })
}

/// The pieces as [section, between, section, between, ...], with ids of sections.
fn split(pieces: &[Piece]) -> Vec<(Option<&str>, &str)> {
    pieces
        .iter()
        .flat_map(|piece| {
            let (section, between) = piece.text.split_once('\u{0}').unwrap();
            [(piece.id.as_deref(), section), (None, between)]
        })
        .collect()
}

proptest! {
    #[test]
    fn any_bytes_are_kept(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(SectionConfig::parse(&bytes).to_bytes(), bytes);
    }

    #[test]
    fn any_lines_are_kept(text in "([a-z#;\t :\r]{0,6}\n){0,12}") {
        prop_assert_eq!(SectionConfig::parse(&text).to_bytes(), text.as_bytes());
    }

    #[test]
    fn everything_outside_a_set_section_is_identical(pieces in prop::collection::vec(piece(), 1..6), id in "[a-e]") {
        let parts = split(&pieces);
        let text: String = parts.iter().map(|(_, text)| *text).collect();
        let new = section(&id, &[("store", "new"), ("ns", "")]);
        let canonical = "sync: ID\n\tns \n\tstore new\n".replace("ID", &id);

        let result = after_set(&text, &new);

        match parts.iter().rposition(|(part, _)| *part == Some(id.as_str())) {
            Some(last) => {
                let expected: String = parts
                    .iter()
                    .enumerate()
                    .map(|(at, (_, text))| if at == last { canonical.as_str() } else { *text })
                    .collect();
                prop_assert_eq!(&result, &expected);
            }
            None => {
                prop_assert!(result.starts_with(&text) && result.ends_with(&["\n", &canonical].concat()));
                prop_assert!(result.len() <= text.len() + canonical.len() + 1);
            }
        }
        let read = SectionConfig::parse(&result);
        let found = read.get(&id).unwrap();
        prop_assert_eq!((found.get("store"), found.get("ns")), (Some("new"), Some("")));
    }

    #[test]
    fn everything_outside_a_removed_section_is_identical(pieces in prop::collection::vec(piece(), 1..6), id in "[a-e]") {
        let parts = split(&pieces);
        let text: String = parts.iter().map(|(_, text)| *text).collect();
        let mut file = SectionConfig::parse(&text);
        let others: Vec<_> =
            file.sections().filter(|section| section.id() != id).map(|section| section.to_text().unwrap()).collect();

        let removed = file.remove(&id);

        let result = String::from_utf8(file.to_bytes()).unwrap();
        prop_assert_eq!(removed, parts.iter().any(|(part, _)| *part == Some(id.as_str())));
        prop_assert!(file.get(&id).is_none() && file.line_of(&id).is_none());
        let left: Vec<_> = file.sections().map(|section| section.to_text().unwrap()).collect();
        prop_assert_eq!(left, others);
        // Visible lines of everything else are there, unchanged and in order.
        let visible = |text: &str| text.split_inclusive('\n').filter(|line| !line.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let expected: String = parts.iter().filter(|(part, _)| *part != Some(id.as_str())).map(|(_, text)| *text).collect();
        prop_assert_eq!(visible(&result), visible(&expected));
    }

    #[test]
    fn a_canonical_file_stays_byte_for_byte_when_its_sections_are_set_again(
        sections in prop::collection::vec(prop::collection::vec(("[a-z]{1,3}", "[ -~]{0,8}"), 0..4), 0..4),
    ) {
        let mut file = SectionConfig::default();
        for (number, properties) in sections.iter().enumerate() {
            let mut new = Section::new("sync", format!("id{number}"));
            for (key, value) in properties {
                new.push(key.as_str(), value.trim());
            }
            file.set(&new).unwrap();
        }
        let bytes = file.to_bytes();

        let again: Vec<Section> = file.sections().cloned().collect();
        for section in &again {
            file.set(section).unwrap();
        }

        prop_assert!(file.problems().is_empty());
        prop_assert_eq!(file.to_bytes(), bytes);
    }
}
