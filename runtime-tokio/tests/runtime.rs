//! What is tokio's own: its handles, its drivers, its clock. The rest of what runtimes promise is in `tests/suite`.

use std::sync::Arc;
use std::time::Duration;

use tikv_client_tokio::client::{Clock, ConnectOptions, Runtime};
use tikv_client_tokio::config::{Security, Tls};
use tikv_client_tokio::machine::TransportClass::Unreachable;
use tikv_client_tokio::{NoRuntime, Tokio, Wait};

#[test]
fn outside_of_a_runtime_there_is_none() {
    let none: NoRuntime = Tokio::current().unwrap_err();
    assert!(none.to_string().starts_with("no tokio runtime"), "{none}");
}

#[test]
fn a_runtime_without_io_is_told() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let runtime = Tokio::new(tokio.handle().clone());
    let fault = runtime.connect(Arc::from("127.0.0.1:1"), &ConnectOptions::default()).wait().unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.starts_with("127.0.0.1:1: A Tokio 1.x context was found, but"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_stops_both_now_and_sleeps() {
    let runtime = Tokio::current().unwrap();
    let hour = Duration::from_secs(3600);
    let (before, began) = (runtime.now(), std::time::Instant::now());
    runtime.sleep_until(before + hour).await;
    assert!(runtime.now().since(before) >= hour);
    assert!(began.elapsed() < hour / 10);
}

/// TLS is asked for at a server that takes connections; what is there behind that depends on how this was built.
#[tokio::test]
async fn a_build_without_cryptography_refuses_tls_and_says_what_to_turn_on() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut options = ConnectOptions::default();
    options.security = Security::Tls(Tls::new(""));
    let runtime = Tokio::current().unwrap();
    let fault = runtime.connect(Arc::from(&*address), &options).await.unwrap_err();
    let text = if cfg!(feature = "__tls") {
        "the authorities' PEM holds no certificate"
    } else {
        "TLS was asked for, but this program was built without it: turn on the feature `ring` or `aws-lc`"
    };
    assert_eq!((fault.class, &*fault.detail), (Unreachable, &*format!("{address}: {text}")));
}
