//! Transactions at the boundary of their machines.

use super::Transaction;
use crate::client::Client;
use crate::error::Error;

fn is_send(_: impl Send) {}

/// Compiled, never run: what applications await can be moved between the threads of a runtime.
const _: fn(&Client, Transaction) = |client, mut txn| {
    is_send(client.begin());
    is_send(txn.get("k").into_future());
    is_send(txn.scan("a".."b").cursor().next_batch());
    is_send(txn.commit().into_future());
    let name = String::from("n");
    is_send(client.transact(async move |txn: &mut Transaction| -> Result<(), Error> {
        let value = txn.get(name.as_str()).await?;
        txn.put("k", value.unwrap_or_default())?;
        Ok(())
    }));
};
