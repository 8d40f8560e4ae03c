//! The server's certificate: found, made, or told about.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use formats::Fingerprint;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use serde::Serialize;
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OidRegistry},
    pem::parse_x509_pem,
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::{SubjectPublicKeyInfo, X509Name},
};

use crate::{
    error::{ConfigError, Result},
    files::{self, FileLock, MODE_NORMAL, MODE_SECRET},
    paths::Paths,
    server_conf::ServerConf,
};

/// Years a generated certificate is good for. Peers pin its fingerprint, so its end would only break them.
const VALID_YEARS: i32 = 1000;

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct ServerCertificate {
    /// The leaf, and the chain behind it if there is one.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// What there is to know about a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CertInfo {
    /// Name of its file.
    pub filename: String,
    /// Whom it names, `O = ..., CN = ...`.
    pub subject: String,
    /// Host names and addresses it is for.
    pub san: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// First second it is good for, since the epoch.
    pub notbefore: i64,
    /// Last second.
    pub notafter: i64,
    /// The certificate itself.
    pub pem: String,
    /// Kind of key, such as `id-ecPublicKey`.
    pub public_key_type: String,
    /// Size of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_bits: Option<u32>,
    /// SHA-256 of the certificate, by which peers pin it.
    pub fingerprint: Fingerprint,
}

/// Gives the configured certificate, or the generated one, which is made on first use for this host's name, `now`
/// being the time its validity starts around.
///
/// # Errors
/// A file is missing, unreadable or no PEM; or a key cannot be made.
pub fn ensure(paths: &Paths, conf: &ServerConf, now: DateTime<Utc>) -> Result<ServerCertificate> {
    if let (Some(certificate), Some(key)) = (&conf.certificate, &conf.key) {
        return Ok(ServerCertificate { certificate_pem: read_pem(certificate)?, key_pem: read_pem(key)? });
    }
    let (certificate, key) = (paths.cert(), paths.key());
    if let Some(pair) = generated(&certificate, &key)? {
        return Ok(pair);
    }
    let certificate_lock = FileLock::take(&certificate)?;
    // Another process may have been faster.
    if let Some(pair) = generated(&certificate, &key)? {
        return Ok(pair);
    }
    let key_lock = FileLock::take(&key)?;
    let (pair, key_pem) = match files::read_if_there(&key)? {
        // Made by somebody who died before the certificate, or the certificate was removed to have a new one.
        Some(bytes) => {
            let pem = text(&key, bytes)?;
            (KeyPair::from_pem(&pem).map_err(|error| ConfigError::line(&key, 0, error))?, pem)
        }
        None => {
            let pair =
                KeyPair::generate().map_err(|error| ConfigError::Refused(format!("cannot make a key: {error}")))?;
            let pem = pair.serialize_pem();
            key_lock.replace(pem.as_bytes(), MODE_SECRET)?;
            (pair, pem)
        }
    };
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let certificate_pem = self_signed(&pair, &host, now)
        .map_err(|error| ConfigError::Refused(format!("cannot make a certificate: {error}")))?;
    certificate_lock.replace(certificate_pem.as_bytes(), MODE_NORMAL)?;
    Ok(ServerCertificate { certificate_pem, key_pem })
}

/// Tells whether [`ensure`] would find what it needs, without making anything.
///
/// # Errors
/// A file is missing, unreadable or no PEM.
pub(crate) fn present(paths: &Paths, conf: &ServerConf) -> Result<()> {
    match (&conf.certificate, &conf.key) {
        (Some(certificate), Some(key)) => {
            let pem = read_pem(certificate)?;
            read_pem(key)?;
            info(&certificate.display().to_string(), &pem).map(drop)
        }
        _ => generated(&paths.cert(), &paths.key()).map(drop),
    }
}

/// Path of the certificate that [`ensure`] gives.
pub fn path(paths: &Paths, conf: &ServerConf) -> PathBuf {
    conf.certificate.clone().unwrap_or_else(|| paths.cert())
}

/// Both generated files, if both are there.
fn generated(certificate: &Path, key: &Path) -> Result<Option<ServerCertificate>> {
    let (Some(certificate_pem), Some(key_pem)) = (files::read_if_there(certificate)?, files::read_if_there(key)?)
    else {
        if certificate.exists() && !key.exists() {
            let reason = format!("there is no key {} for it; remove it to have a new one made", key.display());
            return Err(ConfigError::line(certificate, 0, reason));
        }
        return Ok(None);
    };
    Ok(Some(ServerCertificate { certificate_pem: text(certificate, certificate_pem)?, key_pem: text(key, key_pem)? }))
}

