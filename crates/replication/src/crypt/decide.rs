//! What becomes of an encrypted snapshot where keys to decrypt it are at hand, and of a plain one beside it.

use formats::{CryptKey, Fingerprint, Manifest, SignatureState};

use crate::error::EndError;

/// What to do with a snapshot.
#[derive(Debug)]
pub(super) enum Way<'a> {
    /// Copy it as it is; there may be something to say about that.
    AsIs(Option<&'static str>),
    /// Decrypt it.
    Decrypt(&'a CryptKey),
    /// What is there was made of it.
    Unchanged(&'a CryptKey),
}

const REMEDY: &str = "the copy at the target is untouched; remove or rename it to have the snapshot copied again";

fn refuse(what: impl Into<String>) -> EndError {
    EndError::skip(what).with_hint(REMEDY)
}

/// Decides about `source`, of which `existing` is there already, with `keys` at hand. `anew` tells that what is there
/// is to be replaced.
pub(super) fn decide<'a>(
    source: &Manifest,
    existing: Option<&Manifest>,
    keys: &'a [CryptKey],
    anew: bool,
) -> Result<Way<'a>, EndError> {
    let theirs = named_key(source, "source")?;
    let ours = existing.map(|existing| named_key(existing, "target")).transpose()?.flatten();
    let Some(theirs) = theirs else {
        return match ours {
            None => Ok(Way::AsIs(None)),
            Some(ours) => Err(refuse(format!(
                "it is not encrypted at the source, but its copy at the target is, with key {}",
                ours.short()
            ))),
        };
    };
    if let (Some(ours), Some(existing)) = (ours, existing) {
        return beside_keyed(source, existing, theirs, ours);
    }
    let encrypted = source.is_fully_encrypted();
    let Some(key) = keys.iter().find(|key| key.fingerprint() == theirs) else {
        return if existing.is_some() && encrypted {
            Err(EndError::skip(format!(
                "it is encrypted with key {}, but its copy at the target is not, and the job has no such key",
                theirs.short()
            ))
            .with_hint("add the key to the job with --associated-key"))
        } else {
            Ok(Way::AsIs(None))
        };
    };
    if !encrypted {
        return Ok(Way::AsIs(Some("not all of its files are encrypted, so it is copied as it is and not decrypted")));
    }
    check_signature(source, key)?;
    match existing {
        Some(existing) if made_of(existing, source) => Ok(if anew { Way::Decrypt(key) } else { Way::Unchanged(key) }),
        Some(_) => Err(refuse("its decrypted copy at the target was not made of the snapshot at the source")),
        None => Ok(Way::Decrypt(key)),
    }
}

/// Both are under a key.
fn beside_keyed<'a>(
    source: &Manifest,
    existing: &Manifest,
    theirs: Fingerprint,
    ours: Fingerprint,
) -> Result<Way<'a>, EndError> {
    if ours != theirs {
        return Err(refuse(format!(
            "it is under key {} at the source, but under key {} at the target",
            theirs.short(),
            ours.short()
        )));
    }
    if source.is_fully_encrypted() != existing.is_fully_encrypted() {
        return Err(refuse("it is fully encrypted at one end and not at the other"));
    }
    Ok(Way::AsIs(None))
}

fn named_key(manifest: &Manifest, end: &str) -> Result<Option<Fingerprint>, EndError> {
    manifest
        .key_fingerprint()
        .map_err(|error| EndError::skip(format!("its manifest at the {end} names a key badly")).caused_by(error))
}

/// What is decrypted must be what the owner of the key wrote.
fn check_signature(source: &Manifest, key: &CryptKey) -> Result<(), EndError> {
    let hint = "verify the snapshot at the source; it may have been tampered with";
    match source.verify_signature(key) {
        Ok(SignatureState::Valid) => Ok(()),
        Ok(SignatureState::Unsigned) => {
            Err(EndError::skip("it is encrypted but not signed, so it cannot be told who wrote it").with_hint(hint))
        }
        Err(error) => Err(EndError::skip("it is not decrypted").caused_by(error).with_hint(hint)),
    }
}

/// Whether `existing` is `source` decrypted.
fn made_of(existing: &Manifest, source: &Manifest) -> bool {
    existing.source_signature().is_some_and(|made_of| source.signature_bytes() == Some(*made_of.as_bytes()))
}
