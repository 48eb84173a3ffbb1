//! Stores, reads, scans and transacts on a TiKV cluster: one in memory, or the one whose PD is at `TIKV_PD=host:port,…`.
//! All its keys begin with `quickstart/`. The input is a text file: the program's argument, else the workspace's `Cargo.lock`.
#![allow(clippy::print_stdout, reason = "a program that shows what it does")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::stage::{Failure, Task, balance, eight_tasks};
use crate::tikv::client::Client;
use crate::tikv::txn::Transaction;
use crate::tikv::types::{Key, KeyRange};

/// The whole of it; `spawn` starts a task, and returns what its result is awaited by.
pub(crate) async fn run(client: Client, spawn: fn(Task) -> Task) -> Result<(), Failure> {
    let started = Instant::now();
    println!("connected to cluster {}", client.cluster_id());
    let text = std::fs::read_to_string(std::env::args().nth(1).unwrap_or_else(|| "Cargo.lock".into()))?;
    raw_lines(&client, &text).await?;
    word_index(&client, &text, spawn).await?;
    accounts(&client, spawn).await?;
    let (regions, left) = (client.known_regions(), client.close(Duration::from_secs(10)).await);
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
    Ok(raw.delete_range(&all).await?)
}

/// An index of the most frequent words: eight tasks add their lines to the same words, meet each other, and try again.
async fn word_index(client: &Client, text: &str, spawn: fn(Task) -> Task) -> Result<(), Failure> {
    let mut words: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        for word in line.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2) {
            words.entry(word).or_default().insert(number.to_string());
        }
    }
    let mut frequent: Vec<_> = words.into_iter().map(|(word, lines)| (word.to_owned(), lines)).collect();
    frequent.sort_by_key(|(_, lines)| std::cmp::Reverse(lines.len()));
    frequent.truncate(20);
    let attempts = eight_tasks(spawn, |task| {
        let (client, words, mut attempts) = (client.clone(), frequent.clone(), 0);
        async move {
            for (word, lines) in words {
                let key = Key::from(format!("quickstart/word/{word}"));
                let share: Vec<String> = lines.into_iter().skip(task).step_by(8).collect();
                let add = async move |txn: &mut Transaction| -> Result<(), Failure> {
                    let before = txn.get(&key).await?.unwrap_or_default();
                    Ok(txn.put(&key, [&before[..], b" ", share.join(" ").as_bytes()].concat())?)
                };
                attempts += client.transact(add).await?.attempts;
            }
            Ok(attempts)
        }
    });
    let conflicts = attempts.await? as usize - 8 * frequent.len();
    // One moment of the whole index; then one word is looked up by a scan.
    let snapshot = client.snapshot(client.current_timestamp().await?);
    let found = snapshot.scan(KeyRange::prefix("quickstart/word/")).keys_only().await?.len();
    let (word, lines) = &frequent[0];
    let entry = snapshot.scan(KeyRange::prefix(format!("quickstart/word/{word}"))).limit(1).await?;
    let stored: BTreeSet<&[u8]> = entry[0].value.split(|&byte| byte == b' ').collect();
    assert!(lines.iter().all(|line| stored.contains(line.as_bytes())), "a conflict lost lines of {word}");
    println!("index: {found} words, {conflicts} conflicts retried, {word:?} is in {} lines", lines.len());
    Ok(())
}

/// Moves amounts between ten accounts from eight tasks; the sum stays.
async fn accounts(client: &Client, spawn: fn(Task) -> Task) -> Result<(), Failure> {
    let account = |number: usize| Key::from(format!("quickstart/account/{}", number % 10));
    let fill = async |txn: &mut Transaction| (0..10).try_for_each(|n| txn.put(account(n), "100"));
    client.transact(fill).await?;
    let attempts = eight_tasks(spawn, |task| {
        let (client, mut attempts) = (client.clone(), 0);
        async move {
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
    });
    let retries = attempts.await? - 160;
    let snapshot = client.snapshot(client.current_timestamp().await?);
    let balances = snapshot.scan(KeyRange::prefix("quickstart/account/")).await?;
    let sum = balances.into_iter().map(|pair| balance(Some(pair.value))).sum::<Result<u64, _>>()?;
    println!("accounts: 160 transfers, {retries} retries, the sum is {sum}");
    assert_eq!(sum, 1_000);
    Ok(())
}
