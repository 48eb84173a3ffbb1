//! The thread that `connect_blocking` starts ends with the client. In a process of its own, whose threads it counts; on Linux,
//! where they can be counted.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test, and what helps it, panics to fail")]

use std::time::{Duration, Instant};

use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_client_core::error::Error;
use tikv_client_tokio::Wait;
use tikv_embedded::Cluster;

type Connect = fn(Vec<String>, Config) -> Result<Client, Error>;

const BOTH: [Connect; 2] = [
    |pd, config| tikv_client_tokio::connect_blocking(pd, config),
    |pd, config| tikv_client_smol::connect_blocking(pd, config),
];

/// How many threads of clients this process has, by their name.
fn client_threads() -> usize {
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter_map(|task| name(task).ok()).filter(|name| name.trim() == "tikv-client").count()
}

fn soon(threads: usize) {
    let end = Instant::now() + Duration::from_secs(20);
    while client_threads() != threads {
        assert!(Instant::now() < end, "{} threads of clients, not {threads}", client_threads());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One test, for all that it does would show in the others' counts.
#[test]
fn a_client_s_thread_ends_with_its_last_part_and_not_before() {
    for connect in BOTH {
        let cluster = Cluster::builder().stores(3).start().wait().unwrap();
        soon(0);
        let client = connect(cluster.pd_addresses(), Config::default()).unwrap();
        client.raw().put("key", "value").wait().unwrap();
        assert_eq!(client_threads(), 1);
        let call = client.raw().get("key");
        drop(client);
        assert_eq!(client_threads(), 1, "a call keeps it");
        assert_eq!(call.wait().unwrap().unwrap(), "value");
        soon(0);

        let client = connect(cluster.pd_addresses(), Config::default()).unwrap();
        client.raw().put("key", "value").wait().unwrap();
        client.close(Duration::from_secs(9)).wait();
        soon(0);

        // Where there is no client, there is no thread.
        let mut config = Config::default();
        config.connect_timeout = Duration::from_millis(50);
        cluster.stop();
        connect(cluster.pd_addresses(), config).unwrap_err();
        soon(0);
    }
}
