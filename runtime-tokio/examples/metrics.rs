//! A client whose metrics Prometheus can collect: `cargo run --release --example metrics --features metrics [ADDRESS]`.
//!
//! Serves `/metrics` at the address (`127.0.0.1:9600`), under the names that client-go gives its metrics, while it works on a
//! cluster in memory, or on that of `TIKV_PD`. With `--once` it works for a moment, prints what it would serve, and ends.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tikv_client_tokio as tikv;
use tikv_embedded::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use tikv::client::Client;
use tikv::config::Config;
use tikv::metrics::{Facade, Metric, MetricKind};
use tikv::txn::Transaction;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A sink for the client, and what shows as text what it has taken.
fn prometheus() -> Result<(Facade, PrometheusHandle), Failure> {
    let mut builder = PrometheusBuilder::new();
    for &metric in Metric::ALL {
        if metric.kind() == MetricKind::Histogram {
            builder =
                builder.set_buckets_for_metric(Matcher::Full(metric.name()), &metric.buckets().bounds())?;
        }
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    Ok((Facade::new(recorder), handle))
}

/// Answers each request for `/metrics`, whatever else it says.
async fn serve(listener: TcpListener, handle: PrometheusHandle) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // One that goes away meanwhile is no trouble for the others.
        tokio::spawn(answer(stream, handle.clone()));
    }
}

async fn answer(mut stream: TcpStream, handle: PrometheusHandle) -> std::io::Result<()> {
    let mut head = vec![0; 4096];
    let mut len = 0;
    while !head[..len].ends_with(b"\r\n\r\n") && len < head.len() {
        match stream.read(&mut head[len..]).await? {
            0 => return Ok(()),
            more => len += more,
        }
    }
    let (status, body) = if head.starts_with(b"GET /metrics ") {
        ("200 OK", handle.render())
    } else {
        ("404 Not Found", String::new())
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Something to be counted.
async fn work(client: &Client) -> Result<(), tikv::error::Error> {
    client.raw().put("metrics/raw", "value").await?;
    client.raw().get("metrics/raw").await?;
    client
        .transact(async |txn: &mut Transaction| -> Result<(), tikv::error::Error> {
            let count = txn.get("metrics/txn").await?.map_or(0, |value| value.len());
            txn.put("metrics/txn", vec![b'*'; count % 64 + 1])?;
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let argument = std::env::args().nth(1);
    let once = argument.as_deref() == Some("--once");
    let (pd, _running) = match std::env::var("TIKV_PD") {
        Ok(pd) => (pd.split(',').map(str::to_owned).collect(), None),
        Err(_) => {
            let cluster = Cluster::builder().stores(3).start().await?;
            (cluster.pd_addresses(), Some(cluster))
        }
    };
    let (facade, handle) = prometheus()?;
    let mut config = Config::default();
    config.metrics = Some(Arc::new(facade));
    let client = tikv::connect(pd, config).await?;
    if once {
        work(&client).await?;
        client.close(Duration::from_secs(5)).await;
        println(&handle.render());
        return Ok(());
    }
    let listener = TcpListener::bind(argument.as_deref().unwrap_or("127.0.0.1:9600")).await?;
    println(&format!("http://{}/metrics", listener.local_addr()?));
    tokio::spawn(serve(listener, handle));
    loop {
        work(&client).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[expect(clippy::print_stdout, reason = "a program tells what it has")]
fn println(text: &str) {
    println!("{text}");
}
