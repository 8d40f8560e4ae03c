//! The shipped units start what there is.

use std::fs;
use std::path::Path;

use clap::CommandFactory;

#[test]
fn every_command_of_a_unit_is_one_that_the_parsers_take() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc/systemd");
    let mut tried = 0;
    for unit in fs::read_dir(units).unwrap() {
        let text = fs::read_to_string(unit.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.starts_with("Exec")) {
            let (_, command) = line.split_once('=').unwrap();
            let command = command.replace("%i", "nightly");
            let mut words = command.split_whitespace();
            let parser = match words.next().unwrap() {
                "/usr/bin/backup-manager" => manager::command(),
                "/usr/bin/backup-server" => server::Options::command(),
                "/bin/kill" => continue,
                other => panic!("{other}"),
            };
            if let Err(error) = parser.try_get_matches_from(command.split_whitespace()) {
                panic!("{line}\n{error}");
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 4);
}
