//! Transfers between accounts, and audits: no money comes or goes.

use bytes::Bytes;
use tikv_client_core::error::Error;
use tikv_client_core::txn::{TransactOptions, Transaction};
use tikv_client_core::types::KeyRange;

use super::txn::{Book, pairs};
use super::{Missed, Worker};
use crate::ledger::{Outcome, Read};
use crate::violation::Invariant;

const START: i64 = 100;

fn account(n: usize) -> String {
    format!("bank/{n:02}")
}

fn amount(value: Option<&Bytes>) -> i64 {
    value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

impl Worker {
    pub(super) async fn open_bank(&mut self) -> Result<(), Missed> {
        let mut txn = self.begin("open bank").await?;
        for n in 0..self.ctx.plan.keys {
            txn.put(&account(n), START.to_string())?;
        }
        txn.commit().await
    }

    pub(super) async fn bank(&mut self) -> Result<(), Missed> {
        match self.rng.u32(..10) {
            0..=4 => self.transfer().await,
            5..=7 => self.transact().await,
            _ => self.audit().await,
        }
    }

    fn pair(&mut self) -> (String, String, i64) {
        let keys = self.ctx.plan.keys;
        let from = self.rng.usize(..keys);
        let to = (from + self.rng.usize(1..keys)) % keys;
        (account(from), account(to), self.rng.i64(1..20))
    }

    async fn transfer(&mut self) -> Result<(), Missed> {
        let (from, to, money) = self.pair();
        let mut txn = self.begin("transfer").await?;
        let has = amount(txn.get(&from).await?.as_ref());
        let gets = amount(txn.get(&to).await?.as_ref());
        txn.put(&from, (has - money).to_string())?;
        txn.put(&to, (gets + money).to_string())?;
        if self.rng.u32(..12) == 0 { txn.rollback().await } else { txn.commit().await }
    }

    /// The same with the client's own retries.
    async fn transact(&mut self) -> Result<(), Missed> {
        let (from, to, money) = self.pair();
        let (ctx, begun) = (self.ctx.clone(), self.ctx.executor.now());
        let pages = std::sync::Arc::new(std::sync::Mutex::new(Vec::<Book>::new()));
        let (inside, attempts) = (ctx.clone(), std::sync::Arc::clone(&pages));
        let lock =
            |pages: &std::sync::Mutex<Vec<Book>>| pages.lock().map(|pages| pages.clone()).unwrap_or_default();
        let call =
            self.client.transact_with(TransactOptions::default(), async move |txn: &mut Transaction| {
                let book = Book::new(&inside, "transact", txn.start_ts().0, begun);
                if let Ok(mut pages) = attempts.lock() {
                    // The client runs the body again only when it is certain that the last one is not committed.
                    if let Some(last) = pages.last() {
                        last.end(Outcome::Failed("run again".to_owned()));
                    }
                    pages.push(book.clone());
                }
                let has = txn.get(from.as_str()).await?;
                book.read(from.clone(), has.clone());
                let gets = txn.get(to.as_str()).await?;
                book.read(to.clone(), gets.clone());
                let (less, more) = (amount(has.as_ref()) - money, amount(gets.as_ref()) + money);
                for (key, value) in [(&from, less.to_string()), (&to, more.to_string())] {
                    txn.put(key.as_str(), value.clone())?;
                    book.write(key.clone(), Some(value.into()));
                }
                Ok::<_, Error>(())
            });
        let done = ctx.call("transact", ctx.plan.deadline, Some(&mut self.rng), call).await;
        let pages = lock(&pages);
        ctx.tally.add("txn.attempts", pages.len() as u64);
        if let Some(last) = pages.last() {
            last.settle(done.as_ref().map(|done| done.commit.commit_ts.0));
        }
        done.map(drop)
    }

    /// All accounts at one moment.
    async fn audit(&mut self) -> Result<(), Missed> {
        let (ctx, begun, deadline) = (self.ctx.clone(), self.ctx.executor.now(), self.ctx.plan.deadline);
        let ts =
            ctx.call("timestamp", deadline, Some(&mut self.rng), self.client.current_timestamp()).await?;
        let book = Book::new(&ctx, "audit", ts.0, begun);
        let snapshot = self.client.snapshot(ts);
        let found = if self.rng.bool() {
            let range = KeyRange::prefix("bank/");
            let scan = snapshot.scan(&range).batch_size(self.rng.u32(1..=4));
            let found = pairs(ctx.call("scan", deadline, Some(&mut self.rng), scan).await?);
            let (start, end, pairs) = (range.start.0, range.end.0, found.clone());
            book.scanned(Read::Range { start, end, limit: usize::MAX, reverse: false, pairs });
            found
        } else {
            let keys = (0..ctx.plan.keys).map(account);
            let call = snapshot.batch_get(keys);
            let found = pairs(ctx.call("batch-get", deadline, Some(&mut self.rng), call).await?);
            for (key, value) in &found {
                book.read(key.clone(), Some(value.clone()));
            }
            found
        };
        book.end(Outcome::Committed(ts.0));
        let sum: i64 = found.iter().map(|(_, value)| amount(Some(value))).sum();
        let wanted = START * i64::try_from(ctx.plan.keys).unwrap_or(0);
        if found.len() != ctx.plan.keys || sum != wanted {
            let story = format!("at {ts} {} accounts have {sum}, not {wanted}: {found:?}", found.len());
            ctx.verdict.violate(Invariant::Balance, story);
        }
        Ok(())
    }
}
