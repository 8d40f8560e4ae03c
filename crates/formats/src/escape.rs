//! Unit-name escaping, as systemd does it, and the lock names made with it (`docs/formats.md`, "Lock names").

use std::path::PathBuf;

use crate::digest::sha256;
use crate::name_error::NameError;
use crate::namespace::Namespace;

/// Longest escaped lock name that is used as it is, in bytes.
const MAX_LOCK_NAME: usize = 254;

/// Escapes text for use in a UPID or a unit name: `/` becomes `-`; letters, digits, `_` and `.` stay (but for a leading
/// `.`); every other byte becomes `\x` and two lower-case hex digits.
pub fn escape_unit_name(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if at > 0 => escaped.push('.'),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => escaped.push(char::from(byte)),
            other => escaped.push_str(&format!("\\x{other:02x}")),
        }
    }
    escaped
}

/// Escapes a path: as [`escape_unit_name`], after leading `/` are taken off. An empty path becomes `-`.
pub fn escape_unit_path(path: &str) -> String {
    match path.trim_start_matches('/') {
        "" => "-".to_owned(),
        path => escape_unit_name(path),
    }
}

/// Undoes [`escape_unit_name`].
///
/// # Errors
/// When an escape is cut or no hex, or the result is no UTF-8.
pub fn unescape_unit_name(escaped: &str) -> Result<String, NameError> {
    let bad = |rule| NameError::new("escaped name", escaped, rule);
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'-' => bytes.push(b'/'),
            b'\\' => {
                let [b'x', high, low, tail @ ..] = rest else {
                    return Err(bad("`\\` must begin `\\x` and two hex digits"));
                };
                let mut byte = [0];
                hex::decode_to_slice([*high, *low], &mut byte).map_err(|_| bad("`\\x` needs two hex digits"))?;
                bytes.extend(byte);
                rest = tail;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map_err(|_| bad("must unescape to UTF-8"))
}

/// Returns the path of an object's lock file below the datastore's lock directory.
///
/// `object` is the path of the object inside its namespace: `vm/100` for a group, `vm/100/TIME` for a snapshot,
/// `vm/100/TIME/.index.json.lck` for its manifest. A name that would be too long is replaced by its beginning, its end
/// and its SHA-256, in the directory `hashed`.
pub fn lock_path(namespace: &Namespace, object: &str) -> PathBuf {
    let dir = PathBuf::from(namespace.lock_dir());
    let name = escape_unit_path(object);
    if name.len() <= MAX_LOCK_NAME {
        return dir.join(name);
    }
    let (head, tail) = (&name[..80], &name[name.len() - 80..]);
    dir.join("hashed").join(format!("{head}...{tail}-{}", hex::encode(sha256(object.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_names_are_those_of_a_stock_server() {
        let root = Namespace::root();
        let snapshot = "vm/100/2022-05-02T08:11:33Z";
        for (namespace, object, expected) in [
            (root.clone(), "vm/100".to_owned(), "vm-100".to_owned()),
            (root.clone(), snapshot.to_owned(), r"vm-100-2022\x2d05\x2d02T08\x3a11\x3a33Z".to_owned()),
            (
                root,
                format!("{snapshot}/.index.json.lck"),
                r"vm-100-2022\x2d05\x2d02T08\x3a11\x3a33Z-.index.json.lck".to_owned(),
            ),
            ("x/y".parse().unwrap(), "host/a-b".to_owned(), r"x:y/host-a\x2db".to_owned()),
        ] {
            assert_eq!(lock_path(&namespace, &object), PathBuf::from(expected));
        }
    }

    #[test]
    fn a_lock_name_of_255_bytes_is_hashed_and_one_of_254_is_not() {
        let fits = format!("host/{}", "x".repeat(249));
        assert_eq!(lock_path(&Namespace::root(), &fits), PathBuf::from(format!("host-{}", "x".repeat(249))));

        let long = format!("host/{}", "x".repeat(250));
        let hashed = lock_path(&Namespace::root(), &long);
        let digest = hex::encode(sha256(long.as_bytes()));
        let expected = format!("hashed/host-{}...{}-{digest}", "x".repeat(75), "x".repeat(80));
        assert_eq!(hashed, PathBuf::from(expected));
    }

    #[test]
    fn unescaping_undoes_escaping() {
        for text in ["", "a/b", ".x", "a.b", "ä-ö:ü", "store:vm/100\\x", "a b\n"] {
            let escaped = escape_unit_name(text);
            assert!(escaped.is_ascii() && !escaped.contains([':', ' ', '/', '\n']), "{escaped}");
            assert_eq!(unescape_unit_name(&escaped).unwrap(), text);
        }
        assert_eq!(escape_unit_name(".a-b:c"), r"\x2ea\x2db\x3ac");
        assert_eq!(escape_unit_path("//"), "-");
    }

    #[test]
    fn broken_escapes_are_refused() {
        for bad in [r"\", r"\x", r"\x2", r"\xzz", r"\y20", r"\xff"] {
            assert!(unescape_unit_name(bad).is_err(), "{bad}");
        }
    }
}
