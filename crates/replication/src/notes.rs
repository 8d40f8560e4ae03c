//! What a listing tells of the notes of a snapshot or group.

/// Notes as a listing shows them. Those of a datastore of this machine are known in full; a server's list has the first
/// line alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedNotes {
    /// All of them.
    Whole(String),
    /// Their first line, without its end; empty where there are none.
    FirstLine(String),
}

impl Default for ListedNotes {
    fn default() -> Self {
        Self::Whole(String::new())
    }
}

impl ListedNotes {
    /// Notes known in full.
    pub fn whole(text: impl Into<String>) -> Self {
        Self::Whole(text.into())
    }

    /// The comment of a server's list, which may have its line break still.
    pub fn of_comment(comment: Option<&str>) -> Self {
        Self::FirstLine(first_line(comment.unwrap_or_default()).to_owned())
    }

    /// Whether there are none, as far as this tells.
    pub fn is_empty(&self) -> bool {
        let (Self::Whole(text) | Self::FirstLine(text)) = self;
        text.is_empty()
    }

    /// Whether the two are known to differ. Where one end tells the first line alone, only that is compared.
    pub fn differs_from(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one != other,
            (Self::Whole(one) | Self::FirstLine(one), Self::Whole(other) | Self::FirstLine(other)) => {
                first_line(one) != first_line(other)
            }
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_compared_as_far_as_both_ends_tell() {
        let (whole, line) = (|text: &str| ListedNotes::whole(text), |text: &str| ListedNotes::of_comment(Some(text)));

        assert!(whole("a\nb").differs_from(&whole("a\nc")));
        assert!(!whole("a\nb").differs_from(&line("a\n")));
        assert!(!line("a").differs_from(&whole("a\nc")));
        assert!(line("a").differs_from(&whole("b")));
        assert!(whole("a").differs_from(&ListedNotes::of_comment(None)));
        assert!(!ListedNotes::default().differs_from(&ListedNotes::of_comment(None)));
        assert!(ListedNotes::of_comment(None).is_empty() && !line("a").is_empty());
    }
}
