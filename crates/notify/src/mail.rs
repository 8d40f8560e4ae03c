//! Mails: written by the rules of RFC 5322, handed to a local program or to a mail server.

use std::time::SystemTime;

use config::{NotifyConf, SmtpServer, SmtpTls};
use lettre::address::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSendmailTransport, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::{NotifyError, limited};

/// Name shown with the sender's address.
const SENDER: &str = "Backup Replicator";

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// One line.
    pub subject: &'a str,
    /// Plain text.
    pub text: &'a str,
    /// Name of this host: sender and addressees without a domain are there.
    pub host: &'a str,
    /// When it is written.
    pub date: SystemTime,
}

/// Sends a letter to all of `to`, as `conf` says.
///
/// # Errors
/// An address is none, or the program or server does not take the letter.
pub async fn send_mail(conf: &NotifyConf, to: &[String], letter: &Letter<'_>) -> Result<(), NotifyError> {
    let message = write(conf, to, letter)?;
    let Some(server) = &conf.smtp else {
        let program = conf.sendmail.display().to_string();
        let transport = AsyncSendmailTransport::<Tokio1Executor>::new_with_command(&conf.sendmail);
        let sent = limited(&program, transport.send(message)).await?;
        return sent.map_err(|source| NotifyError::Sendmail { program, source });
    };
    let name = format!("{}:{}", server.host, server.port);
    let failed = |source| NotifyError::Smtp { server: name.clone(), source };
    let transport = transport(server, letter.host).map_err(failed)?;
    limited(&format!("the mail server {name}"), transport.send(message)).await?.map(drop).map_err(failed)
}

fn write(conf: &NotifyConf, to: &[String], letter: &Letter<'_>) -> Result<Message, NotifyError> {
    let address = |text: &str| -> Result<Address, NotifyError> {
        let full = if text.contains('@') { text.to_owned() } else { format!("{text}@{}", letter.host) };
        full.parse().map_err(|_| NotifyError::Address(text.to_owned()))
    };
    let from = address(conf.mail_from.as_deref().unwrap_or("root"))?;
    let mut builder = Message::builder()
        .from(Mailbox::new(Some(SENDER.to_owned()), from))
        .date(letter.date)
        .message_id(None)
        .subject(letter.subject)
        .header(ContentType::TEXT_PLAIN);
    for text in to {
        builder = builder.to(Mailbox::new(None, address(text)?));
    }
    let mut message = builder.body(letter.text.to_owned()).map_err(NotifyError::Message)?;
    // No absence notice answers a program (RFC 3834).
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(automatic, "auto-generated".to_owned()));
    Ok(message)
}

fn transport(
    server: &SmtpServer,
    host: &str,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let parameters = || TlsParameters::new_rustls(server.host.clone());
    let tls = match server.tls {
        SmtpTls::None => Tls::None,
        SmtpTls::StartTls => Tls::Required(parameters()?),
        SmtpTls::Implicit => Tls::Wrapper(parameters()?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
        .port(server.port)
        .tls(tls)
        .hello_name(ClientId::Domain(host.to_owned()))
        .timeout(Some(crate::LIMIT));
    if let Some((user, password)) = &server.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(conf: &NotifyConf, to: &[&str], subject: &str, text: &str) -> Result<String, NotifyError> {
        let to: Vec<String> = to.iter().map(|&text| text.to_owned()).collect();
        let letter = Letter { subject, text, host: "pbs-a", date: SystemTime::UNIX_EPOCH };
        write(conf, &to, &letter).map(|message| String::from_utf8(message.formatted()).unwrap())
    }

    #[test]
    fn a_letter_says_who_sent_it_to_whom_and_that_no_person_did() {
        let text = written(&NotifyConf::default(), &["admin@example.com", "ops"], "job failed", "why\n").unwrap();

        for line in [
            "From: \"Backup Replicator\" <root@pbs-a>\r\n",
            "To: admin@example.com, ops@pbs-a\r\n",
            "Subject: job failed\r\n",
            "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n",
            "Message-ID: <",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "\r\n\r\nwhy\r\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }

    #[test]
    fn what_a_remote_said_adds_no_header_and_no_addressee() {
        let text = written(&NotifyConf::default(), &["a@b.test"], "x\r\nBcc: eve@evil.test", "ünïcode").unwrap();

        assert!(!text.contains("\nBcc:"), "{text}");
        let error = written(&NotifyConf::default(), &["a@b.test\r\nBcc: eve@evil.test"], "x", "y").unwrap_err();
        assert!(matches!(error, NotifyError::Address(_)), "{error}");
    }
}
