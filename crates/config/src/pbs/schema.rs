//! The properties of a stock server's section files (version 4.2), and what their values may be.

use std::path::Path;
use std::str::FromStr;

use calendar::{CalendarEvent, Difference};
use formats::{AuthId, Fingerprint, GroupFilter, JobId, Namespace, RemoteName, StoreName, UserId};
use section_config::{PropertyString, parse_bool};

use crate::byte_size::ByteSize;
use crate::remotes::is_host;
use crate::store::rules;

/// What a value may be.
pub(super) type Check = fn(&str) -> Result<(), String>;

/// One property.
pub(super) struct PropertySchema {
    pub(super) key: &'static str,
    pub(super) check: Check,
    /// Whether every section has it.
    pub(super) required: bool,
    /// Whether it may stand more than once.
    pub(super) list: bool,
}

/// One type of section.
pub(super) struct KindSchema {
    pub(super) kind: &'static str,
    pub(super) id: Check,
    pub(super) properties: &'static [PropertySchema],
}

/// One file.
pub(super) struct FileSchema {
    pub(super) name: &'static str,
    pub(super) kinds: &'static [KindSchema],
}

impl KindSchema {
    pub(super) fn property(&self, key: &str) -> Option<&PropertySchema> {
        self.properties.iter().find(|property| property.key == key)
    }
}

/// The schema of a file by its name.
pub(super) fn schema_of(name: &str) -> Option<&'static FileSchema> {
    FILES.iter().find(|file| file.name == name)
}

const fn optional(key: &'static str, check: Check) -> PropertySchema {
    PropertySchema { key, check, required: false, list: false }
}

const fn required(key: &'static str, check: Check) -> PropertySchema {
    PropertySchema { key, check, required: true, list: false }
}

const fn list(key: &'static str, check: Check) -> PropertySchema {
    PropertySchema { key, check, required: false, list: true }
}

const FILES: [FileSchema; 5] = [
    FileSchema { name: "sync.cfg", kinds: &[KindSchema { kind: "sync", id: parsed::<JobId>, properties: &SYNC }] },
    FileSchema {
        name: "remote.cfg",
        kinds: &[KindSchema { kind: "remote", id: parsed::<RemoteName>, properties: &REMOTE }],
    },
    FileSchema {
        name: "datastore.cfg",
        kinds: &[KindSchema { kind: "datastore", id: parsed::<StoreName>, properties: &DATASTORE }],
    },
    FileSchema {
        name: "user.cfg",
        kinds: &[
            KindSchema { kind: "user", id: parsed::<UserId>, properties: &USER },
            KindSchema { kind: "token", id: token, properties: &TOKEN },
        ],
    },
    FileSchema {
        name: "encryption-keys.cfg",
        kinds: &[KindSchema { kind: "sync-key", id: parsed::<JobId>, properties: &KEY }],
    },
];

const SYNC: [PropertySchema; 25] = [
    optional("active-encryption-key", parsed::<JobId>),
    list("associated-key", parsed::<JobId>),
    optional("burst-in", size),
    optional("burst-out", size),
    optional("comment", comment),
    optional("encrypted-only", boolean),
    list("group-filter", parsed::<GroupFilter>),
    optional("max-depth", number::<0, 7>),
    optional("ns", parsed::<Namespace>),
    optional("owner", parsed::<AuthId>),
    optional("rate-in", size),
    optional("rate-out", size),
    optional("remote", parsed::<RemoteName>),
    optional("remote-ns", parsed::<Namespace>),
    required("remote-store", parsed::<StoreName>),
    optional("remove-vanished", boolean),
    optional("resync-corrupt", boolean),
    optional("run-on-mount", boolean),
    optional("schedule", event),
    required("store", parsed::<StoreName>),
    optional("sync-direction", |text| one_of(text, &["pull", "push"])),
    optional("transfer-last", number::<1, { i64::MAX }>),
    optional("unmount-on-done", boolean),
    optional("verified-only", boolean),
    optional("worker-threads", number::<1, 32>),
];

const REMOTE: [PropertySchema; 7] = [
    required("auth-id", parsed::<AuthId>),
    optional("comment", comment),
    optional("fingerprint", parsed::<Fingerprint>),
    required("host", |text| if is_host(text) { Ok(()) } else { Err("no host name or address".to_owned()) }),
    required("password", |text| rules::text(Some(text), 1, 2048)),
    optional("port", number::<0, 65535>),
    optional("use-node-proxy", boolean),
];

