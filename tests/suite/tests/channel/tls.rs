//! TLS: who is trusted, who has to show what, what is said when that fails, and certificates that change.

use macro_rules_attribute::apply;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tikv_client_core::config::{Security, Tls};
use tikv_client_core::machine::TransportClass::Unreachable;
use tikv_client_core::machine::TransportFault;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::certificates::{Authority, Identity, server_config};
use crate::fixture::Folder;
use crate::runtimes::{Rt, test_on_each_runtime};

use super::server::{Server, echo, grpc};
use super::{NONE, PATH, assert_fault, options};

/// A TLS server with `identity`, which asks for a certificate of `clients` if that is given.
fn serve(identity: &Identity, clients: Option<&Authority>) -> Server {
    serve_as(Arc::new(Mutex::new(server_config(identity, clients.as_slice()))))
}

/// A TLS server whose configuration can be changed: it is that of connections from then on.
fn serve_as(config: Arc<Mutex<Arc<ServerConfig>>>) -> Server {
    let handler = Arc::new(echo);
    Server::new(move |socket| {
        let (acceptor, handler) =
            (TlsAcceptor::from(Arc::clone(&config.lock().unwrap())), Arc::clone(&handler));
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
    assert!(channel.unary(PATH, &NONE, large.clone().into()).await? == large);
    Ok(())
}

async fn refused(rt: &Rt, server: &Server, tls: Tls, text: &str) {
    let fault = call(rt, server, tls).await.unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, text);
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn a_server_of_a_trusted_authority_is_talked_to(rt: Rt) {
    let authority = Authority::new();
    let server = serve(&authority.identity("127.0.0.1"), None);
    call(&rt, &server, Tls::new(authority.pem())).await.unwrap();
    let both = format!("{}{}", Authority::new().pem(), authority.pem());
    call(&rt, &server, Tls::new(both)).await.unwrap();
}

#[apply(test_on_each_runtime)]
async fn a_server_of_another_authority_is_not(rt: Rt) {
    let server = serve(&Authority::new().identity("127.0.0.1"), None);
    let text = "TLS handshake failed: invalid peer certificate: BadSignature";
    let unknown = "TLS handshake failed: invalid peer certificate: UnknownIssuer";
    let fault = call(&rt, &server, Tls::new(Authority::new().pem())).await.unwrap_err();
    let expected = [text, unknown].map(|text| format!("{}: {text}", server.address));
    assert!(expected.iter().any(|text| **text == *fault.detail), "{fault}");
    assert_eq!(fault.class, Unreachable);
}

#[apply(test_on_each_runtime)]
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

#[apply(test_on_each_runtime)]
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

#[apply(test_on_each_runtime)]
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

#[apply(test_on_each_runtime)]
async fn a_plain_server_is_not_talked_to(rt: Rt) {
    let server = Server::grpc(echo);
    let fault = call(&rt, &server, Tls::new(Authority::new().pem())).await.unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.starts_with(&format!("{}: TLS handshake failed: ", server.address)), "{fault}");
}

#[apply(test_on_each_runtime)]
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

/// The files of a client's certificates.
struct Files {
    folder: Folder,
}

impl Files {
    fn new() -> Self {
        Self { folder: Folder::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.path(name), pem).unwrap();
    }

    fn write_identity(&self, identity: &Identity) {
        self.write("client.pem", &identity.certificate.pem());
        self.write("client-key.pem", &identity.key.serialize_pem());
    }

    fn tls(&self) -> Tls {
        Tls::new(self.path("ca.pem")).identity(self.path("client.pem"), self.path("client-key.pem"))
    }
}

#[apply(test_on_each_runtime)]
async fn files_are_read_anew_for_each_connection_and_what_is_connected_stays(rt: Rt) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let config = Arc::new(Mutex::new(server_config(&authority.identity("127.0.0.1"), &[&clients])));
    let server = serve_as(Arc::clone(&config));
    let files = Files::new();
    files.write("ca.pem", &authority.pem());
    files.write_identity(&clients.identity("client"));
    let with_files = options(|options| options.security = Security::Tls(files.tls()));
    let old = rt.try_channel(&server.address, &with_files).await.unwrap();
    assert_eq!(old.unary(PATH, &NONE, "before".into()).await.unwrap(), "before");

    // Both sides get certificates of other authorities.
    let (authority, clients) = (Authority::new(), Authority::new());
    *config.lock().unwrap() = server_config(&authority.identity("127.0.0.1"), &[&clients]);
    assert_eq!(rt.try_channel(&server.address, &with_files).await.unwrap_err().class, Unreachable);
    files.write("ca.pem", &authority.pem());
    files.write_identity(&clients.identity("client"));
    let new = rt.try_channel(&server.address, &with_files).await.unwrap();
    assert_eq!(new.unary(PATH, &NONE, "after".into()).await.unwrap(), "after");
    assert_eq!(old.unary(PATH, &NONE, "still".into()).await.unwrap(), "still");
}

#[apply(test_on_each_runtime)]
async fn a_rotation_that_is_half_done_drops_no_connection(rt: Rt) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = serve(&authority.identity("127.0.0.1"), Some(&clients));
    let files = Files::new();
    files.write("ca.pem", &authority.pem());
    files.write_identity(&clients.identity("client"));
    let with_files = options(|options| options.security = Security::Tls(files.tls()));
    rt.try_channel(&server.address, &with_files).await.unwrap();
    let next = clients.identity("client");
    // The certificate is there and its key is not; then a torn file; then none.
    files.write("client.pem", &next.certificate.pem());
    rt.try_channel(&server.address, &with_files).await.unwrap();
    files.write("client-key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA");
    rt.try_channel(&server.address, &with_files).await.unwrap();
    std::fs::remove_file(files.path("ca.pem")).unwrap();
    rt.try_channel(&server.address, &with_files).await.unwrap();
    files.write("ca.pem", &authority.pem());
    files.write("client-key.pem", &next.key.serialize_pem());
    rt.try_channel(&server.address, &with_files).await.unwrap();
}

#[apply(test_on_each_runtime)]
async fn files_that_cannot_be_read_are_named(rt: Rt) {
    let server = serve(&Authority::new().identity("127.0.0.1"), None);
    let none = Path::new("/no/such/ca.pem");
    let text =
        "the authorities' PEM cannot be read from /no/such/ca.pem: no such file or directory (os error 2)";
    refused(&rt, &server, Tls::new(none), text).await;
}
