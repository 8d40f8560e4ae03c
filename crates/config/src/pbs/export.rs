//! Writes a configuration that a stock server reads: our own keys left out, each named; what they meant said in its words
//! where it has any.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use section_config::{Section, SectionConfig};
use serde::Serialize;

use super::kept;
use super::schema::{KindSchema, PropertySchema, schema_of};
use super::strict::check_strictly;
use crate::{
    acl, datastores, encryption_keys,
    error::{ConfigError, Result},
    files::{self, MODE_NORMAL, MODE_SECRET},
    paths::Paths,
    remotes,
    store::SectionFile,
    sync_jobs::{self, SyncJobConfig, TransferMode},
    users,
};

/// Where a stock server keeps the files of its keys.
const STOCK_KEYS: &str = "/etc/proxmox-backup/encryption-keys";

/// A file of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Its path below the directory.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its mode.
    pub mode: u32,
}

/// A configuration for a stock server, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// The files.
    pub files: Vec<Exported>,
    /// What was left out or said in other words.
    pub left_out: Vec<LeftOut>,
    /// What is left to do there, as sentences.
    pub to_do: Vec<String>,
}

/// Something that a stock server does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeftOut {
    /// The file.
    pub file: &'static str,
    /// The entry.
    pub entry: String,
    /// The property; nothing for the entry as a whole.
    pub property: Option<String>,
    /// Why, and what it means there.
    pub reason: String,
}

/// Makes a configuration for a stock server of ours.
///
/// # Errors
/// A file cannot be read; or what was made would be refused, which is a mistake of ours.
pub fn export(paths: &Paths) -> Result<Export> {
    let mut export = Export::default();
    export.section_file("datastore.cfg", &datastores::file(paths), MODE_NORMAL)?;
    // A stock server guards this file by its directory alone; ours does not rely on that.
    export.section_file("remote.cfg", &remotes::file(paths), MODE_SECRET)?;
    export.section_file("user.cfg", &users::file(paths), MODE_NORMAL)?;
    export.keys(paths)?;
    export.section_file("sync.cfg", &sync_jobs::file(paths), MODE_NORMAL)?;
    let (acl, _) = acl::load(paths)?;
    export.add("acl.cfg", acl.to_text().into_bytes(), MODE_NORMAL);
    for (name, _) in kept::FILES {
        if let Some(bytes) = files::read_if_there(&paths.etc().join(name))? {
            export.add(name, bytes, MODE_NORMAL);
        }
    }
    let users = users::load(paths)?;
    if users.users.iter().any(|user| user.userid.realm() == "pbs") {
        export
            .to_do
            .push("set the passwords of users: proxmox-backup-manager user update USERID --password".to_owned());
    }
    if !users.tokens.is_empty() {
        export.to_do.push("issue the secrets of API tokens anew: delete and generate them".to_owned());
    }
    Ok(export)
}

