//! The secrets that tickets and CSRF tokens are made with. They stay with the configuration, so that tickets outlive a
//! restart.

use aws_lc_rs::hmac;

/// Keys for tickets and CSRF tokens.
pub(crate) struct Keys {
    ticket: hmac::Key,
    csrf: hmac::Key,
}

impl Keys {
    /// Keys from their secrets.
    pub(crate) fn new(ticket: &[u8; 32], csrf: &[u8; 32]) -> Self {
        Self { ticket: hmac::Key::new(hmac::HMAC_SHA256, ticket), csrf: hmac::Key::new(hmac::HMAC_SHA256, csrf) }
    }

    /// Signs the text of a ticket.
    pub(crate) fn sign_ticket(&self, text: &str) -> Vec<u8> {
        hmac::sign(&self.ticket, text.as_bytes()).as_ref().to_vec()
    }

    /// Whether that is the signature of the text of a ticket.
    pub(crate) fn verify_ticket(&self, text: &str, signature: &[u8]) -> bool {
        hmac::verify(&self.ticket, text.as_bytes(), signature).is_ok()
    }

    /// Signs the text of a CSRF token.
    pub(crate) fn sign_csrf(&self, text: &str) -> Vec<u8> {
        hmac::sign(&self.csrf, text.as_bytes()).as_ref().to_vec()
    }

    /// Whether that is the signature of the text of a CSRF token.
    pub(crate) fn verify_csrf(&self, text: &str, signature: &[u8]) -> bool {
        hmac::verify(&self.csrf, text.as_bytes(), signature).is_ok()
    }
}
