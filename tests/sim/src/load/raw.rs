//! Raw calls: registers, and scans over rows that stay and rows that come and go.

use bytes::Bytes;
use tikv_client_core::types::{Key, KeyRange};

use super::txn::pairs;
use super::{Missed, Worker};
use crate::ledger::RawOp;
use crate::violation::Invariant;

/// How many raw rows there are.
const ROWS: usize = 40;

fn row(n: usize) -> String {
    format!("rs/{n:02}")
}

/// Rows of even numbers stay as they are.
fn stays(n: usize) -> bool {
    n.is_multiple_of(2)
}

impl Worker {
    pub(super) async fn raw(&mut self) -> Result<(), Missed> {
        let keys = self.ctx.plan.keys;
        let key = format!("rr/{:02}", self.rng.usize(..keys));
        let raw = self.client.raw();
        let (deadline, begun) = (self.ctx.plan.deadline, self.ctx.executor.now());
        let ctx = self.ctx.clone();
        match self.rng.u32(..8) {
            0..=3 => {
                let value = ctx.call("raw-get", deadline, Some(&mut self.rng), raw.get(key.as_str())).await?;
                let page = ctx.ledger.raw(key.into(), RawOp::Get(value), begun);
                ctx.ledger.change_raw(page, |raw| raw.ended = Some(ctx.executor.now()));
            }
            4..=6 => {
                let value = Bytes::from(ctx.unique().to_string());
                let page = ctx.ledger.raw(key.clone().into(), RawOp::Put(value.clone()), begun);
                let call = raw.put(key.as_str(), value);
                ctx.call("raw-put", deadline, Some(&mut self.rng), call).await?;
                ctx.ledger.change_raw(page, |raw| raw.ended = Some(ctx.executor.now()));
            }
            _ => {
                let page = ctx.ledger.raw(key.clone().into(), RawOp::Delete, begun);
                ctx.call("raw-delete", deadline, Some(&mut self.rng), raw.delete(key.as_str())).await?;
                ctx.ledger.change_raw(page, |raw| raw.ended = Some(ctx.executor.now()));
            }
        }
        Ok(())
    }

    pub(super) async fn put_rows(&self) -> Result<(), Missed> {
        let rows = (0..ROWS).filter(|&n| stays(n)).map(|n| (row(n), format!("{n}")));
        let call = self.client.raw().batch_put(rows);
        self.ctx.call("raw-batch-put", self.ctx.plan.deadline, None, call).await
    }

    pub(super) async fn raw_scan(&mut self) -> Result<(), Missed> {
        let (ctx, deadline, raw) = (self.ctx.clone(), self.ctx.plan.deadline, self.client.raw());
        let odd = |worker: &mut Self| row(worker.rng.usize(..ROWS / 2) * 2 + 1);
        match self.rng.u32(..8) {
            0 => {
                let rows: Vec<_> = (0..4).map(|_| (odd(self), "comes".to_owned())).collect();
                ctx.call("raw-batch-put", deadline, Some(&mut self.rng), raw.batch_put(rows)).await
            }
            1 => {
                let rows: Vec<_> = (0..4).map(|_| odd(self)).collect();
                ctx.call("raw-batch-delete", deadline, Some(&mut self.rng), raw.batch_delete(rows)).await
            }
            2 => {
                // Between two rows that stay.
                let n = self.rng.usize(..ROWS / 2) * 2;
                let range = KeyRange { start: Key::from(row(n)).next(), end: Key::from(row(n + 2)) };
                ctx.call("raw-delete-range", deadline, Some(&mut self.rng), raw.delete_range(&range)).await
            }
            3 => {
                let numbers: Vec<usize> = (0..6).map(|_| self.rng.usize(..ROWS)).collect();
                let call = raw.batch_get(numbers.iter().map(|&n| row(n)));
                let values = ctx.call("raw-batch-get", deadline, Some(&mut self.rng), call).await?;
                let right = |(&n, value): (&usize, &Option<Bytes>)| match value {
                    Some(value) if stays(n) => *value == n.to_string().as_bytes(),
                    Some(value) => *value == "comes",
                    None => !stays(n),
                };
                if values.len() != numbers.len() || !numbers.iter().zip(&values).all(right) {
                    let story = format!("raw batch get of {numbers:?}: {values:?}");
                    ctx.verdict.violate(Invariant::ScanCoverage, story);
                }
                Ok(())
            }
            _ => self.scan_raw_rows().await,
        }
    }

    async fn scan_raw_rows(&mut self) -> Result<(), Missed> {
        let (ctx, deadline) = (self.ctx.clone(), self.ctx.plan.deadline);
        let (a, b) = (self.rng.usize(..=ROWS), self.rng.usize(..=ROWS));
        let (from, to) = (a.min(b), a.max(b));
        let range = KeyRange { start: row(from).into(), end: row(to).into() };
        let limit = self.rng.usize(1..50);
        let reverse = self.rng.bool();
        let mut scan = self.client.raw().scan(&range, limit);
        if reverse {
            scan = scan.reverse();
        }
        let mut found = pairs(ctx.call("raw-scan", deadline, Some(&mut self.rng), scan).await?);
        let cut = found.len() == limit;
        if reverse {
            found.reverse();
        }
        // What the limit cut off was not looked at.
        let last = found.last().map(|pair| pair.0.clone());
        let first = found.first().map(|pair| pair.0.clone());
        let covered = |key: &str| {
            !cut || if reverse {
                first.as_ref().is_some_and(|first| key.as_bytes() >= first.as_ref())
            } else {
                last.as_ref().is_some_and(|last| key.as_bytes() <= last.as_ref())
            }
        };
        let stay = (from..to).filter(|&n| stays(n) && covered(&row(n)));
        let all_there = stay.clone().all(|n| {
            let value = n.to_string();
            found.iter().any(|pair| pair.0 == row(n) && pair.1 == value)
        });
        let ordered = found.windows(2).all(|two| two[0].0 < two[1].0);
        let inside = found.iter().all(|pair| range.contains(&pair.0));
        if !all_there || !ordered || !inside || found.len() > limit {
            let story = format!("raw scan {from}..{to} limit {limit} reverse {reverse}: {found:?}");
            ctx.verdict.violate(Invariant::ScanCoverage, story);
        }
        Ok(())
    }
}
