//! Typed entries of section files: load, create, update, remove.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use section_config::{ReadError, Section, SectionConfig};
use serde::{
    Deserializer, Serialize,
    de::{DeserializeOwned, Visitor},
};

use crate::{
    error::{ConfigError, Result},
    files::{self, ConfigDigest, FileLock},
};

/// Something to tell the administrator about a file. Its text is `FILE:LINE: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: usize,
    /// Id of the section it is about, if any.
    pub id: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// Whether a section is ignored for it; otherwise it is only worth knowing.
    pub breaks_section: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.reason)
    }
}

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The usable entries, in file order.
    pub entries: Vec<T>,
    /// Digest of the file's bytes.
    pub digest: ConfigDigest,
    /// What is wrong with the file; entries not mentioned here are sound.
    pub problems: Vec<Problem>,
}

/// One kind of section with its typed form.
///
/// Serialised to a section file every field becomes a property; to JSON it becomes what the API shows. Secrets are
/// serialised by neither, [`secrets`](Self::secrets) hands them to the file alone.
pub trait Entry: Clone + Serialize + DeserializeOwned {
    /// Section type, such as `sync`.
    const KIND: &'static str;
    /// Field that holds the section's id.
    const ID_KEY: &'static str;
    /// Name for messages, such as `sync job`.
    const WHAT: &'static str;

    /// The section's id.
    fn id(&self) -> String;

    /// Checks single properties, on reading and writing: property and reason, or nothing.
    fn check_properties(&self) -> Result<(), (&'static str, String)>;

    /// Checks properties against each other, before writing and before use.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the property to change.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Properties that are written to the file but not serialised.
    fn secrets(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Turns a value given by a user into the one that is stored.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] if it does not fit.
    fn store_form(_key: &str, value: &str) -> Result<String> {
        Ok(value.to_owned())
    }
}

impl<T: Entry> Loaded<T> {
    /// The entry with this id.
    pub fn find(&self, id: impl fmt::Display) -> Option<&T> {
        let id = id.to_string();
        self.entries.iter().find(|entry| entry.id() == id)
    }
}

/// Makes an entry of an id and `key`, `value` texts, as a command line or a request gives them. Lists repeat the key.
///
/// # Errors
/// [`ConfigError::Invalid`] for the first property that is unknown, missing or does not fit.
pub fn from_pairs<T: Entry>(id: &str, pairs: &[(String, String)]) -> Result<T> {
    let mut section = Section::new(T::KIND, id);
    for (key, value) in pairs {
        section.push(key.as_str(), T::store_form(key, value)?);
    }
    given(&section)
}

/// Changes an entry by `key`, `value` texts: keys in `delete` are unset, then those in `set` are set.
///
/// A list in `set` replaces the old list. Setting a comment to nothing removes it.
///
/// # Errors
/// [`ConfigError::Invalid`] for an unknown key, one that cannot be deleted, or a value that does not fit.
pub fn patch<T: Entry>(current: &T, set: &[(String, String)], delete: &[String]) -> Result<T> {
    let mut section = to_section(current)?;
    for key in delete {
        if !section.unset(key) {
            // Not set: fine, if it is a key at all.
            let mut probe = section.clone();
            probe.push(key.as_str(), "");
            if probe.read::<T>(T::ID_KEY).is_ok_and(|read| !read.unknown.is_empty()) {
                return Err(ConfigError::invalid(key, "no such property"));
            }
        }
        if let Err(error) = section.read::<T>(T::ID_KEY)
            && error.key.as_deref() == Some(key)
        {
            return Err(ConfigError::invalid(key, "is required and cannot be deleted"));
        }
    }
    for (key, _) in set {
        section.unset(key);
    }
    for (key, value) in set {
        if key == "comment" && value.trim().is_empty() {
            continue;
        }
        section.push(key.as_str(), T::store_form(key, value)?);
    }
    given(&section)
}

/// Reads a section that was made of given values.
fn given<T: Entry>(section: &Section) -> Result<T> {
    let as_given = |error: ReadError| ConfigError::invalid(error.key.unwrap_or_default(), error.reason);
    let read = section.read::<T>(T::ID_KEY).map_err(as_given)?;
    if let Some(unknown) = read.unknown.first() {
        return Err(ConfigError::invalid(&unknown.key, "no such property"));
    }
    read.value.check_properties().map_err(|(key, reason)| ConfigError::invalid(key, reason))?;
    Ok(read.value)
}

/// The properties that an entry of this kind may have, in the order of its fields; its id is among them.
pub fn properties<T: Entry>() -> &'static [&'static str] {
    let mut fields = Fields(&[]);
    // It only asks for its fields.
    drop(T::deserialize(&mut fields));
    fields.0
}

