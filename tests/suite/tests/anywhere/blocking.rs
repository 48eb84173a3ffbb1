//! A program without an executor: `connect_blocking` and `wait`.

use std::time::{Duration, Instant};

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_client_core::txn::Transaction;
use tikv_client_tokio::Wait;

use super::{Keys, cluster};

type Connect = fn(Vec<String>, Config) -> Result<Client, Error>;

/// Makes a test of its function for each `connect_blocking` there is.
macro_rules! on_each_thread {
    ($(#[$meta:meta])* fn $name:ident($connect:ident: Connect) $body:block) => {
        $(#[$meta])*
        fn $name($connect: Connect) $body

        mod $name {
            #[test]
            fn tokio() {
                super::$name(|pd, config| tikv_client_tokio::connect_blocking(pd, config));
            }

            #[test]
            fn smol() {
                super::$name(|pd, config| tikv_client_smol::connect_blocking(pd, config));
            }
        }
    };
}

#[apply(on_each_thread)]
fn a_plain_program_stores_scans_and_transacts(connect: Connect) {
    let keys = Keys::new();
    let (pd, _running) = cluster(&keys);
    let client = connect(pd, Config::default()).unwrap();

    let raw = client.raw();
    raw.put(keys.raw("a"), "one").wait().unwrap();
    raw.batch_put([(keys.raw("k"), "two"), (keys.raw("z"), "three")]).wait().unwrap();
    assert_eq!(raw.get(keys.raw("k")).deadline(Duration::from_secs(9)).wait().unwrap().unwrap(), "two");
    let found = raw.scan(keys.all_raw(), 10).reverse().wait().unwrap();
    assert_eq!(keys.names(&found), ["z", "k", "a"]);
    raw.delete_range(keys.all_raw()).wait().unwrap();

    let mut txn = client.begin().wait().unwrap();
    assert_eq!(txn.get(keys.txn("a")).wait().unwrap(), None);
    txn.put(keys.txn("a"), "1").unwrap();
    txn.put(keys.txn("z"), "1").unwrap();
    let commit_ts = txn.commit().wait().unwrap().commit_ts;
    let add = async |txn: &mut Transaction| -> Result<(), Error> {
        let before = txn.get(keys.txn("a")).await?.unwrap_or_default();
        txn.put(keys.txn("a"), [&before[..], b"1"].concat())
    };
    let done = client.transact(add).wait().unwrap();
    assert!(done.commit.commit_ts > commit_ts);
    let mut cursor = client.snapshot(commit_ts).scan(keys.all_txn()).batch_size(1).cursor();
    let mut values = Vec::new();
    while let Some(pairs) = cursor.next_batch().wait().unwrap() {
        values.extend(pairs.into_iter().map(|pair| pair.value));
    }
    assert_eq!(values, ["1", "1"]);
    assert_eq!(client.close(Duration::from_secs(9)).wait(), 0);
}

#[apply(on_each_thread)]
fn threads_of_a_program_share_a_client(connect: Connect) {
    let keys = Keys::new();
    let (pd, _running) = cluster(&keys);
    let client = connect(pd, Config::default()).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (raw, key) = (client.raw(), keys.raw(&number.to_string()));
            scope.spawn(move || {
                for round in 0..20 {
                    raw.put(&key, round.to_string()).wait().unwrap();
                    assert_eq!(raw.get(&key).wait().unwrap().unwrap(), round.to_string());
                }
            });
        }
    });
    client.raw().delete_range(keys.all_raw()).wait().unwrap();
}

#[apply(on_each_thread)]
fn parts_of_a_client_can_be_dropped_in_any_order(connect: Connect) {
    let keys = Keys::new();
    let (pd, running) = cluster(&keys);
    for order in 0..4 {
        let client = connect(pd.clone(), Config::default()).unwrap();
        let raw = client.raw();
        let mut txn = client.begin().wait().unwrap();
        txn.put(keys.txn("a"), "never").unwrap();
        let snapshot = client.snapshot(client.current_timestamp().wait().unwrap());
        let call = raw.get(keys.raw("a"));
        match order {
            0 => drop((client, raw, txn, snapshot, call)),
            1 => drop((call, snapshot, txn, raw, client)),
            // What is left of a client still works, and ends it when it goes.
            2 => {
                drop((client, txn, snapshot, raw));
                assert_eq!(call.wait().unwrap(), None);
            }
            _ => {
                drop((client, raw, call));
                assert_eq!(txn.get(keys.txn("a")).wait().unwrap().unwrap(), "never");
                assert_eq!(snapshot.get(keys.txn("a")).wait().unwrap(), None);
            }
        }
    }
    drop(running);
}

#[apply(on_each_thread)]
fn where_no_pd_is_the_error_says_so_in_time(connect: Connect) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut config = Config::default();
    config.connect_timeout = Duration::from_millis(100);
    let began = Instant::now();
    let error = connect(vec![address.clone()], config).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&address), "{error}");
}
