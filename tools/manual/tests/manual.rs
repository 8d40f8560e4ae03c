//! The manual says everything, and what it says is true.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::CommandFactory;

/// Every key of a section except its id, which stands in the header.
fn keys<T: config::Entry>() -> BTreeSet<String> {
    config::properties::<T>().iter().filter(|key| **key != T::ID_KEY).map(ToString::to_string).collect()
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn man(page: &str) -> String {
    fs::read_to_string(repository("man").join(page)).unwrap()
}

/// Text of a page as it is read.
fn plain(text: &str) -> String {
    text.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\")
}

/// What a page explains with `.TP`, in the sections from `first` up to, not including, `end`.
fn terms(page: &str, first: &str, end: &str) -> BTreeSet<String> {
    let text = man(page);
    let from = text.find(&format!("\n.SH {first}\n")).unwrap();
    let to = text.find(&format!("\n.SH {end}\n")).unwrap();
    let lines: Vec<&str> = text[from..to].lines().collect();
    let tagged = lines.windows(2).filter(|pair| pair[0] == ".TP").map(|pair| pair[1]);
    tagged.map(|term| plain(term.split_whitespace().nth(1).unwrap().trim_matches('"'))).collect()
}

/// The keys that `backup-server.conf` has, `SECTION KEY`, found where they are read.
fn server_keys() -> BTreeSet<String> {
    let source = fs::read_to_string(repository("crates/config/src/server_conf.rs")).unwrap();
    let patterns = source.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split_once("\") =>"));
    let keys = patterns.map(|(pair, _)| pair.replace("\", \"", " "));
    keys.chain(config::NotifyConf::KEYS.map(|key| format!("notify {key}"))).collect()
}

#[test]
fn the_pages_in_the_repository_are_those_of_the_parsers() {
    for page in manual::pages(&repository("man/parts")).unwrap() {
        assert!(
            fs::read_to_string(repository("man").join(&page.file)).ok() == Some(page.text),
            "{}: run `make man`",
            page.file
        );
    }
}

#[test]
fn every_key_of_every_configuration_file_is_explained_and_no_other() {
    assert_eq!(terms("sync.cfg.5", "KEYS", "FILES"), keys::<config::SyncJobConfig>());
    assert_eq!(terms("remote.cfg.5", "KEYS", "FILES"), keys::<config::RemoteConfig>());
    assert_eq!(terms("datastore.cfg.5", "KEYS", "FILES"), keys::<config::DatastoreConfig>());
    let explained =
        ["server", "node", "limits", "scheduler", "tasks", "notify", "metrics", ""].windows(2).flat_map(|pair| {
            let end = if pair[1].is_empty() { "FILES".to_owned() } else { format!("[{}]", pair[1]) };
            let keys = terms("backup-server.conf.5", &format!("[{}]", pair[0]), &end);
            keys.into_iter().map(|key| format!("{} {key}", pair[0])).collect::<Vec<_>>()
        });
    assert_eq!(explained.collect::<BTreeSet<_>>(), server_keys());
}

#[test]
fn every_variable_of_scripts_is_explained_and_no_other() {
    let known = jobs::HOOK_VARIABLES.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(terms("backup-manager-hooks.7", "VARIABLES", "FILES"), known.collect());
}

#[test]
fn every_option_of_every_command_is_on_its_page() {
    fn check(page: &str, command: &clap::Command) {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let name = arg
                .get_long()
                .map_or_else(|| format!("<{}>", arg.get_value_names().unwrap()[0]), |long| format!("--{long}"));
            let written = page.contains(&name) || page.contains(&name.replace(['<', '>'], ""));
            assert!(written, "{} {name}", command.get_name());
        }
        command.get_subcommands().filter(|command| !command.is_hide_set()).for_each(|command| check(page, command));
    }
    check(&plain(&man("backup-server.8")), &server::Options::command());
    for group in manager::command().get_subcommands().filter(|group| !group.is_hide_set()) {
        check(&plain(&man(&format!("backup-manager-{}.8", group.get_name()))), group);
    }
}

/// Every page, by its file name.
fn every_page() -> Vec<String> {
    let names = fs::read_dir(repository("man")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "parts").collect()
}

#[test]
fn every_page_has_files_and_examples() {
    for page in every_page() {
        let text = man(&page);
        assert!(text.contains("\n.SH FILES\n") && text.contains("\n.SH EXAMPLES\n"), "{page}");
    }
}

/// Words as a shell sees them, as far as examples need it: quotes are single and stand around whole words.
fn words(line: &str) -> Vec<&str> {
    let parts = line.split('\'').enumerate();
    parts.flat_map(|(at, part)| if at % 2 == 0 { part.split_whitespace().collect() } else { vec![part] }).collect()
}

#[test]
fn every_command_in_an_example_is_one_that_the_parser_takes() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for page in every_page() {
        let text = plain(&man(&page)).replace("\\\n", " ");
        let examples = text.split("\n.SH EXAMPLES\n").nth(1).unwrap();
        for line in examples.lines().filter(|line| line.starts_with("backup-manager ")) {
            let command = line.split(['>', '|', '&']).next().unwrap();
            if let Err(error) = manager::command().try_get_matches_from(words(command)) {
                wrong.push(format!("{page}: {line}\n{error}"));
            }
            tried += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 20, "{tried}");
}

#[test]
fn every_schedule_in_an_example_is_one() {
    let page = man("backup-manager-calendar.7");
    let examples = page.split("\n.SH EXAMPLES\n").nth(1).unwrap();
    let lines: Vec<&str> = examples.lines().collect();
    let schedules = lines.windows(2).filter(|pair| pair[0] == ".TP").map(|pair| plain(pair[1]));
    let mut tried = 0;
    for schedule in schedules {
        let schedule = schedule.strip_prefix(".B ").unwrap().trim_matches('"');
        assert!(schedule.parse::<calendar::Schedule>().is_ok(), "{schedule}");
        tried += 1;
    }
    assert!(tried > 10, "{tried}");
}

#[test]
fn pages_render_without_a_warning() {
    for page in every_page() {
        for program in [&["mandoc", "-Tlint", "-W", "warning"][..], &["groff", "-ww", "-man", "-z"]] {
            let file = repository("man").join(&page);
            let output = Command::new(program[0]).args(&program[1..]).arg(file).output();
            let output = output.unwrap_or_else(|error| panic!("{} is needed: {error}", program[0]));
            let said = [output.stdout, output.stderr].concat();
            assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
        }
    }
}
