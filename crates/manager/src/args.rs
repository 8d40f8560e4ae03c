//! Pieces of the command line that several commands share.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

/// Longest password or key file that is read.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Reads a boolean as PBS does: `1 on yes true` or `0 off no false`, in any letter case.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Ok(true),
        "0" | "off" | "no" | "false" => Ok(false),
        _ => Err("expected true or false (also 1 on yes, 0 off no)".into()),
    }
}

/// Joins `--flag true` into `--flag=true` wherever `flag` is a boolean of `command`.
///
/// A boolean may stand alone or have a value, so a following word is its value only if it reads as a boolean:
/// `pull --remove-vanished pbs2 tank here` must not try to read `pbs2`.
pub(crate) fn join_boolean_values(words: impl IntoIterator<Item = OsString>, command: &clap::Command) -> Vec<OsString> {
    let mut flags = Vec::new();
    collect_booleans(command, &mut flags);
    let mut joined: Vec<OsString> = Vec::new();
    let mut options_over = false;
    for word in words {
        let value = word.to_str().filter(|text| parse_bool(text).is_ok());
        let flag = joined.last().and_then(|last| last.to_str()).filter(|last| flags.iter().any(|flag| flag == last));
        match (flag, value) {
            (Some(flag), Some(value)) if !options_over => {
                let both = format!("{flag}={value}").into();
                joined.pop();
                joined.push(both);
            }
            _ => {
                options_over |= word == OsStr::new("--");
                joined.push(word);
            }
        }
    }
    joined
}

fn collect_booleans(command: &clap::Command, found: &mut Vec<String>) {
    for arg in command.get_arguments().filter(|arg| arg.is_require_equals_set()) {
        found.extend(arg.get_long().map(|long| format!("--{long}")));
    }
    command.get_subcommands().for_each(|sub| collect_booleans(sub, found));
}

/// A file named on the command line, opened while the caller's own rights still hold.
///
/// A failure to open it is kept and reported by the command that uses it, so that it is no usage error.
#[derive(Clone, Debug)]
pub(crate) struct CallerFile {
    path: PathBuf,
    file: Arc<io::Result<File>>,
}

impl CallerFile {
    /// Opens `path` for reading.
    pub(crate) fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let file = Arc::new(File::open(&path));
        Self { path, file }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The open file.
    pub(crate) fn file(&self) -> Result<&File> {
        match &*self.file {
            Ok(file) => Ok(file),
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                Err(copy).with_context(|| format!("cannot open {}", self.path.display()))
            }
        }
    }

    /// The whole content of a small file.
    pub(crate) fn read_small(&self) -> Result<Vec<u8>> {
        read_limited(self.file()?).with_context(|| format!("cannot read {}", self.path.display()))
    }
}

impl FromStr for CallerFile {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::open(text))
    }
}

/// Where a password comes from: a file, or standard input for `-`.
#[derive(Clone, Debug)]
pub(crate) enum SecretSource {
    /// The first bytes of standard input.
    Stdin,
    /// A file.
    File(CallerFile),
}

impl FromStr for SecretSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdin } else { Self::File(CallerFile::open(text)) })
    }
}

impl SecretSource {
    /// Reads the secret; one trailing line end does not belong to it.
    pub(crate) fn read(&self) -> Result<String> {
        let (bytes, place) = match self {
            Self::Stdin => {
                (read_limited(io::stdin().lock()).context("cannot read standard input")?, "standard input".to_owned())
            }
            Self::File(file) => (file.read_small()?, file.path().display().to_string()),
        };
        let Ok(text) = String::from_utf8(bytes) else { bail!("the secret in {place} is not UTF-8 text") };
        let secret = strip_line_end(&text);
        if secret.is_empty() {
            bail!("the secret in {place} is empty");
        }
        if secret.chars().any(char::is_control) {
            bail!("the secret in {place} has a control character or more than one line");
        }
        Ok(secret.to_owned())
    }
}

fn strip_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn read_limited(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_SECRET_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SECRET_FILE {
        return Err(io::Error::other(format!("more than {MAX_SECRET_FILE} bytes, which is no password or key")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn command() -> Command {
        let flag = Arg::new("flag").long("remove-vanished").num_args(0..=1).require_equals(true);
        Command::new("x")
            .subcommand(Command::new("pull").arg(flag).arg(Arg::new("remote")).arg(Arg::new("n").long("ns")))
    }

    fn joined(words: &[&str]) -> Vec<OsString> {
        join_boolean_values(words.iter().map(OsString::from), &command())
    }

    #[test]
    fn a_boolean_takes_the_next_word_only_if_it_reads_as_one() {
        assert_eq!(joined(&["x", "pull", "--remove-vanished", "pbs2"]), ["x", "pull", "--remove-vanished", "pbs2"]);
        assert_eq!(
            joined(&["x", "pull", "--remove-vanished", "No", "pbs2"]),
            ["x", "pull", "--remove-vanished=No", "pbs2"]
        );
        assert_eq!(joined(&["x", "pull", "--ns", "on"]), ["x", "pull", "--ns", "on"]);
    }

    #[test]
    fn booleans_read_as_in_pbs() {
        for yes in ["1", "on", "YES", "true"] {
            assert_eq!(parse_bool(yes), Ok(true));
        }
        for no in ["0", "Off", "no", "FALSE"] {
            assert_eq!(parse_bool(no), Ok(false));
        }
        assert!(parse_bool("maybe").is_err());
    }

    #[test]
    fn one_trailing_line_end_is_not_part_of_a_password() {
        assert_eq!(strip_line_end("secret\n"), "secret");
        assert_eq!(strip_line_end("secret\r\n"), "secret");
        assert_eq!(strip_line_end("secret \n\n"), "secret \n");
    }

    #[test]
    fn a_missing_file_is_reported_when_it_is_used() {
        let secret: SecretSource = "/nonexistent/password".parse().unwrap();
        assert!(secret.read().unwrap_err().to_string().contains("/nonexistent/password"));
    }
}
