//! What a file means, line by line, and what is said about lines that mean nothing.

use section_config::{ProblemKind, SectionConfig};

/// `id(key=value ...)` of each usable section.
fn brief(file: &SectionConfig) -> Vec<String> {
    file.sections()
        .map(|section| {
            let properties: Vec<_> = section.properties().iter().map(|p| format!("{}={}", p.key, p.value)).collect();
            format!("{}/{}({})", section.kind(), section.id(), properties.join(" "))
        })
        .collect()
}

/// `line!` for a problem that takes its section out, `line` for a mere notice.
fn marks(file: &SectionConfig) -> Vec<String> {
    file.problems()
        .iter()
        .map(|problem| format!("{}{}", problem.line, if problem.breaks_section() { "!" } else { "" }))
        .collect()
}

#[test]
fn the_table_of_files() {
    for (name, text, sections, problems) in [
        ("empty file", "", vec![], vec![]),
        ("only blanks", "\n \n\t\n", vec![], vec![]),
        ("one section", "sync: a\n\tstore x\n\tns a/b\n", vec!["sync/a(store=x ns=a/b)"], vec![]),
        ("no line end at the end", "sync: a\n\tstore x", vec!["sync/a(store=x)"], vec![]),
        ("CRLF", "sync: a\r\n\tstore x\r\n\r\nsync: b\r\n", vec!["sync/a(store=x)", "sync/b()"], vec![]),
        ("space after the colon is optional", "sync:a\n", vec!["sync/a()"], vec![]),
        ("any white space indents", "sync: a\n  store x\n\u{a0}ns y\n", vec!["sync/a(store=x ns=y)"], vec![]),
        ("values are trimmed, not unquoted", "sync: a\n\tc  \"x\" # y \n", vec!["sync/a(c=\"x\" # y)"], vec![]),
        ("repeated keys keep their order", "s: a\n\tg 1\n\tx y\n\tg 2\n", vec!["s/a(g=1 x=y g=2)"], vec![]),
        ("empty value", "s: a\n\tns \n", vec!["s/a(ns=)"], vec![]),
        ("bare key reads as an empty value", "s: a\n\tns\n\tx y\n", vec!["s/a(ns= x=y)"], vec!["2"]),
        ("comment between sections", "# note\ns: a\n\n; note\n", vec!["s/a()"], vec!["1", "4"]),
        ("comment inside a section", "s: a\n# note\n\tx y\n\t# z\n", vec!["s/a(x=y)"], vec!["2", "4"]),
        ("indented line outside", "\tx y\n\ns: a\n", vec!["s/a()"], vec!["1"]),
        ("garbage outside", "what\n\ns: a\n", vec!["s/a()"], vec!["1"]),
        ("garbage inside breaks its section only", "s: a\nwhat\n\tx y\n\ns: b\n", vec!["s/b()"], vec!["2!"]),
        (
            "header without a blank line before it",
            "s: a\n\tx y\ns: b\n\tx z\n",
            vec!["s/a(x=y)", "s/b(x=z)"],
            vec!["3"],
        ),
        ("two words and a colon are no header inside", "s: a\nfoo bar: b\n", vec![], vec!["2!"]),
        ("header without id", "s:\n\tx y\n\ns: b\n", vec!["s/b()"], vec!["1!"]),
        (
            "same id twice: the last counts",
            "s: a\n\tx 1\n\ns: b\n\ns: a\n\tx 2\n",
            vec!["s/b()", "s/a(x=2)"],
            vec!["6"],
        ),
        ("a broken last one hides the first", "s: a\n\tx 1\n\ns: a\nwhat\n", vec![], vec!["4", "5!"]),
    ] {
        let file = SectionConfig::parse(text);
        assert_eq!(brief(&file), sections, "{name}");
        assert_eq!(marks(&file), problems, "{name}: {:?}", file.problems());
        assert_eq!(file.to_bytes(), text.as_bytes(), "{name}: bytes are kept");
    }
}

#[test]
fn a_file_that_knows_its_types_reports_others_and_takes_no_property_for_a_header() {
    let file = SectionConfig::parse_kinds("sync: a\n\tx y\ncomment: z\n\nrule: r\n\nsync: b\n", &["sync"]);

    assert_eq!(brief(&file), ["sync/b()"]);
    let kinds: Vec<_> = file.problems().iter().map(|problem| (problem.line, problem.kind.clone())).collect();
    assert_eq!(kinds, [(3, ProblemKind::PropertyExpected), (5, ProblemKind::UnknownKind("rule".into()))]);
}

#[test]
fn bytes_that_are_no_text_break_only_the_section_they_stand_in() {
    let bytes = b"s: a\n\tx \xff\n\ns: b\n\tx y\n# caf\xe9\n";
    let file = SectionConfig::parse(bytes);

    assert_eq!(brief(&file), ["s/b(x=y)"]);
    assert_eq!(marks(&file), ["2!", "6"]);
    assert_eq!(file.to_bytes(), bytes);
}

#[test]
fn a_problem_says_line_section_and_reason() {
    let file = SectionConfig::parse("sync: a\n\tstore x\nowner root@pam\n");

    assert_eq!(
        file.problems()[0].to_string(),
        "line 3 (section `sync: a`): a property (indented `key value`) is expected here; the whole section is ignored"
    );
}