impl Export {
    /// Writes the files below `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// One of the files is there already (then none is written), or cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        if let Some(file) = self.files.iter().find(|file| dir.join(&file.path).exists()) {
            let what = format!("{} exists; choose an empty directory", dir.join(&file.path).display());
            return Err(ConfigError::Refused(what));
        }
        for file in &self.files {
            let path = dir.join(&file.path);
            let parent = files::directory(&path);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(ConfigError::io("create", parent))?;
            files::replace_file(&path, &file.bytes, file.mode)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))
                .map_err(ConfigError::io("change the mode of", &path))?;
        }
        Ok(())
    }

    fn add(&mut self, path: impl Into<PathBuf>, bytes: Vec<u8>, mode: u32) {
        if !bytes.is_empty() {
            self.files.push(Exported { path: path.into(), bytes, mode });
        }
    }

    fn leave_out(&mut self, file: &'static str, section: &Section, property: Option<&str>, reason: impl Into<String>) {
        let entry = section.id().to_owned();
        self.left_out.push(LeftOut { file, entry, property: property.map(str::to_owned), reason: reason.into() });
    }

    fn section_file(&mut self, name: &'static str, file: &SectionFile, mode: u32) -> Result<()> {
        let (document, _) = file.read()?;
        let text = self.sections(name, &document, |section| section.clone())?;
        self.add(name, text.into_bytes(), mode);
        Ok(())
    }

    /// The keys, whose files lie elsewhere there.
    fn keys(&mut self, paths: &Paths) -> Result<()> {
        let name = "encryption-keys.cfg";
        let (document, _) = encryption_keys::file(paths).read()?;
        let text = self.sections(name, &document, |section| {
            let mut moved = section.clone();
            moved.set("path", format!("{STOCK_KEYS}/{}.enc", section.id()));
            moved
        })?;
        self.add(name, text.into_bytes(), MODE_NORMAL);
        for section in document.sections() {
            let Some(path) = section.get("path") else { continue };
            match files::read_if_there(Path::new(path))? {
                Some(bytes) => self.add(format!("encryption-keys/{}.enc", section.id()), bytes, MODE_NORMAL),
                None => self.leave_out(name, section, None, format!("its file {path} is not there")),
            }
        }
        Ok(())
    }

    /// The text of a section file, canonically written.
    fn sections(
        &mut self,
        name: &'static str,
        document: &SectionConfig,
        moved: impl Fn(&Section) -> Section,
    ) -> Result<String> {
        let wrong = |reason: String| ConfigError::Refused(format!("cannot write {name}: {reason}"));
        let Some(schema) = schema_of(name) else { return Err(wrong("no such file".to_owned())) };
        for section in document.broken_sections() {
            self.leave_out(name, section, None, "its section is broken");
        }
        let mut texts = Vec::new();
        for section in document.sections() {
            let Some(kind) = schema.kinds.iter().find(|kind| kind.kind == section.kind()) else { continue };
            let section = moved(&translated(section));
            if let Err(reason) = (kind.id)(section.id()) {
                self.leave_out(name, &section, None, reason);
            } else if let Some(section) = self.stripped(name, kind, &section) {
                texts.push(section.to_text()?);
            }
        }
        let text = texts.join("\n");
        check_strictly(name, &text).map_err(|error| wrong(error.to_string()))?;
        Ok(text)
    }

    /// The section without what is unknown or does not fit there; nothing if it cannot do without.
    fn stripped(&mut self, name: &'static str, kind: &KindSchema, section: &Section) -> Option<Section> {
        let mut kept = Section::new(section.kind(), section.id());
        for property in section.properties() {
            let (key, value) = (property.key.as_str(), property.value.as_str());
            let fits = |known: &PropertySchema| (known.check)(value).and_then(|()| rules_of_writer(value));
            match kind.property(key) {
                None => self.leave_out(name, section, Some(key), what_it_means(key)),
                // The root namespace is written by leaving the key out: an editor that strips blanks would break it.
                Some(_) if value.is_empty() && (key == "ns" || key == "remote-ns") => {}
                Some(known) => match fits(known) {
                    Ok(()) => kept.push(key, value),
                    Err(reason) => self.leave_out(name, section, Some(key), reason),
                },
            }
        }
        let missing = kind.properties.iter().find(|known| known.required && kept.get(known.key).is_none());
        if let Some(missing) = missing {
            self.leave_out(name, section, None, format!("it cannot do without `{}`", missing.key));
            return None;
        }
        Some(kept)
    }
}

/// An empty value is written with a blank at its end, which not every editor leaves alone.
fn rules_of_writer(value: &str) -> Result<(), String> {
    if value.is_empty() { Err("is empty".to_owned()) } else { Ok(()) }
}

/// A sync job in a stock server's words: the mode as `remove-vanished`, and no schedule for one that is disabled.
fn translated(section: &Section) -> Section {
    let mut section = section.clone();
    let Ok(job) = section.read::<SyncJobConfig>("id") else { return section };
    if section.kind() != "sync" {
        return section;
    }
    match job.value.transfer_mode {
        Some(TransferMode::Sync) => section.set("remove-vanished", "true"),
        // What moves removes nothing at the target.
        Some(_) => drop(section.unset("remove-vanished")),
        None => {}
    }
    if !job.value.is_enabled() {
        section.unset("schedule");
    }
    section
}

/// What it means that a key of our own is left out.
fn what_it_means(key: &str) -> String {
    let meaning = match key {
        "disable" => "the job has no schedule there instead",
        "transfer-mode" => "said by `remove-vanished`; a job that moves only copies there",
        "max-removals" => "a stock server removes any number",
        "after" => "the job starts by hand only, unless it has a schedule",
        "run-when" => "the job starts whatever holds",
        "fill-gaps" => "gaps stay",
        "verify" => "said by `verify-new` of the datastore",
        "rate-schedule" => "the rate is the same at all times",
        "retry-interval" | "max-attempts" => "a failed run waits for the next event",
        "pre-script" | "post-script" | "failure-script" | "script-timeout" => "no scripts are run",
        "fingerprint-next" => "change `fingerprint` when the certificate is renewed",
        _ => return "a stock server does not know it".to_owned(),
    };
    format!("a stock server does not know it: {meaning}")
}
