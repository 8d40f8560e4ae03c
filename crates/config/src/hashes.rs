//! Hashes of passwords and of token secrets.
//!
//! A password is guessable, so its hash is slow: PBKDF2 with HMAC-SHA-256, `$pbkdf2-sha256$i=ROUNDS$SALT$HASH`. A token
//! secret has 122 random bits, so one salted SHA-256 is enough, and cheap on the path of every request:
//! `$sha256$SALT$HASH`. Salt and hash are base64 without padding. Comparison takes the same time wherever they differ.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, pbkdf2};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD as BASE64};

use crate::error::{ConfigError, Result};

/// Rounds of new password hashes, as recommended for this function.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");
/// A hash in the file may ask for at most this many, so that a mistyped number does not stop logins for hours.
const MAX_ROUNDS: u32 = 10_000_000;
/// Longer than any password that can be set; nothing longer is hashed.
const MAX_INPUT: usize = 1024;

const PASSWORD: &str = "pbkdf2-sha256";
const TOKEN: &str = "sha256";

/// Hashes a password with a fresh salt.
pub(crate) fn hash_password(password: &str) -> Result<String> {
    let salt: [u8; 16] = random()?;
    let hash = stretch(ROUNDS, &salt, password);
    Ok(format!("${PASSWORD}$i={ROUNDS}${}${}", BASE64.encode(salt), BASE64.encode(hash)))
}

/// Compares a password with a stored hash; `None` if the hash is of another form.
pub(crate) fn verify_password(stored: &str, password: &str) -> Option<bool> {
    let [rounds, salt, hash] = fields(stored, PASSWORD)?;
    let rounds = rounds.strip_prefix("i=")?.parse::<NonZeroU32>().ok().filter(|rounds| rounds.get() <= MAX_ROUNDS)?;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    if password.len() > MAX_INPUT {
        return Some(false);
    }
    Some(constant_time::verify_slices_are_equal(&stretch(rounds, &salt, password), &hash).is_ok())
}

/// Whether a stored password hash is of the form that is understood here.
pub(crate) fn is_password(stored: &str) -> bool {
    fields::<3>(stored, PASSWORD).is_some()
}

/// Whether a stored hash of a token secret is of the form that is understood here.
pub(crate) fn is_token(stored: &str) -> bool {
    fields::<2>(stored, TOKEN).is_some()
}

/// Spends the time of a verification, for a user who has no password.
pub(crate) fn verify_nothing(password: &str) {
    if password.len() <= MAX_INPUT {
        std::hint::black_box(stretch(ROUNDS, &[0; 16], password));
    }
}

/// Hashes a token secret with a fresh salt.
pub(crate) fn hash_token(secret: &str) -> Result<String> {
    let salt: [u8; 16] = random()?;
    Ok(format!("${TOKEN}${}${}", BASE64.encode(salt), BASE64.encode(salted(&salt, secret))))
}

/// Compares a token secret with a stored hash; `None` if the hash is of another form.
pub(crate) fn verify_token(stored: &str, secret: &str) -> Option<bool> {
    let [salt, hash] = fields(stored, TOKEN)?;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    if secret.len() > MAX_INPUT {
        return Some(false);
    }
    Some(constant_time::verify_slices_are_equal(&salted(&salt, secret), &hash).is_ok())
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| ConfigError::Refused(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

fn stretch(rounds: NonZeroU32, salt: &[u8], password: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut hash);
    hash
}

fn salted(salt: &[u8], secret: &str) -> [u8; 32] {
    formats::sha256(&[salt, secret.as_bytes()].concat())
}

/// The fields behind `$SCHEME$`.
fn fields<'a, const N: usize>(stored: &'a str, scheme: &str) -> Option<[&'a str; N]> {
    let rest = stored.strip_prefix('$')?.strip_prefix(scheme)?.strip_prefix('$')?;
    rest.split('$').collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_passes_for_its_own_hash_only() {
        let stored = hash_password("correct horse").unwrap();

        assert!(stored.starts_with("$pbkdf2-sha256$i=600000$"), "{stored}");
        assert_eq!(verify_password(&stored, "correct horse"), Some(true));
        assert_eq!(verify_password(&stored, "correct hors"), Some(false));
        assert_eq!(verify_password(&stored, &"x".repeat(5000)), Some(false));
        assert_ne!(stored, hash_password("correct horse").unwrap());
    }

    #[test]
    fn the_stretching_is_the_published_function() {
        // RFC 7914, section 11: PBKDF2-HMAC-SHA-256 (P="passwd", S="salt", c=1), its first 32 bytes.
        let hash = hex::decode("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc").unwrap();
        let stored = format!("$pbkdf2-sha256$i=1${}${}", BASE64.encode("salt"), BASE64.encode(hash));

        assert_eq!(verify_password(&stored, "passwd"), Some(true));
    }

    #[test]
    fn a_token_secret_passes_for_its_own_hash_only() {
        let stored = hash_token("b0b1b2b3").unwrap();

        assert_eq!(verify_token(&stored, "b0b1b2b3"), Some(true));
        assert_eq!(verify_token(&stored, "b0b1b2b4"), Some(false));
        assert_eq!(verify_token(&stored, ""), Some(false));
    }

    #[test]
    fn hashes_of_other_forms_pass_for_nothing() {
        for stored in [
            "",
            "$",
            "$5$salt$hash",
            "$y$j9T$salt$hash",
            "$pbkdf2-sha256$i=0$c2FsdA$aGFzaA",
            "$pbkdf2-sha256$i=4000000000$c2FsdA$aGFzaA",
            "$pbkdf2-sha256$i=1$c2FsdA",
            "$pbkdf2-sha256$i=1$***$aGFzaA",
            "$sha256$c2FsdA",
        ] {
            assert_eq!(verify_password(stored, "x"), None, "{stored}");
            assert_eq!(verify_token(stored, "x"), None, "{stored}");
        }
    }
}
