//! UPIDs: the names of tasks.

use std::fmt;
use std::str::FromStr;

use crate::escape::{escape_unit_name, unescape_unit_name};
use crate::name_error::{NameError, serde_as_text};
use crate::owner::AuthId;

/// Name of a task: where, in which process, when, what and by whom.
///
/// Its text is `UPID:node:pid:pstart:task-id:start-time:type:id:auth-id:`, numbers in zero-padded upper-case hex, the
/// id escaped (`docs/formats.md`, "UPID"). It is safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upid {
    /// Short host name: letters, digits, and `-` inside.
    pub node: String,
    /// Process id.
    pub pid: u32,
    /// Start of the process in kernel ticks since boot; at most 9 hex digits.
    pub pstart: u64,
    /// Counter of tasks inside the process.
    pub task_id: u64,
    /// Unix seconds at which the task began; 32 bits without sign.
    pub start_time: i64,
    /// Kind of task, without `:`, `/` and blanks.
    pub worker_type: String,
    /// What the task works on, unescaped; `None` when there is nothing to say.
    pub worker_id: Option<String>,
    /// Who started it.
    pub auth_id: AuthId,
}

impl FromStr for Upid {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = |rule| NameError::new("UPID", text, rule);
        let fields: Vec<&str> = text.splitn(11, ':').collect();
        let ["UPID", node, pid, pstart, task_id, start_time, worker_type, worker_id, auth_id, ""] = fields[..] else {
            return Err(bad("must be `UPID:` and eight fields, each followed by `:`"));
        };
        if !is_node_name(node) {
            return Err(bad("the node must be letters, digits, and `-` inside"));
        }
        let hex = |field: &str, digits: std::ops::RangeInclusive<usize>, rule| {
            if !digits.contains(&field.len()) || !field.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(bad(rule));
            }
            u64::from_str_radix(field, 16).map_err(|_| bad(rule))
        };
        let pid = hex(pid, 8..=8, "the process id must be 8 hex digits")?;
        let start_time = hex(start_time, 8..=8, "the start time must be 8 hex digits")?;
        if worker_type.is_empty() || worker_type.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
            return Err(bad("the type must not be empty nor contain `/` or blanks"));
        }
        if worker_id.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
            return Err(bad("the id must be escaped"));
        }
        let worker_id = match worker_id {
            "" => None,
            escaped => Some(unescape_unit_name(escaped).map_err(|_| bad("the id must be escaped"))?),
        };
        Ok(Self {
            node: node.to_owned(),
            pid: u32::try_from(pid).map_err(|_| bad("the process id must be 8 hex digits"))?,
            pstart: hex(pstart, 8..=9, "the process start must be 8 or 9 hex digits")?,
            task_id: hex(task_id, 8..=16, "the task id must be 8 to 16 hex digits")?,
            start_time: i64::try_from(start_time).map_err(|_| bad("the start time must be 8 hex digits"))?,
            worker_type: worker_type.to_owned(),
            worker_id,
            auth_id: auth_id.parse()?,
        })
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worker_id = self.worker_id.as_deref().map(escape_unit_name).unwrap_or_default();
        write!(f, "UPID:{}:{:08X}:{:08X}:", self.node, self.pid, self.pstart)?;
        write!(f, "{:08X}:{:08X}:", self.task_id, self.start_time)?;
        write!(f, "{}:{worker_id}:{}:", self.worker_type, self.auth_id)
    }
}

serde_as_text!(Upid);

fn is_node_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.bytes().all(inner) && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "UPID:pbs-a:000003E8:0000ABCD:00000007:6738F0A0:verificationjob:store1\\x3av\\x2d1:root@pam:";

    #[test]
    fn the_fields_of_a_upid_are_read_and_written_back() {
        let upid: Upid = TEXT.parse().unwrap();

        assert_eq!((upid.node.as_str(), upid.pid, upid.pstart, upid.task_id), ("pbs-a", 1000, 0xABCD, 7));
        assert_eq!((upid.start_time, upid.worker_type.as_str()), (0x6738_F0A0, "verificationjob"));
        assert_eq!(upid.worker_id.as_deref(), Some("store1:v-1"));
        assert_eq!(upid.to_string(), TEXT);
    }

    #[test]
    fn lower_case_numbers_and_an_empty_id_are_read() {
        let upid: Upid = "UPID:n:000003e8:12345abcd:0000000000000007:6738f0a0:verify::a@pbs!t:".parse().unwrap();

        assert_eq!(upid.worker_id, None);
        assert_eq!(upid.to_string(), "UPID:n:000003E8:12345ABCD:00000007:6738F0A0:verify::a@pbs!t:");
    }

    #[test]
    fn every_cut_of_a_upid_is_refused() {
        for end in 0..TEXT.len() {
            assert!(TEXT[..end].parse::<Upid>().is_err(), "{}", &TEXT[..end]);
        }
        assert!(format!("{TEXT}x").parse::<Upid>().is_err());
        assert!(format!("{TEXT}:").parse::<Upid>().is_err());
    }

    #[test]
    fn fields_of_the_wrong_shape_are_refused() {
        for (from, to) in [
            ("pbs-a", "-a"),
            ("pbs-a", "a.b"),
            ("000003E8", "3E8"),
            ("0000ABCD", "00000ABCDE"),
            ("00000007", "00000000000000007"),
            ("6738F0A0", "06738F0A0"),
            ("6738F0A0", "+738F0A0"),
            ("verificationjob", ""),
            ("verificationjob", "a/b"),
            ("store1", "../store1"),
            ("root@pam", "root"),
        ] {
            assert!(TEXT.replace(from, to).parse::<Upid>().is_err(), "{from} -> {to}");
        }
    }
}