/// A source of values that has none, and hears for which fields it is asked.
struct Fields(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut Fields {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("there is no value"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn to_section<T: Entry>(entry: &T) -> Result<Section> {
    let mut section = Section::from_value(T::KIND, T::ID_KEY, entry)?;
    for (key, value) in entry.secrets() {
        section.push(key, value);
    }
    Ok(section)
}

/// One section file and what it may hold.
#[derive(Clone, Debug)]
pub(crate) struct SectionFile {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) kinds: &'static [&'static str],
}

impl SectionFile {
    pub(crate) fn read(&self) -> Result<(SectionConfig, ConfigDigest)> {
        let bytes = files::read(&self.path)?;
        let digest = ConfigDigest::of(&bytes);
        Ok((SectionConfig::parse_kinds(bytes, self.kinds), digest))
    }

    /// Changes the file under its lock; nothing is written if the change fails or changes nothing.
    pub(crate) fn edit<R>(
        &self,
        expected: Option<&ConfigDigest>,
        change: impl FnOnce(&mut SectionConfig) -> Result<R>,
    ) -> Result<R> {
        let lock = FileLock::take(&self.path)?;
        let bytes = files::read(&self.path)?;
        if expected.is_some_and(|expected| *expected != ConfigDigest::of(&bytes)) {
            return Err(ConfigError::DigestMismatch { path: self.path.clone() });
        }
        let mut document = SectionConfig::parse_kinds(&bytes, self.kinds);
        let result = change(&mut document)?;
        let changed = document.to_bytes();
        if changed != bytes {
            lock.replace(&changed, self.mode)?;
        }
        Ok(result)
    }

    pub(crate) fn load<T: Entry>(&self) -> Result<Loaded<T>> {
        let (document, digest) = self.read()?;
        let mut problems = self.problems(&document);
        let entries = self.entries(&document, &mut problems);
        problems.sort_by_key(|problem| problem.line);
        Ok(Loaded { entries, digest, problems })
    }

    /// What the document itself reports.
    pub(crate) fn problems(&self, document: &SectionConfig) -> Vec<Problem> {
        document
            .problems()
            .iter()
            .map(|problem| Problem {
                path: self.path.clone(),
                line: problem.line,
                id: problem.section.as_ref().and_then(|name| Some(name.split_once(':')?.1.trim().to_owned())),
                reason: match &problem.section {
                    Some(section) => format!("section `{section}`: {}", problem.kind),
                    None => problem.kind.to_string(),
                },
                breaks_section: problem.breaks_section(),
            })
            .collect()
    }

    /// The entries of one kind; what does not fit is added to `problems`.
    pub(crate) fn entries<T: Entry>(&self, document: &SectionConfig, problems: &mut Vec<Problem>) -> Vec<T> {
        let mut entries = Vec::new();
        for section in document.sections().filter(|section| section.kind() == T::KIND) {
            let mut problem = |line, reason, breaks_section| {
                let id = Some(section.id().to_owned());
                let reason = format!("section `{}: {}`: {reason}", section.kind(), section.id());
                problems.push(Problem { path: self.path.clone(), line, id, reason, breaks_section });
            };
            match read_section::<T>(section) {
                Ok((entry, unknown)) => {
                    entries.push(entry);
                    for (line, key) in unknown {
                        problem(line, format!("unknown property `{key}` is kept and has no effect"), false);
                    }
                }
                Err(error) => {
                    let key = error.key.map(|key| format!("property `{key}`: ")).unwrap_or_default();
                    problem(error.line, format!("{key}{}; the section is ignored", error.reason), true);
                }
            }
        }
        entries
    }

    pub(crate) fn create<T: Entry>(&self, document: &mut SectionConfig, entry: &T) -> Result<()> {
        if document.line_of(&entry.id()).is_some() {
            return Err(ConfigError::Exists { what: T::WHAT, id: entry.id(), path: self.path.clone() });
        }
        verify(entry)?;
        Ok(document.set(&to_section(entry)?)?)
    }

    pub(crate) fn get<T: Entry>(&self, document: &SectionConfig, id: &str) -> Result<T> {
        let section = self.section(document, T::KIND, T::WHAT, id)?;
        read_section(section).map(|(entry, _)| entry).map_err(|error| ConfigError::property(&self.path, error))
    }

    pub(crate) fn update<T: Entry>(
        &self,
        document: &mut SectionConfig,
        id: &str,
        change: impl FnOnce(&mut T) -> Result<()>,
    ) -> Result<()> {
        let old = self.get::<T>(document, id)?;
        let mut entry = old.clone();
        change(&mut entry)?;
        if entry.id() != id {
            return Err(ConfigError::invalid(T::ID_KEY, "cannot be changed"));
        }
        verify(&entry)?;

        let section = self.section(document, T::KIND, T::WHAT, id)?;
        let mut changed = to_section(&entry)?;
        // What we do not know stays as it was.
        let read = section.read::<T>(T::ID_KEY).map_err(|error| ConfigError::property(&self.path, error))?;
        for unknown in read.unknown {
            changed.push(unknown.key, unknown.value);
        }
        if to_section(&old)?.to_text()? == to_section(&entry)?.to_text()? {
            return Ok(());
        }
        Ok(document.set(&changed)?)
    }

    pub(crate) fn remove(&self, document: &mut SectionConfig, what: &'static str, id: &str) -> Result<()> {
        if document.remove(id) {
            return Ok(());
        }
        Err(ConfigError::NotFound { what, id: id.to_owned(), path: self.path.clone() })
    }

    /// The section of an entry; the error for a broken one says where and why.
    fn section<'a>(
        &self,
        document: &'a SectionConfig,
        kind: &str,
        what: &'static str,
        id: &str,
    ) -> Result<&'a Section> {
        if let Some(section) = document.get(id).filter(|section| section.kind() == kind) {
            return Ok(section);
        }
        let name = format!("{kind}: {id}");
        let broken = document
            .problems()
            .iter()
            .find(|problem| problem.section.as_deref() == Some(&name) && problem.breaks_section());
        Err(match broken {
            Some(problem) => ConfigError::line(&self.path, problem.line, format!("section `{name}`: {}", problem.kind)),
            None => ConfigError::NotFound { what, id: id.to_owned(), path: self.path.clone() },
        })
    }
}

