//! The table that decides what to do when a chunk is inserted and a file of its name may exist.
//!
//! Two encodings of one chunk differ in bytes, so files are never compared; lengths and kinds are.
//!
//! A plain chunk and an encrypted one never have the same name, since that of the latter includes the key. Where one is in
//! the way of the other, the encrypted one is called what it is not: nobody without the key could check it when it came. So
//! it makes room for a plain one, which was checked, and is refused where a plain one is: whoever sent it does not have what
//! it is called, and must not be let name it.

use formats::BlobKind;

/// What is in the way of a new chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Nothing,
    NotRegular,
    File { len: u64, head: Head },
}

/// The first bytes of an existing chunk file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Not looked at yet.
    Unread,
    /// Fewer bytes than a magic has.
    TooShort,
    /// No magic of ours.
    Unknown,
    Known(BlobKind),
}

/// What to do with the new chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Write,
    /// Write over an empty file that a loss of power left.
    WriteOverEmpty,
    Touch,
    /// Look at the existing file's head and decide again.
    ReadHead,
    Conflict(&'static str),
}

/// Decides by the table, row by row.
pub(super) fn decide(existing: Existing, new_kind: BlobKind, new_len: u64) -> Action {
    let (len, head) = match existing {
        Existing::Nothing => return Action::Write,
        Existing::NotRegular => return Action::Conflict("there is something of its name that is not a regular file"),
        Existing::File { len, head } => (len, head),
    };
    if len == 0 {
        return Action::WriteOverEmpty;
    }
    match head {
        Head::Unread => return Action::ReadHead,
        Head::Known(old) if old.is_encrypted() && !new_kind.is_encrypted() => return Action::Write,
        Head::Known(old) if !old.is_encrypted() && new_kind.is_encrypted() => {
            return Action::Conflict("the new one is encrypted, the stored one is not, and digests include the key");
        }
        _ => {}
    }
    if len == new_len {
        return Action::Touch;
    }
    if !new_kind.is_encrypted() {
        // The better compressed one wins.
        return if len < new_len { Action::Touch } else { Action::Write };
    }
    match head {
        Head::TooShort => Action::Conflict("the stored file is too short for a chunk"),
        Head::Known(old) if !old.is_compressed() && !new_kind.is_compressed() => {
            Action::Conflict("both are encrypted and uncompressed, so their lengths must be equal")
        }
        Head::Known(_) | Head::Unknown | Head::Unread => Action::Touch,
    }
}

#[cfg(test)]
mod tests {
    use formats::BlobKind::{Compressed, Encrypted, EncryptedCompressed, Plain};

    use super::*;

    fn file(len: u64, head: Head) -> Existing {
        Existing::File { len, head }
    }

    #[test]
    fn every_row_of_the_table_decides_as_written() {
        let keep = Action::Touch;
        for (name, existing, new_kind, new_len, expected) in [
            ("none", Existing::Nothing, Plain, 100, Action::Write),
            ("head needed", file(100, Head::Unread), Plain, 100, Action::ReadHead),
            ("same length", file(100, Head::Known(Plain)), Plain, 100, keep),
            ("same length, encrypted", file(100, Head::Known(Encrypted)), Encrypted, 100, keep),
            ("same length, unknown magic", file(100, Head::Unknown), Plain, 100, keep),
            ("plain over encrypted", file(100, Head::Known(Encrypted)), Plain, 100, Action::Write),
            ("plain over smaller encrypted", file(60, Head::Known(EncryptedCompressed)), Plain, 100, Action::Write),
            ("empty", file(0, Head::Unread), Plain, 100, Action::WriteOverEmpty),
            ("empty, encrypted", file(0, Head::Unread), Encrypted, 100, Action::WriteOverEmpty),
            ("encrypted: head needed", file(90, Head::Unread), Encrypted, 100, Action::ReadHead),
            ("both encrypted, old compressed", file(90, Head::Known(EncryptedCompressed)), Encrypted, 100, keep),
            ("both encrypted, new compressed", file(90, Head::Known(Encrypted)), EncryptedCompressed, 100, keep),
            (
                "both encrypted, both compressed",
                file(90, Head::Known(EncryptedCompressed)),
                EncryptedCompressed,
                9,
                keep,
            ),
            ("encrypted, unknown magic", file(90, Head::Unknown), EncryptedCompressed, 100, keep),
            ("plain, old smaller", file(90, Head::Known(Compressed)), Plain, 100, keep),
            ("plain, old bigger", file(110, Head::Known(Plain)), Compressed, 100, Action::Write),
        ] {
            assert_eq!(decide(existing, new_kind, new_len), expected, "{name}");
        }
    }

    #[test]
    fn every_error_row_is_a_conflict() {
        for (name, existing, new_kind) in [
            ("not a regular file", Existing::NotRegular, Plain),
            ("plain under encrypted", file(90, Head::Known(Plain)), Encrypted),
            ("plain under encrypted of the same length", file(100, Head::Known(Plain)), Encrypted),
            ("plain under encrypted compressed", file(90, Head::Known(Compressed)), EncryptedCompressed),
            ("encrypted uncompressed of two lengths", file(90, Head::Known(Encrypted)), Encrypted),
            ("1 to 7 bytes under encrypted", file(3, Head::TooShort), Encrypted),
        ] {
            assert!(matches!(decide(existing, new_kind, 100), Action::Conflict(_)), "{name}");
        }
    }
}
