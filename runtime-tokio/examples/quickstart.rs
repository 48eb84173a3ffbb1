//! A first look: store, read, scan and transact on a TiKV cluster.
//!
//! `cargo run --release --example quickstart [FILE]` starts a cluster in memory, or uses the one whose PD is at
//! `TIKV_PD=host:port,…`. All its keys begin with `quickstart/`.

#![allow(clippy::print_stdout, reason = "a program that shows what it does")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tikv_client_tokio::client::Client;
use tikv_client_tokio::config::Config;
use tikv_client_tokio::txn::Transaction;
use tikv_client_tokio::types::{Key, KeyRange, Value};
use tikv_embedded::Embedded;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let started = Instant::now();
    let text = std::fs::read_to_string(std::env::args().nth(1).unwrap_or_else(|| "Cargo.lock".into()))?;
    let mut embedded = None;
    let pd: Vec<String> = match std::env::var("TIKV_PD") {
        Ok(pd) => pd.split(',').map(str::to_owned).collect(),
        Err(_) => {
            // Regions that split the words and the accounts, so that a transaction spans stores.
            let splits = ["quickstart/account/5", "quickstart/word/c", "quickstart/word/s"];
            let cluster =
                Embedded::builder().stores(3).split_keys(splits).raw_split_keys(["quickstart/raw/001"]);
            embedded.insert(cluster.start()?).pd_addresses()
        }
    };
    let client = tikv_client_tokio::connect(&pd, Config::default()).await?;
    println!("connected to cluster {} through PD at {}", client.cluster_id(), pd.join(", "));

    raw_lines(&client, &text).await?;
    word_index(&client, &text).await?;
    accounts(&client).await?;

    let regions = client.known_regions();
    let left = client.close(Duration::from_secs(10)).await;
    let seconds = started.elapsed().as_secs_f64();
    println!("{regions} regions touched, {left} operations left in the background, {seconds:.2} s");
    Ok(())
}

/// Stores every line of the text raw, in batches, and reads them back.
async fn raw_lines(client: &Client, text: &str) -> Result<(), Failure> {
    let (raw, all) = (client.raw(), KeyRange::prefix("quickstart/raw/"));
    let key = |number: usize| format!("quickstart/raw/{number:06}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let pairs: Vec<_> = lines.iter().enumerate().map(|(n, line)| (key(n), line.to_string())).collect();
    for batch in pairs.chunks(500) {
        raw.batch_put(batch.to_vec()).await?;
    }
    let read = raw.batch_get((0..lines.len()).map(key)).await?;
    assert!(read.iter().zip(&lines).all(|(value, line)| value.as_deref() == Some(line.as_bytes())));
    let last = raw.scan(&all, 1).reverse().await?;
    println!("raw: {} lines stored and read back, the last is {:?}", lines.len(), last[0].value);
    raw.delete_range(&all).await?;
    Ok(())
}

/// Builds an index of the most frequent words in transactions: eight tasks add their lines to the same words, meet each
/// other, and try again.
async fn word_index(client: &Client, text: &str) -> Result<(), Failure> {
    let mut words: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        for word in line.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2) {
            words.entry(word).or_default().insert(number.to_string());
        }
    }
    let mut frequent: Vec<_> = words.into_iter().map(|(word, lines)| (word.to_owned(), lines)).collect();
    frequent.sort_by_key(|(_, lines)| std::cmp::Reverse(lines.len()));
    frequent.truncate(20);
    let attempts = eight_tasks(|task| add_lines(client.clone(), frequent.clone(), task)).await?;
    // One moment of the whole index; then one word is looked up by a scan.
    let snapshot = client.snapshot(client.current_timestamp().await?);
    let found = snapshot.scan(KeyRange::prefix("quickstart/word/")).keys_only().await?;
    let (word, lines) = &frequent[0];
    let entry = snapshot.scan(KeyRange::prefix(format!("quickstart/word/{word}"))).limit(1).await?;
    let stored: BTreeSet<&[u8]> = entry[0].value.split(|&byte| byte == b' ').collect();
    assert!(lines.iter().all(|line| stored.contains(line.as_bytes())), "a conflict lost lines of {word}");
    let (commits, conflicts) = (8 * frequent.len(), attempts as usize - 8 * frequent.len());
    println!("index: {} words in {commits} transactions, {conflicts} conflicts retried", found.len());
    println!("index: {word:?} is in {} lines", lines.len());
    Ok(())
}

/// One task's share of every word; how many attempts its transactions took.
async fn add_lines(
    client: Client,
    words: Vec<(String, BTreeSet<String>)>,
    task: usize,
) -> Result<u32, Failure> {
    let mut attempts = 0;
    for (word, lines) in words {
        let key = format!("quickstart/word/{word}");
        let share: Vec<String> = lines.into_iter().skip(task).step_by(8).collect();
        let add = async move |txn: &mut Transaction| -> Result<(), Failure> {
            let before = txn.get(key.as_str()).await?.unwrap_or_default();
            Ok(txn.put(key.as_str(), [&before[..], b" ", share.join(" ").as_bytes()].concat())?)
        };
        attempts += client.transact(add).await?.attempts;
    }
    Ok(attempts)
}

/// Moves amounts between ten accounts from eight tasks; the sum stays.
async fn accounts(client: &Client) -> Result<(), Failure> {
    client
        .transact(async |txn: &mut Transaction| (0..10).try_for_each(|n| txn.put(account(n), "100")))
        .await?;
    let attempts = eight_tasks(|task| transfers(client.clone(), task as u64)).await?;
    let snapshot = client.snapshot(client.current_timestamp().await?);
    let balances = snapshot.scan(KeyRange::prefix("quickstart/account/")).await?;
    let sum = balances.into_iter().map(|pair| balance(Some(pair.value))).sum::<Result<u64, _>>()?;
    println!("accounts: 160 transfers, {} retries, the sum is {sum}", attempts - 160);
    assert_eq!(sum, 1_000);
    Ok(())
}

/// Runs eight tasks and adds up what they return.
async fn eight_tasks<F>(task: impl Fn(usize) -> F) -> Result<u32, Failure>
where
    F: Future<Output = Result<u32, Failure>> + Send + 'static,
{
    let mut tasks: JoinSet<_> = (0..8).map(task).collect();
    let mut sum = 0;
    while let Some(done) = tasks.join_next().await {
        sum += done??;
    }
    Ok(sum)
}

/// One task's transfers; how many attempts they took.
async fn transfers(client: Client, task: u64) -> Result<u32, Failure> {
    let mut attempts = 0;
    for round in 0..20 {
        let (from, to) = (account(task + round), account(task + 3 * round + 1));
        let pay = async move |txn: &mut Transaction| -> Result<(), Failure> {
            let (has, gets) = (balance(txn.get(&from).await?)?, balance(txn.get(&to).await?)?);
            if from != to {
                txn.put(&from, (has - has.min(7)).to_string())?;
                txn.put(&to, (gets + has.min(7)).to_string())?;
            }
            Ok(())
        };
        attempts += client.transact(pay).await?.attempts;
    }
    Ok(attempts)
}

fn account(number: u64) -> Key {
    format!("quickstart/account/{}", number % 10).into()
}

fn balance(value: Option<Value>) -> Result<u64, Failure> {
    Ok(std::str::from_utf8(&value.ok_or("an account is gone")?)?.parse()?)
}