fn verify<T: Entry>(entry: &T) -> Result<()> {
    entry.check_properties().map_err(|(key, reason)| ConfigError::invalid(key, reason))?;
    entry.check()
}

/// The typed section, with line and key of every property it has no field for.
pub(crate) fn read_section<T: Entry>(section: &Section) -> Result<(T, Vec<(usize, String)>), ReadError> {
    let read = section.read::<T>(T::ID_KEY)?;
    read.value.check_properties().map_err(|(key, reason)| ReadError {
        line: section.line_of(key),
        key: Some(key.to_owned()),
        reason,
    })?;
    Ok((read.value, read.unknown.into_iter().map(|property| (property.line, property.key)).collect()))
}

/// Rules for texts that several files share.
pub(crate) mod rules {
    /// A comment or name: no control character, at most `max` characters.
    pub(crate) fn text(value: Option<&str>, min: usize, max: usize) -> Result<(), String> {
        let Some(value) = value else { return Ok(()) };
        if value.contains(char::is_control) {
            return Err("must not have control characters".to_owned());
        }
        let length = value.chars().count();
        if length < min || length > max {
            return Err(format!("must have {min} to {max} characters, not {length}"));
        }
        Ok(())
    }

    /// A number that is not below `min`.
    pub(crate) fn at_least<N: PartialOrd + std::fmt::Display>(value: Option<N>, min: N) -> Result<(), String> {
        match value {
            Some(value) if value < min => Err(format!("must be at least {min}, not {value}")),
            _ => Ok(()),
        }
    }

    /// A number between two bounds.
    pub(crate) fn range<N: PartialOrd + std::fmt::Display>(value: Option<N>, min: N, max: N) -> Result<(), String> {
        match value {
            Some(value) if value < min || value > max => Err(format!("must be {min} to {max}, not {value}")),
            _ => Ok(()),
        }
    }
}

/// Path of a file for messages where only the name matters.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
