//! `run-when`: what has to hold while a job runs.
//!
//! Nothing here looks whether it holds; that is the affair of who runs the job.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::byte_size::ByteSize;

/// Longest command line.
const MAX_COMMAND: usize = 1024;

/// One condition. A job with several runs while all of them hold.
#[derive(Clone, Debug, PartialEq)]
pub enum RunCondition {
    /// `ac-power`: the machine is not on battery.
    AcPower,
    /// `free-space:SIZE`: the file system of the job's local datastore has this much room.
    FreeSpace(ByteSize),
    /// `host:NAME[:PORT]`: a TCP connection to it can be made; without a port, to that of the job's remote.
    Host {
        /// DNS name or address; one of IPv6 stands in brackets when a port follows.
        name: String,
        /// TCP port.
        port: Option<u16>,
    },
    /// `command:LINE`: `/bin/sh -c LINE` ends with exit code 0.
    Command(String),
}

/// A text that is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {reason}; a condition is ac-power, free-space:SIZE, host:NAME[:PORT] or command:LINE")]
pub struct BadCondition {
    text: String,
    reason: String,
}

impl FromStr for RunCondition {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Self, BadCondition> {
        let bad = |reason: String| BadCondition { text: text.chars().take(64).collect(), reason };
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "ac-power" if value.is_empty() => Ok(Self::AcPower),
            "free-space" => match value.parse::<ByteSize>() {
                Ok(size) => Ok(Self::FreeSpace(size)),
                Err(error) => Err(bad(error.to_string())),
            },
            "host" => host(value).map_err(bad),
            "command" if value.trim().is_empty() => Err(bad("the command is missing".to_owned())),
            "command" if value.chars().count() > MAX_COMMAND || value.contains(char::is_control) => {
                Err(bad(format!("a command has one line of at most {MAX_COMMAND} characters")))
            }
            "command" => Ok(Self::Command(value.to_owned())),
            _ => Err(bad("no such condition".to_owned())),
        }
    }
}

fn host(value: &str) -> Result<RunCondition, String> {
    let (name, port) = match value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, rest)) => (name, Some(rest.strip_prefix(':').ok_or("only :PORT may follow the bracket")?)),
        // Two colons or more are an address of IPv6 without a port.
        None if value.matches(':').count() > 1 => (value, None),
        None => value.split_once(':').map_or((value, None), |(name, port)| (name, Some(port))),
    };
    if name.is_empty() || name.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err("the host is missing or has blanks".to_owned());
    }
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err("the port is a number from 1 to 65535".to_owned()),
    };
    Ok(RunCondition::Host { name: name.to_owned(), port })
}

impl fmt::Display for RunCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcPower => f.write_str("ac-power"),
            Self::FreeSpace(size) => write!(f, "free-space:{}", size.as_str()),
            Self::Host { name, port: None } => write!(f, "host:{name}"),
            Self::Host { name, port: Some(port) } if name.contains(':') => write!(f, "host:[{name}]:{port}"),
            Self::Host { name, port: Some(port) } => write!(f, "host:{name}:{port}"),
            Self::Command(line) => write!(f, "command:{line}"),
        }
    }
}

impl Serialize for RunCondition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunCondition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_is_read_and_written_alike() {
        for text in [
            "ac-power",
            "free-space:20 GiB",
            "host:vault.example.org",
            "host:vault.example.org:8007",
            "host:2001:db8::1",
            "host:[2001:db8::1]:443",
            "command:test -e /mnt/disk/ready: now",
        ] {
            assert_eq!(text.parse::<RunCondition>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "no such condition"),
            ("moon:full", "no such condition"),
            ("ac-power:yes", "no such condition"),
            ("free-space:lots", "is no size"),
            ("host:", "host is missing"),
            ("host:a:0", "port is a number"),
            ("host:[::1]x", "only :PORT"),
            ("command: ", "command is missing"),
        ] {
            let error = text.parse::<RunCondition>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
