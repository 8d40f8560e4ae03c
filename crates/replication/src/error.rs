//! What goes wrong at either end, and what it means for the rest of the run.

use std::error::Error as StdError;
use std::fmt;

/// What an error means for the work around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The same call may succeed later: a busy lock, a broken connection.
    Retry,
    /// This snapshot (or group) cannot be done; the others can.
    Skip,
    /// Nothing that follows can succeed either: refused login, full disk, cancelled run.
    Stop,
}

/// A failed call to a [`Source`](crate::Source) or a [`Target`](crate::Target).
///
/// Its text tells this layer's part; what lies below is the error's source. [`EndError::chain`] prints both.
pub struct EndError {
    class: ErrorClass,
    busy: bool,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl EndError {
    /// Makes an error of `class` that says `message`.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, busy: false, message: message.into(), hint: None, source: None }
    }

    /// Makes an error after which the same call may succeed later.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Retry, message)
    }

    /// Makes an error about somebody else's lock: the same call may succeed when that is gone.
    pub fn busy(message: impl Into<String>) -> Self {
        Self { busy: true, ..Self::new(ErrorClass::Retry, message) }
    }

    /// Makes an error that concerns this snapshot or group alone.
    pub fn skip(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Skip, message)
    }

    /// Makes an error that ends the run.
    pub fn stop(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Stop, message)
    }

    /// Adds what to do about it, one sentence.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts `context` in front: what was being done when this happened. Class and hint stay.
    #[must_use]
    pub fn while_doing(self, context: impl fmt::Display) -> Self {
        Self { message: format!("{context}: {}", self.message), ..self }
    }

    /// Tells what the error means for the rest of the run.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// Whether somebody else's lock is in the way.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Whether the way to the end broke off, or is not there for now.
    pub fn is_broken_connection(&self) -> bool {
        self.class == ErrorClass::Retry && !self.busy
    }

    /// Returns what to do about it, where something can be said.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the message followed by those of all causes, separated by `: `.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next = self.source();
        while let Some(error) = next {
            let part = error.to_string();
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            next = error.source();
        }
        text
    }
}

impl fmt::Display for EndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for EndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndError")
            .field("class", &self.class)
            .field("message", &self.message)
            .field("hint", &self.hint)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for EndError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|error| error as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_every_cause_once() {
        let io = std::io::Error::other("disk on fire");
        let error = EndError::skip("cannot read `a.fidx`").caused_by(io).while_doing("host/a");

        assert_eq!(error.to_string(), "host/a: cannot read `a.fidx`");
        assert_eq!(error.chain(), "host/a: cannot read `a.fidx`: disk on fire");
        assert_eq!(error.class(), ErrorClass::Skip);
    }
}