const DATASTORE: [PropertySchema; 21] = [
    optional("backend", record),
    optional("backing-device", |text| rules::text(Some(text), 36, 36)),
    optional("comment", comment),
    optional("counter-reset-schedule", event),
    optional("gc-on-unmount", boolean),
    optional("gc-schedule", event),
    optional("keep-daily", number::<1, { i64::MAX }>),
    optional("keep-hourly", number::<1, { i64::MAX }>),
    optional("keep-last", number::<1, { i64::MAX }>),
    optional("keep-monthly", number::<1, { i64::MAX }>),
    optional("keep-weekly", number::<1, { i64::MAX }>),
    optional("keep-yearly", number::<1, { i64::MAX }>),
    optional("maintenance-mode", record),
    optional("notification-mode", |text| one_of(text, &["legacy-sendmail", "notification-system"])),
    optional("notification-thresholds", record),
    optional("notify", record),
    optional("notify-user", parsed::<UserId>),
    required("path", |text| rules::text(Some(text), 1, 4096)),
    optional("prune-schedule", event),
    optional("tuning", record),
    optional("verify-new", boolean),
];

const USER: [PropertySchema; 6] = [
    optional("comment", comment),
    optional("email", name),
    optional("enable", boolean),
    optional("expire", number::<0, { i64::MAX }>),
    optional("firstname", name),
    optional("lastname", name),
];

const TOKEN: [PropertySchema; 3] =
    [optional("comment", comment), optional("enable", boolean), optional("expire", number::<0, { i64::MAX }>)];

const KEY: [PropertySchema; 7] = [
    optional("archived-at", number::<{ i64::MIN }, { i64::MAX }>),
    required("created", number::<{ i64::MIN }, { i64::MAX }>),
    required("fingerprint", parsed::<Fingerprint>),
    optional("hint", |text| rules::text(Some(text), 1, 64)),
    required("kdf", |text| one_of(text, &["none", "scrypt", "pbkdf2"])),
    required("modified", number::<{ i64::MIN }, { i64::MAX }>),
    required("path", |text| if Path::new(text).is_absolute() { Ok(()) } else { Err("no absolute path".to_owned()) }),
];

fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(drop).map_err(|error| error.to_string())
}

fn token(text: &str) -> Result<(), String> {
    let id: AuthId = text.parse().map_err(|error| format!("{error}"))?;
    if id.is_token() { Ok(()) } else { Err("is no token".to_owned()) }
}

fn boolean(text: &str) -> Result<(), String> {
    parse_bool(text).map(drop).ok_or_else(|| "is no boolean".to_owned())
}

fn number<const MIN: i64, const MAX: i64>(text: &str) -> Result<(), String> {
    let number: i64 = text.parse().map_err(|_| "is no whole number".to_owned())?;
    rules::range(Some(number), MIN, MAX)
}

fn size(text: &str) -> Result<(), String> {
    rules::text(Some(text), 1, 64)?;
    parsed::<ByteSize>(text)
}

fn comment(text: &str) -> Result<(), String> {
    rules::text(Some(text), 0, 128)
}

fn name(text: &str) -> Result<(), String> {
    rules::text(Some(text), 2, 64)
}

fn one_of(text: &str, choices: &[&str]) -> Result<(), String> {
    if choices.contains(&text) { Ok(()) } else { Err(format!("is none of {}", choices.join(", "))) }
}

fn record(text: &str) -> Result<(), String> {
    PropertyString::parse(text, Some("type")).map(drop).map_err(|error| error.to_string())
}

/// A calendar event that a stock server reads, and that comes at least once there.
fn event(text: &str) -> Result<(), String> {
    let event: CalendarEvent = text.parse().map_err(|_| "is no calendar event for a stock server".to_owned())?;
    match event.differences().iter().find(|difference| refused(**difference)) {
        Some(difference) => Err(difference.to_string()),
        None => Ok(()),
    }
}

fn refused(difference: Difference) -> bool {
    matches!(
        difference,
        Difference::ShorthandCase
            | Difference::ShorthandName
            | Difference::WeekdayDash
            | Difference::WeekdayTrailingComma
            | Difference::TwoDigitYear
            | Difference::LastDays
            | Difference::Fraction
            | Difference::Epoch
            | Difference::LowerUtc
            | Difference::Zone
    )
}
