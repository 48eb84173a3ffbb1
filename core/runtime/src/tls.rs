//! TLS by rustls, from certificates in memory or in files.
//!
//! Files are read for each connection. What they hold is compared with what was last used, so that a configuration is built
//! once, and its sessions are resumed, until a file changes. When files cannot be used (one was changed and the other not
//! yet), the last configuration that could be goes on: a rotation drops no request.
//!
//! Only the authorities that the configuration names are trusted: no store of the system's and none that is built in. The
//! cryptography is named at every use (feature `aws-lc`, else `ring`), never taken from the process's default, so that
//! two libraries in one program do not fight over it. Without either feature plain connections work, and asking for TLS
//! is refused. The handshake itself is the runtime's: it is I/O.

#[cfg(feature = "__tls")]
pub use with::{Prepared, Tls};

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The runtime was built without cryptography.
    #[error(
        "TLS was asked for, but this program was built without it: turn on the feature `ring` or `aws-lc`"
    )]
    NotBuilt,
    /// A certificate or key is not what it should be.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// Which one.
        what: &'static str,
        /// What is wrong with it; never its bytes.
        why: String,
    },
    /// A file of certificates or a key cannot be read.
    #[error("{what} cannot be read from {}", path.display())]
    File {
        /// Which one.
        what: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no certificate where one should be.
    #[error("{0} holds no certificate")]
    Empty(&'static str),
    /// rustls does not take the certificates.
    #[error("the certificates cannot be used: {0}")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server's name, or the one that was configured for it, is none.
    #[error("{0:?} cannot be the name in a certificate")]
    BadName(String),
    /// The two sides did not agree.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[source] std::io::Error),
}

#[cfg(feature = "__tls")]
mod with {
    use std::sync::{Arc, Mutex, PoisonError};

    use bytes::Bytes;
    use http::uri::Authority;
    use rustls::pki_types::pem::{Error as PemError, PemObject};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, crypto};
    use tikv_client_core::config::{self, Pem};

    use super::TlsError;

    const AUTHORITIES: &str = "the authorities' PEM";
    const CHAIN: &str = "the client certificate's PEM";
    const KEY: &str = "the client's private key";

    /// Makes what TLS handshakes need. The last configuration is kept: reconnects then resume their sessions.
    #[derive(Debug, Default)]
    pub struct Tls {
        last: Mutex<Option<Last>>,
    }

    /// What was last asked for, what its files held, and what came of it.
    #[derive(Debug)]
    struct Last {
        wanted: config::Tls,
        material: Material,
        config: Arc<ClientConfig>,
    }

    /// PEM, whose bytes a `Debug` never shows.
    #[derive(PartialEq, Eq)]
    struct Material {
        ca: Bytes,
        identity: Option<(Bytes, Bytes)>,
    }

    impl std::fmt::Debug for Material {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Material").finish_non_exhaustive()
        }
    }

    impl Material {
        /// Reads what is in files: it blocks the thread.
        fn read(wanted: &config::Tls) -> Result<Self, TlsError> {
            let identity = match &wanted.identity {
                None => None,
                Some((chain, key)) => Some((read(CHAIN, chain)?, read(KEY, key)?)),
            };
            Ok(Self { ca: read(AUTHORITIES, &wanted.ca)?, identity })
        }
    }

    fn read(what: &'static str, pem: &Pem) -> Result<Bytes, TlsError> {
        match pem {
            Pem::Memory(pem) => Ok(pem.clone()),
            Pem::File(path) => std::fs::read(path).map(Bytes::from).map_err(|source| TlsError::File {
                what,
                path: path.clone(),
                source,
            }),
            _ => Err(TlsError::Empty(what)),
        }
    }

    /// What a handshake needs: how, and the name that the server's certificate must have.
    pub type Prepared = (Arc<ClientConfig>, ServerName<'static>);

    impl Tls {
        /// Whether preparing reads files, which blocks the thread.
        #[must_use]
        pub fn blocks(wanted: &config::Tls) -> bool {
            let file = |pem: &Pem| matches!(pem, Pem::File(_));
            file(&wanted.ca) || wanted.identity.as_ref().is_some_and(|(chain, key)| file(chain) || file(key))
        }

        /// What a handshake with the server at `to` (`host:port`) needs.
        ///
        /// # Errors
        /// Certificates or a name that cannot be used.
        pub fn prepare(&self, to: &str, wanted: &config::Tls) -> Result<Prepared, TlsError> {
            let config = self.config(wanted)?;
            let bad = |name: &str| TlsError::BadName(name.to_owned());
            let name = match &wanted.server_name {
                Some(name) => name.clone(),
                None => host(&Authority::try_from(to).map_err(|_| bad(to))?).to_owned(),
            };
            ServerName::try_from(name.clone()).map_err(|_| bad(&name)).map(|name| (config, name))
        }

        fn config(&self, wanted: &config::Tls) -> Result<Arc<ClientConfig>, TlsError> {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let before = last.as_ref().filter(|last| last.wanted == *wanted);
            let built = Material::read(wanted).and_then(|material| match before {
                Some(before) if before.material == material => Ok((material, Arc::clone(&before.config))),
                _ => build(&material).map(|config| (material, Arc::new(config))),
            });
            match (built, before) {
                (Ok((material, config)), _) => {
                    *last = Some(Last { wanted: wanted.clone(), material, config: Arc::clone(&config) });
                    Ok(config)
                }
                // In the midst of a rotation: the next connection looks again.
                (Err(_), Some(before)) => Ok(Arc::clone(&before.config)),
                (Err(error), None) => Err(error),
            }
        }
    }

    /// The host of an address, without the brackets of IPv6.
    fn host(authority: &Authority) -> &str {
        let host = authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    fn provider() -> crypto::CryptoProvider {
        #[cfg(feature = "aws-lc")]
        return crypto::aws_lc_rs::default_provider();
        #[cfg(not(feature = "aws-lc"))]
        return crypto::ring::default_provider();
    }

    fn unusable(error: rustls::Error) -> TlsError {
        TlsError::Unusable(Box::new(error))
    }

    fn build(material: &Material) -> Result<ClientConfig, TlsError> {
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(AUTHORITIES, &material.ca)? {
            authorities.add(certificate).map_err(unusable)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(authorities);
        let mut config = match &material.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(CHAIN, chain)?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unreadable(KEY, &error))?;
                builder.with_client_auth_cert(chain, key).map_err(unusable)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable(what, &error))?;
        if found.is_empty() { Err(TlsError::Empty(what)) } else { Ok(found) }
    }

    /// The text never has the PEM itself: it may be a key.
    fn unreadable(what: &'static str, error: &PemError) -> TlsError {
        let why = match error {
            PemError::NoItemsFound => "it is not there".to_owned(),
            PemError::MissingSectionEnd { .. } => "a section does not end".to_owned(),
            PemError::IllegalSectionStart { .. } => "a section begins wrongly".to_owned(),
            PemError::Base64Decode(why) => format!("not base64: {why}"),
            _ => "not PEM".to_owned(),
        };
        TlsError::Unreadable { what, why }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_address_has_its_host_without_port_and_brackets() {
            for (address, wanted) in [("pd:2379", "pd"), ("127.0.0.1:1", "127.0.0.1"), ("[::1]:2379", "::1")]
            {
                assert_eq!(host(&Authority::try_from(address).unwrap()), wanted);
            }
        }
    }
}
