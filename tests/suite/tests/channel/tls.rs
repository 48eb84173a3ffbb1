//! TLS: who is trusted, who has to show what, and what is said when that fails.

use macro_rules_attribute::apply;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tikv_client_core::config::{Security, Tls};
use tikv_client_core::machine::TransportClass::Unreachable;
use tikv_client_core::machine::TransportFault;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use crate::runtimes::{Rt, on_each_runtime};

use super::server::{Server, echo, grpc};
use super::{PATH, assert_fault, options};

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
    Arc::new(crypto::ring::default_provider())
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

async fn call(rt: &Rt, server: &Server, tls: Tls) -> Result<(), TransportFault> {
    let options = options(|options| options.security = Security::Tls(tls));
    let channel = rt.try_channel(&server.address, &options).await?;
    let large = vec![7; 1 << 20];
    assert!(channel.unary(PATH, large.clone().into()).await? == large);
    Ok(())
}

async fn refused(rt: &Rt, server: &Server, tls: Tls, text: &str) {
    let fault = call(rt, server, tls).await.unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, text);
    rt.no_tasks().await;
}

#[apply(on_each_runtime)]
async fn a_server_of_a_trusted_authority_is_talked_to(rt: Rt) {
    let authority = Authority::new();
    let server = serve(&authority.identity("127.0.0.1"), None);
    call(&rt, &server, Tls::new(authority.pem())).await.unwrap();
    let both = format!("{}{}", Authority::new().pem(), authority.pem());
    call(&rt, &server, Tls::new(both)).await.unwrap();
}

#[apply(on_each_runtime)]
async fn a_server_of_another_authority_is_not(rt: Rt) {
    let server = serve(&Authority::new().identity("127.0.0.1"), None);
    let text = "TLS handshake failed: invalid peer certificate: BadSignature";
    let unknown = "TLS handshake failed: invalid peer certificate: UnknownIssuer";
    let fault = call(&rt, &server, Tls::new(Authority::new().pem())).await.unwrap_err();
    let expected = [text, unknown].map(|text| format!("{}: {text}", server.address));
    assert!(expected.iter().any(|text| **text == *fault.detail), "{fault}");
    assert_eq!(fault.class, Unreachable);
}

#[apply(on_each_runtime)]
async fn the_server_must_have_the_name_it_is_called_by(rt: Rt) {
    let authority = Authority::new();
    let server = serve(&authority.identity("tikv.example"), None);
    let fault = call(&rt, &server, Tls::new(authority.pem())).await.unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.contains("certificate not valid for name \"127.0.0.1\""), "{fault}");
    call(&rt, &server, Tls::new(authority.pem()).server_name("tikv.example")).await.unwrap();
    let mut localhost = serve(&authority.identity("localhost"), None);
    localhost.address = localhost.address.replace("127.0.0.1", "localhost");
    call(&rt, &localhost, Tls::new(authority.pem())).await.unwrap();
}

#[apply(on_each_runtime)]
async fn a_server_may_ask_for_a_certificate(rt: Rt) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = serve(&authority.identity("127.0.0.1"), Some(&clients));
    let fault = call(&rt, &server, Tls::new(authority.pem())).await.unwrap_err();
    assert_eq!(fault.class, Unreachable, "{fault}");
    assert!(fault.detail.contains("CertificateRequired"), "{fault}");
    let client = clients.identity("client");
    let shown = |identity: &Identity| {
        Tls::new(authority.pem()).identity(identity.certificate.pem(), identity.key.serialize_pem())
    };
    call(&rt, &server, shown(&client)).await.unwrap();
    let stranger = Authority::new().identity("client");
    assert_eq!(call(&rt, &server, shown(&stranger)).await.unwrap_err().class, Unreachable);
}

#[apply(on_each_runtime)]
async fn certificates_that_cannot_be_used_are_told(rt: Rt) {
    let authority = Authority::new();
    let server = serve(&authority.identity("127.0.0.1"), None);
    let (one, other) = (authority.identity("one"), authority.identity("other"));
    refused(&rt, &server, Tls::new(""), "the authorities' PEM holds no certificate").await;
    refused(&rt, &server, Tls::new("no PEM"), "the authorities' PEM holds no certificate").await;
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    refused(&rt, &server, Tls::new(cut), "the authorities' PEM cannot be read: a section does not end").await;
    let trusting = || Tls::new(authority.pem());
    let no_chain = trusting().identity("", one.key.serialize_pem());
    refused(&rt, &server, no_chain, "the client certificate's PEM holds no certificate").await;
    let no_key = trusting().identity(one.certificate.pem(), "");
    refused(&rt, &server, no_key, "the client's private key cannot be read: it is not there").await;
    let wrong_key = trusting().identity(one.certificate.pem(), other.key.serialize_pem());
    let fault = call(&rt, &server, wrong_key).await.unwrap_err();
    assert!(fault.detail.contains("the certificates cannot be used: "), "{fault}");
    let name = trusting().server_name("not a name");
    refused(&rt, &server, name, "\"not a name\" cannot be the name in a certificate").await;
}

#[apply(on_each_runtime)]
async fn a_plain_server_is_not_talked_to(rt: Rt) {
    let server = Server::grpc(echo);
    let fault = call(&rt, &server, Tls::new(Authority::new().pem())).await.unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.starts_with(&format!("{}: TLS handshake failed: ", server.address)), "{fault}");
}

#[apply(on_each_runtime)]
async fn a_handshake_that_is_not_answered_ends_in_time(rt: Rt) {
    let server = Server::new(|mut socket| async move {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap_or_default();
    });
    let options = options(|options| {
        options.timeout = Duration::from_millis(30);
        options.security = Security::Tls(Tls::new(Authority::new().pem()));
    });
    let fault = rt.try_channel(&server.address, &options).await.unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, "not connected within 30ms");
    rt.no_tasks().await;
}
