//! The JSON of a manifest: reading, pretty printing, and the canonical form that is signed.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{FileInfo, Manifest, ManifestError, VerifyResult};
use crate::group::{BackupId, BackupType};
use crate::snapshot::BackupTime;

/// The fields as they stand in the file.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Fields {
    backup_type: BackupType,
    backup_id: BackupId,
    backup_time: BackupTime,
    files: Vec<FileInfo>,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    unprotected: Option<Map<String, Value>>,
}

/// Reads a manifest; see [`Manifest::parse_json`].
pub(super) fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
    let fields: Fields = serde_json::from_slice(text).map_err(ManifestError::Json)?;
    let mut seen = HashSet::new();
    if let Some(twice) = fields.files.iter().find(|file| !seen.insert(&file.filename)) {
        return Err(ManifestError::Duplicate(twice.filename.clone()));
    }
    Ok(Manifest {
        backup_type: fields.backup_type,
        backup_id: fields.backup_id,
        backup_time: fields.backup_time,
        files: fields.files,
        signature: fields.signature,
        unprotected: fields.unprotected.unwrap_or_default(),
    })
}

/// Returns the object that is signed: the known fields without `signature` and `unprotected`.
pub(super) fn signed_part(manifest: &Manifest) -> Value {
    let files = manifest.files.iter().map(|file| {
        object([
            ("crypt-mode", Value::from(file.crypt_mode.as_str())),
            ("csum", Value::from(hex::encode(file.csum))),
            ("filename", Value::from(file.filename.as_str())),
            ("size", Value::from(file.size)),
        ])
    });
    object([
        ("backup-id", Value::from(manifest.backup_id.as_str())),
        ("backup-time", Value::from(manifest.backup_time.unix())),
        ("backup-type", Value::from(manifest.backup_type.as_str())),
        ("files", files.collect()),
    ])
}

/// Writes the whole manifest, indented by two spaces.
pub(super) fn pretty(manifest: &Manifest) -> String {
    let Value::Object(mut whole) = signed_part(manifest) else { return String::new() };
    whole.insert("signature".to_owned(), Value::from(manifest.signature.clone()));
    whole.insert("unprotected".to_owned(), Value::Object(manifest.unprotected.clone()));
    format!("{:#}", Value::Object(whole))
}

/// Writes canonical JSON: no blanks, keys sorted bytewise at every level, the shortest escapes.
pub(super) fn canonical(value: &Value) -> Vec<u8> {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out.into_bytes()
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| key.as_bytes());
            out.push('{');
            for (at, (key, member)) in members.into_iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(member, out);
            }
            out.push('}');
        }
        // serde_json's own form has neither blanks nor needless escapes.
        plain => out.push_str(&plain.to_string()),
    }
}

/// Returns the text of a result.
pub(super) fn text_of(result: &VerifyResult) -> Value {
    Value::from(match result {
        VerifyResult::Ok => "ok",
        VerifyResult::Failed => "failed",
    })
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// 32 bytes as 64 hex digits, read in either case, written in lower case.
pub(super) mod hex_digest {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::manifest) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(in crate::manifest) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let decoded = hex::decode_to_slice(&text, &mut bytes);
        decoded.map(|()| bytes).map_err(|_| D::Error::custom("a checksum must be 64 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_sorts_at_every_level_and_escapes_no_more_than_needed() {
        let text = r#"{"b":[3,{"z":1,"A":2}],"a":"ü/\"\\\b\f\n\r\t\u0001\u007f","ä":-5,"B":true}"#;
        let value: Value = serde_json::from_str(text).unwrap();

        let expected =
            "{\"B\":true,\"a\":\"ü/\\\"\\\\\\b\\f\\n\\r\\t\\u0001\u{7f}\",\"b\":[3,{\"A\":2,\"z\":1}],\"ä\":-5}";
        assert_eq!(String::from_utf8(canonical(&value)).unwrap(), expected);
    }
}
