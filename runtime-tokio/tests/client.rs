//! A client on tokio as a whole, against the embedded cluster: it works, and it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tikv_client_tokio::Tokio;
use tikv_client_tokio::client::Client;
use tikv_client_tokio::config::Config;
use tikv_client_tokio::error::{Error, ErrorKind};
use tikv_client_tokio::machine::Interrupt;
use tikv_embedded::Cluster;

fn config() -> Config {
    let mut config = Config::default();
    config.connect_timeout = Duration::from_millis(100);
    config
}

/// Waits until no task of this runtime is left (a test's own body is not counted as one).
async fn no_tasks() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let end = Instant::now() + Duration::from_secs(20);
    while metrics.num_alive_tasks() > 0 {
        assert!(Instant::now() < end, "{} tasks are left", metrics.num_alive_tasks());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_client_reads_what_it_wrote_and_ends_with_all_its_tasks() {
    let cluster = Cluster::builder().stores(3).regions(4).start().wait().unwrap();
    let client = tikv_client_tokio::connect(cluster.pd_addresses(), Config::default()).await.unwrap();
    let raw = client.raw();
    for key in 0..=255_u8 {
        raw.put(vec![key], vec![key; 3]).await.unwrap();
    }
    for key in 0..=255_u8 {
        assert_eq!(raw.get(vec![key]).await.unwrap().unwrap(), vec![key; 3]);
    }
    assert_eq!(raw.get("nothing").await.unwrap(), None);
    drop((raw, client));
    no_tasks().await;
}

#[tokio::test]
async fn a_store_that_went_away_and_came_back_is_found_again() {
    let cluster = Cluster::builder().stores(1).start().wait().unwrap();
    let client = tikv_client_tokio::connect(cluster.pd_addresses(), Config::default()).await.unwrap();
    let raw = client.raw();
    raw.put("key", "value").await.unwrap();
    let store = cluster.leader_of(cluster.region_of_raw("key").unwrap()).unwrap();
    cluster.stop_store(store).unwrap();
    let reading = tokio::spawn({
        let raw = client.raw();
        async move { raw.get("key").await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    cluster.restart_store(store).unwrap();
    assert_eq!(reading.await.unwrap().unwrap().unwrap(), "value");
}

#[test]
fn calls_can_be_awaited_on_another_executor() {
    let cluster = Cluster::builder().start().wait().unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let runtime = Arc::new(Tokio::new(tokio.handle().clone()));
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // This runtime has neither time nor I/O: the client needs none of it.
    let client = other.block_on(async {
        let client = Client::connect(runtime, &cluster.pd_addresses(), Config::default()).await.unwrap();
        client.raw().put("key", "value").await.unwrap();
        assert_eq!(client.raw().get("key").await.unwrap().unwrap(), "value");
        client
    });
    drop(tokio);
    let error = other.block_on(client.raw().get("key").into_future()).unwrap_err();
    assert!(matches!(error, Error::Interrupted { why: Interrupt::Closed, .. }), "{error}");
}

#[tokio::test]
async fn without_pd_there_is_no_client_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let began = Instant::now();
    let error = tikv_client_tokio::connect([&address], config()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(format!("{error:?}").contains("connection refused"), "{error:?}");
    no_tasks().await;
}

#[tokio::test]
async fn connecting_can_be_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connecting = tikv_client_tokio::connect([address], Config::default());
    assert!(tokio::time::timeout(Duration::from_millis(20), connecting).await.is_err());
    no_tasks().await;
}

#[test]
fn outside_of_a_runtime_connecting_is_refused() {
    let mut connecting = std::pin::pin!(tikv_client_tokio::connect(["127.0.0.1:1"], config()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = connecting.as_mut().poll(&mut cx) else {
        panic!("it is refused at once");
    };
    assert!(matches!(&error, Error::Transport { fault, .. } if fault.detail.starts_with("no tokio runtime")));
}
