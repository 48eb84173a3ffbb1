//! What is smol's own: its executors, global and given. The rest of what runtimes promise is in `tests/suite`.

use std::sync::Arc;

use smol::Executor;
use tikv_client_smol::client::{Client, ConnectOptions, Runtime};
use tikv_client_smol::config::{Config, Security, Tls};
use tikv_client_smol::error::Error;
use tikv_client_smol::machine::{Interrupt, TransportClass};
use tikv_client_smol::{Smol, Wait};
use tikv_embedded::Cluster;

#[test]
fn a_client_of_the_global_executor_reads_what_it_wrote() {
    let cluster = Cluster::builder().stores(3).regions(4).start().wait().unwrap();
    smol::block_on(async {
        let client = tikv_client_smol::connect(cluster.pd_addresses(), Config::default()).await.unwrap();
        let raw = client.raw();
        for key in 0..=255_u8 {
            raw.put(vec![key], vec![key; 3]).await.unwrap();
        }
        for key in 0..=255_u8 {
            assert_eq!(raw.get(vec![key]).await.unwrap().unwrap(), vec![key; 3]);
        }
    });
}

#[test]
fn a_client_ends_with_the_executor_it_was_given() {
    let cluster = Cluster::builder().start().wait().unwrap();
    let executor = Arc::new(Executor::new());
    let client = smol::block_on(executor.run(async {
        let runtime = Arc::new(Smol::new(&executor));
        let client = Client::connect(runtime, &cluster.pd_addresses(), Config::default()).await.unwrap();
        client.raw().put("key", "value").await.unwrap();
        client
    }));
    assert!(!executor.is_empty());
    // The client does not keep it alive.
    assert_eq!(Arc::strong_count(&executor), 1);
    drop(executor);
    let error = client.raw().get("key").wait().unwrap_err();
    assert!(matches!(error, Error::Interrupted { why: Interrupt::Closed, .. }), "{error}");
}

#[test]
fn the_tasks_of_a_client_end_with_it() {
    let cluster = Cluster::builder().stores(3).start().wait().unwrap();
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let runtime = Arc::new(Smol::new(&executor));
        let client = Client::connect(runtime, &cluster.pd_addresses(), Config::default()).await.unwrap();
        client.raw().put("key", "value").await.unwrap();
        drop(client);
        while !executor.is_empty() {
            smol::future::yield_now().await;
        }
    }));
}

/// TLS is asked for at a server that takes connections; what is there behind that depends on how this was built.
#[test]
fn a_build_without_cryptography_refuses_tls_and_says_what_to_turn_on() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut options = ConnectOptions::default();
    options.security = Security::Tls(Tls::new(""));
    let fault = Smol::global().connect(Arc::from(&*address), &options).wait().unwrap_err();
    let text = if cfg!(feature = "__tls") {
        "the authorities' PEM holds no certificate"
    } else {
        "TLS was asked for, but this program was built without it: turn on the feature `ring` or `aws-lc`"
    };
    assert_eq!((fault.class, &*fault.detail), (TransportClass::Unreachable, &*format!("{address}: {text}")));
}
