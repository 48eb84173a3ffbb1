//! The table of options, what is wrong with values, and the ways in.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

#[test]
fn every_option_has_a_default_and_says_what_it_is() {
    let mut table = String::new();
    for option in Config::options() {
        let value = option.value(&Config::default()).unwrap_or_else(|| "-".to_owned());
        let end = if option.secret { " (secret)" } else { "" };
        writeln!(table, "{} = {value}: {}{end}", option.name, option.about).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn names_are_there_once_also_in_the_environment() {
    let mut names: Vec<String> = Config::options().map(ConfigOption::env_name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// What [`every_option_has_a_default_and_says_what_it_is`] shows of a configuration, as one text.
fn shown(config: &Config) -> Vec<Option<String>> {
    Config::options().map(|option| option.value(config)).collect()
}

#[test]
fn defaults_are_valid() {
    assert_eq!(Config::default().validate(), Ok(()));
    assert_eq!(shown(&Config::builder().build().unwrap()), shown(&Config::default()));
}

// client-go: config/config_test.go: TestValidateGRPCKeepAliveTimeout; config/client.go, config/config.go: Valid.
#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut config = Config { deadline: Duration::ZERO, ..Config::default() };
    config.connect_timeout = Duration::ZERO;
    config.pd_timeout = Duration::ZERO;
    config.region_ttl = Duration::ZERO;
    config.max_waiting = 0;
    config.concurrency = 0;
    config.max_entry = 0;
    config.max_key = 4;
    config.max_txn = 0;
    config.api_version = ApiVersion::V2 { keyspace: String::new() };
    config.connection.timeout = Duration::ZERO;
    config.connection.keepalive_interval = Duration::ZERO;
    config.connection.keepalive_timeout = Duration::from_micros(49_999);
    config.connection.window = 1 << 31;
    config.connection.max_message = 0;
    config.connection.security = Security::Tls(Tls::new("ca"));
    config.stream.max_in_flight = 0;
    config.stream.connections = 0;
    config.stores.probe_every = Duration::ZERO;
    config.stream.max_frame_bytes = 0;
    config.stream.max_queued = 0;
    config.stream.reconnect_base = Duration::from_secs(3);
    config.security = Security::Tls(Tls::new("").identity("certificate", ""));
    let error = config.validate().unwrap_err();
    let lines: Vec<String> = error.faults.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(error.to_string(), format!("configuration: {}", lines.join("; ")));
    // The least that is allowed.
    config.connection.keepalive_timeout = Duration::from_millis(50);
    assert_eq!(config.validate().unwrap_err().faults.len(), lines.len() - 1);
}

#[test]
fn texts_that_cannot_be_read_are_told_with_what_they_should_be() {
    let table = [
        ("deadline", "40"),
        ("deadline", "soon"),
        ("concurrency", "-1"),
        ("backoff.weight", "4294967296"),
        ("backoff.lock-fast-ms", ""),
        ("max-entry", "6MB"),
        ("connection.window", "4GiB"),
        ("max-txn", "99999999999GiB"),
        ("redact-keys", "yes"),
        ("connection.compression", "lz4"),
        ("seed", "any"),
        ("nothing", "of that"),
        ("stream.nothing", "either"),
    ];
    let builder = table.iter().fold(Config::builder(), |builder, (name, text)| builder.option(name, text));
    let lines: Vec<String> = builder.build().unwrap_err().faults.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_comes_later_counts() {
    let config = Config::builder()
        .option("pd-timeout", "1s")
        .option("max-txn", "1GiB")
        .env([("TIKV_CLIENT_PD_TIMEOUT", "2s"), ("PD_TIMEOUT", "9s"), ("TIKV_CLIENT_STREAM_MAX_BATCH", "7")])
        .with(|config| config.max_key = 100)
        .option("max-key", "200")
        .option("keyspace", "mine")
        .build()
        .unwrap();
    assert_eq!((config.pd_timeout, config.max_txn), (Duration::from_secs(2), 1 << 30));
    assert_eq!((config.stream.max_batch, config.max_key), (7, 200));
    assert_eq!(config.api_version, ApiVersion::V2 { keyspace: "mine".to_owned() });
    let config = config.into_builder().option("pd-timeout", "4s").build().unwrap();
    assert_eq!((config.pd_timeout, config.max_key), (Duration::from_secs(4), 200));
}

#[test]
fn an_environment_tells_what_it_has_wrong_by_its_own_names() {
    let error = Config::builder()
        .env([("TIKV_CLIENT_DEADLINE", "x"), ("TIKV_CLIENT_DEADLIN", "1s"), ("DEADLINE", "x")])
        .build()
        .unwrap_err();
    let names: Vec<&str> = error.faults.iter().map(|fault| &*fault.option).collect();
    assert_eq!(names, ["TIKV_CLIENT_DEADLINE", "TIKV_CLIENT_DEADLIN"]);
}

#[test]
fn certificates_and_keys_are_never_shown() {
    let config = Config::builder()
        .option("security.ca", "SECRET CA")
        .option("security.certificate", "SECRET CERTIFICATE")
        .option("security.key", "SECRET KEY")
        .option("security.server-name", "tikv")
        .build()
        .unwrap();
    let tls = Tls::new("SECRET CA").identity("SECRET CERTIFICATE", "SECRET KEY").server_name("tikv");
    assert_eq!(config.security, Security::Tls(tls));
    assert!(!format!("{config:?} {:?}", shown(&config)).contains("SECRET"));
    // Where they are may be seen.
    let config = config.into_builder().option("security.key-file", "/tls/key.pem").build().unwrap();
    let Security::Tls(Tls { identity: Some((_, key)), .. }) = &config.security else { panic!("{config:?}") };
    assert_eq!(*key, Pem::from(Path::new("/tls/key.pem")));
    assert!(shown(&config).contains(&Some("/tls/key.pem".to_owned())));
}

// client-go: config/config_test.go: TestParsePath.
#[test]
fn an_address_has_the_cluster_and_its_options() {
    let parse = |text: &str| text.parse::<Dsn>();
    let dsn = parse("tikv://node1:2379,node2:2379").unwrap();
    assert_eq!(dsn.endpoints, ["node1:2379", "node2:2379"]);
    assert!(!dsn.disable_gc);
    assert_eq!(shown(&dsn.config), shown(&Config::default()));
    let dsn =
        parse("TIKV://node1:2379/?cluster=1&disableGC=True&keyspaceName=DEFAULT&deadline=1m%2030s").unwrap();
    assert!(dsn.disable_gc);
    assert_eq!(dsn.config.api_version, ApiVersion::V2 { keyspace: "DEFAULT".to_owned() });
    assert_eq!(dsn.config.deadline, Duration::from_secs(90));
    assert!(!parse("tikv://node1:2379?disableGC=FALSE&").unwrap().disable_gc);
    assert_eq!(parse("tikv://[::1]:2379").unwrap().endpoints, ["[::1]:2379"]);
    let wrong = [
        "mocktikv://node1:2379",
        "node1:2379",
        "tikv://",
        "tikv://node1:2379/db?disableGC=1",
        "tikv://node1:2379?deadline=x&deadline=1s&none=1&max-key=0",
        "tikv://node1:2379?keyspace=a&keyspaceName=b",
        "tikv://node1:2379?keyspace=%ff",
    ];
    let lines: Vec<String> =
        wrong.iter().map(|text| format!("{text}\n  {}", parse(text).unwrap_err())).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

proptest! {
    #[test]
    fn what_an_option_shows_reads_as_the_same(
        ns: u64, count: u32, bytes: u64, large: usize, flag: bool, seed: Option<u64>, keyspace in prop::option::of(".{0,9}"),
    ) {
        let mut config = Config { deadline: Duration::from_nanos(ns.max(1)), ..Config::default() };
        config.backoff.weight = count;
        config.backoff.lock_fast_ms = bytes;
        config.max_txn = large.max(1);
        config.max_entry = (usize::try_from(bytes).unwrap() << 20).max(1);
        config.redact_keys = flag;
        config.seed = seed;
        if let Some(keyspace) = keyspace {
            config.api_version = ApiVersion::V2 { keyspace };
        }
        let mut builder = Config::builder();
        for option in Config::options() {
            if let Some(text) = option.value(&config) {
                builder = builder.option(option.name, &text);
            }
        }
        let read = builder.build().unwrap();
        prop_assert_eq!(shown(&read), shown(&config));
        prop_assert_eq!((read.deadline, read.max_txn, read.seed), (config.deadline, config.max_txn, config.seed));
        prop_assert_eq!(read.api_version, config.api_version);
    }

    #[test]
    fn hostile_addresses_and_texts_give_errors_and_never_panic(text in ".{0,60}", name in "[a-z.-]{0,20}") {
        drop(text.parse::<Dsn>());
        drop(format!("tikv://{text}").parse::<Dsn>());
        drop(format!("tikv://a:1?{text}").parse::<Dsn>());
        for option in Config::options() {
            drop(Config::builder().option(option.name, &text).build());
        }
        drop(Config::builder().option(&name, &text).env([(name.as_str(), text.as_str())]).build());
    }
}

#[cfg(feature = "serde")]
mod files {
    use super::*;

    #[test]
    fn a_file_has_options_by_their_names_and_sections_as_tables() {
        let text = r#"
            deadline = "5s"
            concurrency = 8
            redact-keys = true
            max-entry = 1048576
            keyspace = "orders"

            [connection]
            keepalive-timeout = "500ms"

            [stream]
            max-batch = 32
        "#;
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(
            (config.deadline, config.concurrency, config.redact_keys),
            (Duration::from_secs(5), 8, true)
        );
        assert_eq!((config.max_entry, config.stream.max_batch), (1 << 20, 32));
        assert_eq!(config.connection.keepalive_timeout, Duration::from_millis(500));
        assert_eq!(config.api_version, ApiVersion::V2 { keyspace: "orders".to_owned() });
        // What it does not say has its default.
        assert_eq!(config.pd_timeout, Config::default().pd_timeout);
    }

    #[test]
    fn a_file_that_is_wrong_says_all_that_is() {
        let text = "deadline = 40\nseed = [1]\nnone = 1.5\n[stream]\nmax-queued = 0\n[stream.inner]\na = 1\n[max-key]\n";
        let error = toml::from_str::<Config>(text).unwrap_err().to_string();
        insta::assert_snapshot!(error);
    }

    #[test]
    fn what_was_written_reads_as_the_same_without_secrets() {
        let config = Config::builder()
            .option("deadline", "1m 5s")
            .option("keyspace", "mine")
            .option("stream.max-batch", "9")
            .option("security.ca-file", "ca.pem")
            .option("security.certificate", "SECRET")
            .option("security.key", "SECRET")
            .build()
            .unwrap();
        let text = toml::to_string(&config).unwrap();
        assert!(!text.contains("SECRET"), "{text}");
        let read: Config = toml::from_str(&text).unwrap();
        assert_eq!(shown(&read), shown(&config));
        assert_eq!(read.security, Security::Tls(Tls::new(Path::new("ca.pem"))));
    }
}
