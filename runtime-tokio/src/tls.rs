//! TLS by rustls, from certificates in memory.
//!
//! Only the authorities that the configuration names are trusted: no store of the system's and none that is built in. The
//! cryptography is named at every use (feature `aws-lc`, else `ring`), never taken from the process's default, so that
//! two libraries in one program do not fight over it. Without either feature plain connections work, and asking for TLS
//! is refused.

#[cfg(feature = "__tls")]
pub(crate) use with::Tls;
#[cfg(not(feature = "__tls"))]
pub(crate) use without::Tls;

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[cfg(not(feature = "__tls"))]
    #[error(
        "TLS was asked for, but this program was built without it: turn on the feature `ring` or `aws-lc`"
    )]
    NotBuilt,
    #[cfg(feature = "__tls")]
    #[error("{what} cannot be read: {why}")]
    Unreadable { what: &'static str, why: String },
    #[cfg(feature = "__tls")]
    #[error("{0} holds no certificate")]
    Empty(&'static str),
    #[cfg(feature = "__tls")]
    #[error("the certificates cannot be used: {0}")]
    Unusable(#[source] tokio_rustls::rustls::Error),
    #[cfg(feature = "__tls")]
    #[error("{0:?} cannot be the name in a certificate")]
    BadName(String),
    #[cfg(feature = "__tls")]
    #[error("TLS handshake failed: {0}")]
    Handshake(#[source] std::io::Error),
}

#[cfg(feature = "__tls")]
mod with {
    use std::pin::Pin;
    use std::sync::{Arc, Mutex, PoisonError};

    use tikv_client_core::config;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

    use super::TlsError;
    use crate::channel::Carrier;

    /// Makes TLS connections. The last configuration is kept: reconnects then resume their sessions.
    #[derive(Debug, Default)]
    pub(crate) struct Tls {
        last: Mutex<Option<(config::Tls, Arc<ClientConfig>)>>,
    }

    impl Tls {
        /// Makes `socket`, connected to `host`, a TLS connection.
        pub(crate) async fn secure(
            &self,
            socket: TcpStream,
            host: &str,
            wanted: &config::Tls,
        ) -> Result<Pin<Box<dyn Carrier>>, TlsError> {
            let name = wanted.server_name.as_deref().unwrap_or(host);
            let name =
                ServerName::try_from(name.to_owned()).map_err(|_| TlsError::BadName(name.to_owned()))?;
            let connector = TlsConnector::from(self.config(wanted)?);
            Ok(Box::pin(connector.connect(name, socket).await.map_err(TlsError::Handshake)?))
        }

        fn config(&self, wanted: &config::Tls) -> Result<Arc<ClientConfig>, TlsError> {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((of, config)) = &*last
                && of == wanted
            {
                return Ok(Arc::clone(config));
            }
            let config = Arc::new(build(wanted)?);
            *last = Some((wanted.clone(), Arc::clone(&config)));
            Ok(config)
        }
    }

    fn provider() -> crypto::CryptoProvider {
        #[cfg(feature = "aws-lc")]
        return crypto::aws_lc_rs::default_provider();
        #[cfg(not(feature = "aws-lc"))]
        return crypto::ring::default_provider();
    }

    fn build(wanted: &config::Tls) -> Result<ClientConfig, TlsError> {
        let mut authorities = RootCertStore::empty();
        for certificate in certificates("the authorities' PEM", &wanted.ca)? {
            authorities.add(certificate).map_err(TlsError::Unusable)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_root_certificates(authorities);
        let mut config = match &wanted.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates("the client certificate's PEM", chain)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| unreadable("the client's private key", &error))?;
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Unusable)?
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
}

#[cfg(not(feature = "__tls"))]
mod without {
    use std::pin::Pin;

    use tikv_client_core::config;
    use tokio::net::TcpStream;

    use super::TlsError;
    use crate::channel::Carrier;

    /// Makes no connections.
    #[derive(Debug, Default)]
    pub(crate) struct Tls;

    impl Tls {
        #[allow(clippy::unused_async, reason = "the other build's function waits")]
        pub(crate) async fn secure(
            &self,
            _socket: TcpStream,
            _host: &str,
            _wanted: &config::Tls,
        ) -> Result<Pin<Box<dyn Carrier>>, TlsError> {
            Err(TlsError::NotBuilt)
        }
    }
}