fn read_pem(path: &Path) -> Result<String> {
    match files::read_if_there(path)? {
        Some(bytes) => text(path, bytes),
        None => Err(ConfigError::line(path, 0, "the configured file does not exist")),
    }
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| ConfigError::line(path, 0, "no PEM file"))
}

fn self_signed(pair: &KeyPair, host: &str, now: DateTime<Utc>) -> Result<String, rcgen::Error> {
    let short = host.split('.').next().unwrap_or_default();
    let mut names = vec!["localhost".to_owned()];
    for name in [short, host] {
        // What is no DNS name cannot stand in a certificate.
        let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        if fits && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    let mut params = CertificateParams::new(names.clone())?;
    params.subject_alt_names.insert(0, SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    params.subject_alt_names.insert(1, SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Backup Replicator");
    params.distinguished_name.push(DnType::CommonName, names.last().map_or("localhost", String::as_str));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // A day back, for peers whose clock is behind.
    let start = now.checked_sub_signed(TimeDelta::days(1)).unwrap_or(now);
    let month = u8::try_from(start.month()).unwrap_or(1);
    params.not_before = rcgen::date_time_ymd(start.year(), month, u8::try_from(start.day()).unwrap_or(1));
    // The first of the month exists in every year.
    params.not_after = rcgen::date_time_ymd(start.year() + VALID_YEARS, month, 1);
    Ok(params.self_signed(pair)?.pem())
}

/// Reads a certificate in DER, such as a server shows; `name` stands for its file.
///
/// # Errors
/// It is no certificate.
pub fn info_of_der(name: &str, der: &[u8]) -> Result<CertInfo> {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    info(name, &pem)
}

/// Reads the first certificate of a PEM text; `filename` is shown and not opened.
///
/// # Errors
/// The text is no PEM, or holds no certificate.
pub fn info(filename: &str, pem: &str) -> Result<CertInfo> {
    let bad = |reason: String| ConfigError::line(Path::new(filename), 0, reason);
    let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|error| bad(format!("no PEM: {error}")))?;
    let (_, certificate) =
        X509Certificate::from_der(&block.contents).map_err(|error| bad(format!("no certificate: {error}")))?;
    let san = certificate
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        })
        .flatten()
        .filter_map(host_text)
        .collect();
    let registry = OidRegistry::default().with_all_crypto().with_x509();
    let key = certificate.public_key();
    Ok(CertInfo {
        filename: filename.to_owned(),
        subject: name_text(certificate.subject(), &registry),
        san,
        issuer: name_text(certificate.issuer(), &registry),
        notbefore: certificate.validity().not_before.timestamp(),
        notafter: certificate.validity().not_after.timestamp(),
        pem: first_block(pem),
        public_key_type: key_type(key),
        public_key_bits: key_bits(key),
        fingerprint: Fingerprint::of_certificate(&block.contents),
    })
}

fn host_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// `O = Name, CN = host`, in the certificate's order.
fn name_text(name: &X509Name<'_>, registry: &OidRegistry<'_>) -> String {
    name.iter_attributes()
        .map(|attribute| {
            let oid = attribute.attr_type();
            let key = match registry.get(oid).map(x509_parser::oid_registry::OidEntry::sn) {
                Some("commonName") => "CN".to_owned(),
                Some("organizationName") => "O".to_owned(),
                Some("organizationalUnit" | "organizationalUnitName") => "OU".to_owned(),
                Some("countryName") => "C".to_owned(),
                Some(other) => other.to_owned(),
                None => oid.to_id_string(),
            };
            format!("{key} = {}", attribute.as_str().unwrap_or("?"))
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn key_type(key: &SubjectPublicKeyInfo<'_>) -> String {
    match key.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => "rsaEncryption".to_owned(),
        "1.2.840.10045.2.1" => "id-ecPublicKey".to_owned(),
        "1.3.101.112" => "ED25519".to_owned(),
        other => other.to_owned(),
    }
}

fn key_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<u32> {
    let size = match key.parsed().ok()? {
        PublicKey::RSA(rsa) => rsa.key_size(),
        PublicKey::EC(point) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            match curve {
                Some(curve) if curve == OID_EC_P256 => 256,
                Some(curve) if curve == OID_NIST_EC_P384 => 384,
                Some(curve) if curve == OID_NIST_EC_P521 => 521,
                _ => point.key_size(),
            }
        }
        _ => return None,
    };
    u32::try_from(size).ok().filter(|&bits| bits > 0)
}

/// The text up to the end of its first PEM block.
fn first_block(pem: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    match pem.find(END) {
        Some(end) => format!("{}\n", &pem[..end + END.len()]),
        None => pem.to_owned(),
    }
}
