//! `[notify]` of `backup-server.conf`: who is told of jobs that fail, recover or were held back.

use std::{collections::BTreeSet, path::PathBuf};

/// Where a mail goes that is not handed to a local program.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpServer {
    /// Host name or address.
    pub host: String,
    /// TCP port, 25 unless given.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// User and password, if it wants them.
    pub login: Option<(String, String)>,
}

/// Leaves the login out.
impl std::fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SmtpTls {
    /// Not at all: for a relay on this host.
    None,
    /// By STARTTLS, or there is no mail.
    #[default]
    StartTls,
    /// From the first byte (port 465).
    Implicit,
}

/// What somebody is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotifyOn {
    /// A job fails that did not fail before.
    Failure,
    /// A job runs well that failed, or was held, before.
    Recovery,
    /// A run would have removed too much and removed nothing.
    Brake,
    /// Every other end of a run as well.
    Always,
}

/// The settings of `[notify]`; without addressee and webhook nobody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConf {
    /// `mail-to`: mail addresses.
    pub mail_to: Vec<String>,
    /// `mail-from`: sender; `root` at this host's name unless given.
    pub mail_from: Option<String>,
    /// `sendmail`: program with the interface of sendmail, `/usr/sbin/sendmail`.
    pub sendmail: PathBuf,
    /// `smtp`, `smtp-tls`, `smtp-user`, `smtp-password`: the mail server to talk to instead.
    pub smtp: Option<SmtpServer>,
    /// `webhook`: URLs that are sent a JSON object.
    pub webhooks: Vec<String>,
    /// `webhook-header`: name and value of a header that goes with it, such as a token.
    pub webhook_header: Option<(String, String)>,
    /// `on`: what is told; failure, recovery and brake unless given.
    pub on: BTreeSet<NotifyOn>,
}

impl Default for NotifyConf {
    fn default() -> Self {
        Self {
            mail_to: Vec::new(),
            mail_from: None,
            sendmail: "/usr/sbin/sendmail".into(),
            smtp: None,
            webhooks: Vec::new(),
            webhook_header: None,
            on: [NotifyOn::Failure, NotifyOn::Recovery, NotifyOn::Brake].into(),
        }
    }
}

impl NotifyConf {
    /// The keys of the section.
    pub const KEYS: [&str; 10] = [
        "mail-to",
        "mail-from",
        "sendmail",
        "smtp",
        "smtp-tls",
        "smtp-user",
        "smtp-password",
        "webhook",
        "webhook-header",
        "on",
    ];

    /// Whether the file must be kept to its owner for the sake of these settings; the URL of a webhook is its password.
    pub(crate) fn holds_secrets(&self) -> bool {
        !self.webhooks.is_empty()
            || self.webhook_header.is_some()
            || self.smtp.as_ref().is_some_and(|smtp| smtp.login.is_some())
    }
}

/// Takes the values of a file one by one: those of the mail server belong together.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    conf: NotifyConf,
    tls: Option<SmtpTls>,
    user: Option<String>,
    password: Option<String>,
}

impl Builder {
    /// Takes one value; says whether the key is known.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        if !NotifyConf::KEYS.contains(&key) {
            return Ok(false);
        }
        match key {
            "mail-to" => self.conf.mail_to = list(value).map(mail_address).collect::<Result<_, _>>()?,
            "mail-from" => self.conf.mail_from = Some(mail_address(value)?),
            "sendmail" => self.conf.sendmail = super::server_conf::absolute(value)?,
            "smtp" => {
                let (host, port) = host_and_port(value)?;
                self.conf.smtp = Some(SmtpServer { host, port, tls: SmtpTls::default(), login: None });
            }
            "smtp-tls" => {
                self.tls = Some(match value {
                    "none" => SmtpTls::None,
                    "starttls" => SmtpTls::StartTls,
                    "tls" => SmtpTls::Implicit,
                    _ => return Err(format!("`{value}` is none of none, starttls, tls")),
                });
            }
            "smtp-user" => self.user = Some(value.to_owned()),
            "smtp-password" => self.password = Some(value.to_owned()),
            // A URL may have commas.
            "webhook" => self.conf.webhooks = value.split_whitespace().map(url).collect::<Result<_, _>>()?,
            "webhook-header" => {
                let (name, value) = value.split_once(':').ok_or("is no header; write `NAME: VALUE`")?;
                self.conf.webhook_header = Some((name.trim().to_owned(), value.trim().to_owned()));
            }
            "on" => self.conf.on = list(value).map(on).collect::<Result<_, _>>()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The settings as a whole.
    pub(crate) fn finish(mut self) -> Result<NotifyConf, String> {
        let Some(smtp) = &mut self.conf.smtp else {
            let alone = [("smtp-tls", self.tls.is_some()), ("smtp-user", self.user.is_some())];
            return match alone.into_iter().find(|(_, set)| *set) {
                Some((key, _)) => Err(format!("`{key}` has no meaning without `smtp`")),
                None => Ok(self.conf),
            };
        };
        smtp.tls = self.tls.unwrap_or_default();
        smtp.login = match (self.user, self.password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => return Err("`smtp-user` and `smtp-password` go together".to_owned()),
        };
        if smtp.login.is_some() && smtp.tls == SmtpTls::None {
            return Err("`smtp-password` is not sent without protection; remove `smtp-tls = none`".to_owned());
        }
        Ok(self.conf)
    }
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ' ']).map(str::trim).filter(|text| !text.is_empty())
}

/// An address as far as it can be judged here: no blank, one `@` with something on both sides, or a local name.
fn mail_address(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '<' || c == '>')
        && text.split('@').count() <= 2
        && text.split('@').all(|part| !part.is_empty())
        && !text.starts_with('-');
    if fits { Ok(text.to_owned()) } else { Err(format!("`{}` is no mail address", text.escape_debug())) }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("`{text}` is no HOST or HOST:PORT");
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address has colons of its own, and brackets where a port follows.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (text, 25),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains(char::is_whitespace) { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

/// Never shows the text: it may hold a secret.
fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(text.to_owned()),
        _ => Err("is no URL that begins with https:// or http://".to_owned()),
    }
}

fn on(text: &str) -> Result<NotifyOn, String> {
    Ok(match text {
        "failure" => NotifyOn::Failure,
        "recovery" => NotifyOn::Recovery,
        "brake" => NotifyOn::Brake,
        "always" => NotifyOn::Always,
        _ => return Err(format!("`{text}` is none of failure, recovery, brake, always")),
    })
}
