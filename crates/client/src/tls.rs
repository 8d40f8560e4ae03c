//! Which certificate is accepted: one the system's roots vouch for, else one whose fingerprint is pinned.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use formats::Fingerprint;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// The certificate a server showed, and what we think of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// The leaf, DER.
    pub der: Vec<u8>,
    /// Its SHA-256 fingerprint.
    pub fingerprint: Fingerprint,
    /// Why it is trusted, or not.
    pub verdict: Verdict,
}

/// Why a certificate is trusted, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A root of this system vouches for it.
    Vouched,
    /// Its fingerprint is this one of those pinned, counted from 0.
    Pinned(usize),
    /// It is not; the reason why the system's roots do not vouch for it.
    Untrusted(String),
}

/// The certificate of the last handshake.
pub(crate) type Seen = Arc<Mutex<Option<ShownCertificate>>>;

/// Makes the TLS settings of one remote: TLS 1.2 or later, no ALPN. What the server shows is noted in `seen`.
pub(crate) fn config(roots: RootCertStore, pinned: &[Fingerprint], seen: Seen) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut verifier = Verifier::new(roots, pinned, Arc::clone(&provider));
    verifier.seen = seen;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Reads the system's roots; unreadable or unusable ones are left out, none at all is no error.
pub(crate) fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a root certificate of this system was not read");
    }
    let mut roots = RootCertStore::empty();
    let (_, unusable) = roots.add_parsable_certificates(found.certs);
    if unusable > 0 {
        tracing::debug!(unusable, "some root certificates of this system are not usable");
    }
    roots
}

#[derive(Debug)]
struct Verifier {
    /// Absent when there are no roots.
    chain: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<Fingerprint>,
    provider: Arc<CryptoProvider>,
    seen: Seen,
}

impl Verifier {
    fn new(roots: RootCertStore, pinned: &[Fingerprint], provider: Arc<CryptoProvider>) -> Self {
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok();
        Self { chain, pinned: pinned.to_vec(), provider, seen: Seen::default() }
    }

    /// Asks the system's roots.
    fn vouch(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let Some(chain) = &self.chain else {
            return Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map(drop)
    }

    fn note(&self, certificate: &CertificateDer<'_>, fingerprint: Fingerprint, verdict: Verdict) {
        let shown = ShownCertificate { der: certificate.to_vec(), fingerprint, verdict };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of_certificate(end_entity);
        let Err(reason) = self.vouch(end_entity, intermediates, server_name, ocsp_response, now) else {
            self.note(end_entity, found, Verdict::Vouched);
            return Ok(ServerCertVerified::assertion());
        };
        if let Some(place) = self.pinned.iter().position(|pinned| *pinned == found) {
            self.note(end_entity, found, Verdict::Pinned(place));
            return Ok(ServerCertVerified::assertion());
        }
        let untrusted = Untrusted { found, reason };
        self.note(end_entity, found, Verdict::Untrusted(untrusted.reason()));
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that was refused, carried through the handshake's error.
#[derive(Debug)]
pub(crate) struct Untrusted {
    pub(crate) found: Fingerprint,
    reason: rustls::Error,
}

impl Untrusted {
    /// Finds the refused certificate in the error of a handshake.
    pub(crate) fn in_error(error: &io::Error) -> Option<&Self> {
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) =
            error.get_ref()?.downcast_ref::<rustls::Error>()?
        else {
            return None;
        };
        inner.downcast_ref::<Self>()
    }

    /// Says in words why the system's roots do not vouch for it.
    pub(crate) fn reason(&self) -> String {
        let rustls::Error::InvalidCertificate(problem) = &self.reason else {
            return self.reason.to_string();
        };
        match problem {
            CertificateError::UnknownIssuer => "its issuer is unknown".into(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet: check the clock".into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is made out to another name".into()
            }
            CertificateError::Revoked => "it was revoked".into(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {} is not trusted: {}", self.found, self.reason())
    }
}

impl std::error::Error for Untrusted {}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    /// A root and a leaf it issued for `name`.
    fn authority(name: &str) -> (RootCertStore, CertificateDer<'static>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .signed_by(&KeyPair::generate().unwrap(), &root)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        (roots, leaf.der().clone())
    }

    fn check(verifier: &Verifier, leaf: &CertificateDer<'_>, name: &str, now: UnixTime) -> Result<(), rustls::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(leaf, &[], &name, &[], now).map(|_| ())
    }

    fn refusal(error: rustls::Error) -> (Fingerprint, String) {
        let error = io::Error::other(error);
        let untrusted = Untrusted::in_error(&error).expect("refused for its certificate");
        (untrusted.found, untrusted.reason())
    }

    #[test]
    fn a_chain_to_a_root_that_names_the_host_needs_no_fingerprint() {
        let (roots, leaf) = authority("pbs.example.org");
        let verifier = Verifier::new(roots, &[Fingerprint::from_bytes([9; 32])], provider());

        assert_eq!(check(&verifier, &leaf, "pbs.example.org", UnixTime::now()), Ok(()));
    }

    #[test]
    fn another_name_is_refused_with_the_fingerprint_found() {
        let (roots, leaf) = authority("pbs.example.org");
        let verifier = Verifier::new(roots, &[], provider());

        let error = check(&verifier, &leaf, "other.example.org", UnixTime::now()).unwrap_err();

        assert_eq!(refusal(error), (Fingerprint::of_certificate(&leaf), "it is made out to another name".to_owned()));
    }

    #[test]
    fn a_pinned_certificate_passes_without_roots_under_any_name_and_expired() {
        let (_, leaf) = authority("pbs.example.org");
        let verifier = Verifier::new(RootCertStore::empty(), &[Fingerprint::of_certificate(&leaf)], provider());
        let year_5000 = UnixTime::since_unix_epoch(std::time::Duration::from_secs(95_617_584_000));

        assert_eq!(check(&verifier, &leaf, "whatever", year_5000), Ok(()));
    }

    #[test]
    fn without_roots_and_pins_every_certificate_is_refused() {
        let (_, leaf) = authority("pbs.example.org");
        let verifier = Verifier::new(RootCertStore::empty(), &[], provider());

        let error = check(&verifier, &leaf, "pbs.example.org", UnixTime::now()).unwrap_err();

        assert_eq!(refusal(error).1, "its issuer is unknown");
    }
}
