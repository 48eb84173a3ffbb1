//! TLS: who is trusted, who has to show what, and what is said when that fails.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tikv_client_tokio::config::{Security, Tls};
use tikv_client_tokio::machine::TransportClass::Unreachable;
use tikv_client_tokio::machine::TransportFault;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use super::server::{Server, echo, grpc};
use super::{PATH, assert_fault, no_tasks, options, try_connect};

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Identity { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }
}

fn provider() -> Arc<crypto::CryptoProvider> {
    #[cfg(feature = "aws-lc")]
    return Arc::new(crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "aws-lc"))]
    return Arc::new(crypto::ring::default_provider());
}

/// A TLS server with `identity`, which asks for a certificate of `clients` if that is given.
fn serve(identity: &Identity, clients: Option<&Authority>) -> Server {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.0.as_ref().der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let mut config = builder.with_single_cert(vec![identity.certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let handler = Arc::new(echo);
    Server::new(move |socket| {
        let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
        async move {
            if let Ok(socket) = acceptor.accept(socket).await {
                grpc(socket, handler).await;
            }
        }
    })
}

async fn call(server: &Server, tls: Tls) -> Result<(), TransportFault> {
    let options = options(|options| options.security = Security::Tls(tls));
    let channel = try_connect(&server.address, &options).await?;
    let large = vec![7; 1 << 20];
    assert!(channel.unary(PATH, large.clone().into()).await? == large);
    Ok(())
}

async fn refused(server: &Server, tls: Tls, text: &str) {
    let fault = call(server, tls).await.unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, text);
    no_tasks().await;
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_talked_to() {
    let authority = Authority::new();
    let server = serve(&authority.identity("127.0.0.1"), None);
    call(&server, Tls::new(authority.pem())).await.unwrap();
    let both = format!("{}{}", Authority::new().pem(), authority.pem());
    call(&server, Tls::new(both)).await.unwrap();
}

#[tokio::test]
async fn a_server_of_another_authority_is_not() {
    let server = serve(&Authority::new().identity("127.0.0.1"), None);
    let text = "TLS handshake failed: invalid peer certificate: BadSignature";
    let unknown = "TLS handshake failed: invalid peer certificate: UnknownIssuer";
    let fault = call(&server, Tls::new(Authority::new().pem())).await.unwrap_err();
    let expected = [text, unknown].map(|text| format!("{}: {text}", server.address));
    assert!(expected.iter().any(|text| **text == *fault.detail), "{fault}");
    assert_eq!(fault.class, Unreachable);
}

#[tokio::test]
async fn the_server_must_have_the_name_it_is_called_by() {
    let authority = Authority::new();
    let server = serve(&authority.identity("tikv.example"), None);
    let fault = call(&server, Tls::new(authority.pem())).await.unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.contains("certificate not valid for name \"127.0.0.1\""), "{fault}");
    call(&server, Tls::new(authority.pem()).server_name("tikv.example")).await.unwrap();
    let mut localhost = serve(&authority.identity("localhost"), None);
    localhost.address = localhost.address.replace("127.0.0.1", "localhost");
    call(&localhost, Tls::new(authority.pem())).await.unwrap();
}

#[tokio::test]
async fn a_server_may_ask_for_a_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = serve(&authority.identity("127.0.0.1"), Some(&clients));
    let fault = call(&server, Tls::new(authority.pem())).await.unwrap_err();
    assert_eq!(fault.class, Unreachable, "{fault}");
    assert!(fault.detail.contains("CertificateRequired"), "{fault}");
    let client = clients.identity("client");
    let shown = |identity: &Identity| {
        Tls::new(authority.pem()).identity(identity.certificate.pem(), identity.key.serialize_pem())
    };
    call(&server, shown(&client)).await.unwrap();
    let stranger = Authority::new().identity("client");
    assert_eq!(call(&server, shown(&stranger)).await.unwrap_err().class, Unreachable);
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_told() {
    let authority = Authority::new();
    let server = serve(&authority.identity("127.0.0.1"), None);
    let (one, other) = (authority.identity("one"), authority.identity("other"));
    refused(&server, Tls::new(""), "the authorities' PEM holds no certificate").await;
    refused(&server, Tls::new("no PEM"), "the authorities' PEM holds no certificate").await;
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    refused(&server, Tls::new(cut), "the authorities' PEM cannot be read: a section does not end").await;
    let trusting = || Tls::new(authority.pem());
    let no_chain = trusting().identity("", one.key.serialize_pem());
    refused(&server, no_chain, "the client certificate's PEM holds no certificate").await;
    let no_key = trusting().identity(one.certificate.pem(), "");
    refused(&server, no_key, "the client's private key cannot be read: it is not there").await;
    let wrong_key = trusting().identity(one.certificate.pem(), other.key.serialize_pem());
    let fault = call(&server, wrong_key).await.unwrap_err();
    assert!(fault.detail.contains("the certificates cannot be used: "), "{fault}");
    let name = trusting().server_name("not a name");
    refused(&server, name, "\"not a name\" cannot be the name in a certificate").await;
}

#[tokio::test]
async fn a_plain_server_is_not_talked_to() {
    let server = Server::grpc(echo);
    let fault = call(&server, Tls::new(Authority::new().pem())).await.unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.starts_with(&format!("{}: TLS handshake failed: ", server.address)), "{fault}");
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_ends_in_time() {
    let server = Server::new(|mut socket| async move {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap_or_default();
    });
    let options = options(|options| {
        options.timeout = Duration::from_millis(30);
        options.security = Security::Tls(Tls::new(Authority::new().pem()));
    });
    let fault = try_connect(&server.address, &options).await.unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, "not connected within 30ms");
    no_tasks().await;
}
