//! The certificate while the daemon runs: read again when its files change.
//!
//! A renewal replaces two files one after the other, and whoever does it may or may not tell us. So the files are looked
//! at every minute as well as when the daemon is told to, and what cannot be used leaves the present certificate in place.

use config::{Paths, ServerConf};
use server::CurrentTls;

/// The certificate that new connections get, and the way to a newer one.
pub(crate) struct Certificate {
    paths: Paths,
    /// PEM text of the chain and of the key in use.
    loaded: [String; 2],
    tls: CurrentTls,
    /// The trouble that was told last; it is told once, not every minute.
    told: Option<String>,
}

impl Certificate {
    /// Reads the certificate, and makes one if none is there.
    pub(crate) fn load(paths: &Paths, conf: &ServerConf) -> anyhow::Result<Self> {
        let loaded = read(paths, conf)?;
        let tls = CurrentTls::new(parse(&loaded)?);
        Ok(Self { paths: paths.clone(), loaded, tls, told: None })
    }

    /// What the listener takes its certificate from.
    pub(crate) fn tls(&self) -> CurrentTls {
        self.tls.clone()
    }

    /// Reads the files again. If they changed and can be used, new connections get the new certificate; sessions that
    /// run keep theirs.
    pub(crate) fn refresh(&mut self) {
        match self.try_refresh() {
            Ok(changed) => {
                if changed {
                    tracing::info!("new connections get the new certificate");
                }
                self.told = None;
            }
            Err(error) => {
                let trouble = format!("{error:#}");
                if self.told.as_ref() != Some(&trouble) {
                    tracing::error!("the certificate stays as it is: {trouble}");
                }
                self.told = Some(trouble);
            }
        }
    }

    fn try_refresh(&mut self) -> anyhow::Result<bool> {
        // The configuration may name other files by now.
        let (conf, _) = ServerConf::load(&self.paths)?;
        let found = read(&self.paths, &conf)?;
        if found == self.loaded {
            return Ok(false);
        }
        self.tls.replace(parse(&found)?);
        self.loaded = found;
        Ok(true)
    }
}

fn read(paths: &Paths, conf: &ServerConf) -> anyhow::Result<[String; 2]> {
    let found = config::cert::ensure(paths, conf, chrono::Utc::now())?;
    Ok([found.certificate_pem, found.key_pem])
}

fn parse([certificate, key]: &[String; 2]) -> anyhow::Result<std::sync::Arc<rustls::ServerConfig>> {
    Ok(server::server_config(certificate.as_bytes(), key.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_half_done_renewal_leaves_the_certificate_in_place_and_a_whole_one_takes_effect() {
        let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (paths, other) = (Paths::under_root(here.path()), Paths::under_root(elsewhere.path()));
        let conf = ServerConf::default();
        let mut certificate = Certificate::load(&paths, &conf).unwrap();
        let first = certificate.tls().get();
        read(&other, &conf).unwrap();

        certificate.refresh();
        assert!(Arc::ptr_eq(&first, &certificate.tls().get()), "nothing has changed");

        fs::copy(other.cert(), paths.cert()).unwrap();
        certificate.refresh();
        assert!(Arc::ptr_eq(&first, &certificate.tls().get()), "the key does not fit yet");

        fs::copy(other.key(), paths.key()).unwrap();
        certificate.refresh();
        assert!(!Arc::ptr_eq(&first, &certificate.tls().get()));
    }
}
