//! The client over TLS, with certificates of both sides that change while it works.
//!
//! [`Rotating`] stands in front of a cluster: each server has a door of TLS, which passes the bytes on and whose certificate can change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::config::{Config, Security, Tls};
use tikv_client_core::types::Key;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::certificates::{Authority, server_config};
use crate::channel::server::Server;
use crate::fixture::{Folder, ONE_EACH, client_with, hasty, in_time};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Doors of TLS in front of servers, and the files of a client that goes through them.
pub(crate) struct Rotating {
    folder: Folder,
    doors: Mutex<BTreeMap<String, Server>>,
    shared: Arc<Shared>,
    /// Who signs for servers, and for clients.
    authorities: Mutex<(Authority, Authority)>,
}

struct Shared {
    config: Mutex<Arc<ServerConfig>>,
    /// Counts connections by the rotation they were made in.
    generation: AtomicUsize,
    made: Mutex<BTreeMap<usize, usize>>,
    /// Changes when all connections are to end.
    cut: watch::Sender<usize>,
}

impl Rotating {
    pub(crate) fn new() -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let config = server_config(&servers.identity("127.0.0.1"), &[&clients]);
        let shared = Shared {
            config: Mutex::new(config),
            generation: AtomicUsize::new(0),
            made: Mutex::default(),
            cut: watch::Sender::new(0),
        };
        let this = Self {
            folder: Folder::new(),
            doors: Mutex::default(),
            shared: Arc::new(shared),
            authorities: Mutex::new((servers, clients)),
        };
        let authorities = this.authorities.lock().unwrap();
        this.write("ca.pem", &authorities.0.pem());
        this.write_identity(&authorities.1);
        drop(authorities);
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.path(name), pem).unwrap();
    }

    fn write_identity(&self, clients: &Authority) {
        let client = clients.identity("client");
        self.write("client.pem", &client.certificate.pem());
        self.write("client-key.pem", &client.key.serialize_pem());
    }

    /// What a client that goes through the doors is configured with.
    pub(crate) fn security(&self) -> Security {
        let identity = (self.path("client.pem"), self.path("client-key.pem"));
        Security::Tls(Tls::new(self.path("ca.pem")).identity(identity.0, identity.1))
    }

    /// The door of the server at `address`.
    pub(crate) fn door(&self, address: &str) -> String {
        let mut doors = self.doors.lock().unwrap();
        let door = doors.entry(address.to_owned()).or_insert_with(|| {
            let (shared, to) = (Arc::clone(&self.shared), address.to_owned());
            Server::new(move |socket| pass(socket, to.clone(), Arc::clone(&shared)))
        });
        door.address.clone()
    }

    /// New authorities for both sides, in the order in which operators do it: trust first, then certificates, then no trust in
    /// the old.
    pub(crate) fn rotate(&self) {
        let mut authorities = self.authorities.lock().unwrap();
        let (servers, clients) = (Authority::new(), Authority::new());
        self.write("ca.pem", &format!("{}{}", authorities.0.pem(), servers.pem()));
        let identity = servers.identity("127.0.0.1");
        *self.shared.config.lock().unwrap() = server_config(&identity, &[&authorities.1, &clients]);
        self.write_identity(&clients);
        self.write("ca.pem", &servers.pem());
        *self.shared.config.lock().unwrap() = server_config(&identity, &[&clients]);
        *authorities = (servers, clients);
        self.shared.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends all connections.
    fn cut(&self) {
        self.shared.cut.send_modify(|count| *count += 1);
    }

    /// Connections that were made in a rotation.
    fn made_in(&self, generation: usize) -> usize {
        self.shared.made.lock().unwrap().get(&generation).copied().unwrap_or(0)
    }
}

async fn pass(socket: TcpStream, to: String, shared: Arc<Shared>) {
    let config = Arc::clone(&shared.config.lock().unwrap());
    let generation = shared.generation.load(Ordering::Relaxed);
    let mut cut = shared.cut.subscribe();
    let Ok(mut inside) = TlsAcceptor::from(config).accept(socket).await else { return };
    let Ok(mut outside) = TcpStream::connect(&*to).await else { return };
    outside.set_nodelay(true).unwrap();
    *shared.made.lock().unwrap().entry(generation).or_default() += 1;
    tokio::select! {
        _ = cut.changed() => {}
        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => {}
    }
}

/// Reads in a loop, all of which must be answered.
async fn read(client: tikv_client_core::client::Client, over: Arc<AtomicBool>) -> usize {
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        for key in ONE_EACH {
            assert_eq!(client.raw().get(key).await.unwrap().unwrap(), key);
        }
        let keys = ONE_EACH.map(Key::from).to_vec();
        assert_eq!(client.raw().batch_get(keys).await.unwrap().len(), ONE_EACH.len());
        count += 1;
    }
    count
}

#[apply(test_on_each_runtime)]
async fn certificates_change_under_load_and_no_request_is_dropped(rt: Rt) {
    let doors = Arc::new(Rotating::new());
    let way = Arc::clone(&doors);
    let mut cluster = rt.raw_cluster();
    cluster.rt = rt.by_way_of(Arc::new(move |address: &str| way.door(address)));
    let mut config = hasty(Duration::from_secs(20));
    config.security = doors.security();
    let client = client_with(&cluster, config).await;
    for key in ONE_EACH {
        in_time(client.raw().put(key, key)).await.unwrap();
    }
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..8).map(|_| rt.spawn(read(client.clone(), Arc::clone(&over)))).collect();
    for generation in 1..=3 {
        doors.rotate();
        // What is connected goes on; what is not is made with the new certificates.
        crate::fixture::sleep(Duration::from_millis(50)).await;
        doors.cut();
        crate::channel::eventually("connections are made anew", || doors.made_in(generation) > 0).await;
    }
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(in_time(reader).await.unwrap() > 0);
    }
    // Writes go over connections that stay.
    for key in ONE_EACH {
        in_time(client.raw().put(key, "new")).await.unwrap();
    }
}

#[apply(test_on_each_runtime)]
async fn fixes_plain_text_to_pd_with_a_ca_alone(rt: Rt) {
    // A CA without a client certificate: client-go then talks plainly to PD, and by TLS to stores.
    let firsts: Arc<Mutex<Vec<u8>>> = Arc::default();
    let seen = Arc::clone(&firsts);
    let pd = Server::new(move |mut socket| {
        let seen = Arc::clone(&seen);
        async move {
            let first = socket.read_u8().await.unwrap();
            seen.lock().unwrap().push(first);
        }
    });
    let mut config: Config = hasty(Duration::from_millis(500));
    config.security = Security::Tls(Tls::new(Authority::new().pem()));
    let error = in_time(rt.connect(vec![pd.address.clone()], config)).await.unwrap_err();
    // RFC 8446: 5.1: a handshake begins with its record's type, 22.
    let firsts = firsts.lock().unwrap();
    assert!(!firsts.is_empty() && firsts.iter().all(|first| *first == 22), "{firsts:?}: {error}");
}
