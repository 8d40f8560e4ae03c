//! Brings a message to people and programs: by mail, and by a POST to a webhook.
//!
//! The crate knows nothing of jobs: a message comes with its text and its data. Every attempt has an end, and an error
//! never shows an address that is a secret.

mod mail;
mod webhook;

use std::time::Duration;

pub use mail::{Letter, send_mail};
pub use webhook::post;

/// How long one attempt may take: a mail server or webhook that hangs must not hold up who tells.
const LIMIT: Duration = Duration::from_secs(30);

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// An address that no mail can have.
    #[error("`{0}` is no mail address")]
    Address(String),
    /// The message cannot be put into the form of a mail.
    #[error("cannot write the mail")]
    Message(#[source] lettre::error::Error),
    /// The program that takes mails refused it, or is not there.
    #[error("{program} did not take the mail")]
    Sendmail {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: lettre::transport::sendmail::Error,
    },
    /// The mail server refused it, or cannot be reached.
    #[error("the mail server {server} did not take the mail")]
    Smtp {
        /// Host and port.
        server: String,
        /// Why not.
        #[source]
        source: lettre::transport::smtp::Error,
    },
    /// The webhook cannot be reached, or the header cannot be sent.
    #[error("the webhook at {host} cannot be reached")]
    Webhook {
        /// Its host; the rest of the URL may be a secret.
        host: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The webhook answered something else than success.
    #[error("the webhook at {host} answered {status}")]
    Answer {
        /// Its host.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// It took too long.
    #[error("{what} did not answer within {} seconds", LIMIT.as_secs())]
    Timeout {
        /// Who.
        what: String,
    },
}

/// Ends a wait.
async fn limited<T>(what: &str, step: impl Future<Output = T>) -> Result<T, NotifyError> {
    tokio::time::timeout(LIMIT, step).await.map_err(|_| NotifyError::Timeout { what: what.to_owned() })
}
