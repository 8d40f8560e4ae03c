//! Which key the encrypted chunks of a snapshot are checked with.

use formats::{CryptKey, CryptMode, Manifest, SignatureState};

/// What can be said about the encrypted chunks of a snapshot.
pub(super) enum Seal<'a> {
    /// No more than their CRC: none are encrypted, or no keys are at hand.
    Unread,
    /// The same, although keys are at hand, for this reason.
    Unproven(String),
    /// Whether they are what their names say: the manifest is signed with this key.
    Key(&'a CryptKey),
    /// The manifest is not what the owner of its key signed.
    Broken(String),
}

impl<'a> Seal<'a> {
    /// Finds the key of `manifest` among `keys`. Only a manifest that it signed is believed to be under it: chunks that
    /// do not fit are set aside, and no forged manifest may do that to those of somebody else.
    pub(super) fn of(manifest: &Manifest, keys: &'a [CryptKey]) -> Self {
        let encrypted = manifest.files.iter().any(|info| info.crypt_mode == CryptMode::Encrypt);
        if !encrypted || keys.is_empty() {
            return Self::Unread;
        }
        let unproven = |why: &str| Self::Unproven(format!("{why}, so its encrypted chunks were checked by CRC alone"));
        let fingerprint = match manifest.key_fingerprint() {
            Ok(Some(fingerprint)) => fingerprint,
            Ok(None) => return unproven("its manifest names no key"),
            Err(error) => return Self::Broken(format!("it names a key badly: {error}")),
        };
        let Some(key) = keys.iter().find(|key| key.fingerprint() == fingerprint) else {
            return unproven(&format!("it is under key {}, which was not given", fingerprint.short()));
        };
        match manifest.verify_signature(key) {
            Ok(SignatureState::Valid) => Self::Key(key),
            Ok(SignatureState::Unsigned) => unproven("its manifest is not signed"),
            Err(error) => Self::Broken(error.to_string()),
        }
    }
}
