//! What the quick-start stands on: a cluster, and eight tasks at once on whichever executor.

use tikv_embedded::Cluster;

use crate::tikv::client::BoxFuture;
use crate::tikv::types::Value;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Task = BoxFuture<Result<u32, Failure>>;

/// The addresses of PD, and the cluster in memory that serves there, if it is one.
pub(crate) fn cluster() -> Result<(Vec<String>, Option<Cluster>), Failure> {
    if let Ok(pd) = std::env::var("TIKV_PD") {
        return Ok((pd.split(',').map(str::to_owned).collect(), None));
    }
    // Regions that split the words and the accounts, so that a transaction spans stores.
    let splits = ["quickstart/account/5", "quickstart/word/c", "quickstart/word/s"];
    let builder = Cluster::builder().stores(3).split_keys(splits).raw_split_keys(["quickstart/raw/001"]);
    let cluster = builder.start().wait()?;
    Ok((cluster.pd_addresses(), Some(cluster)))
}

/// Runs a task eight times at once, and adds up how many attempts its transactions took.
pub(crate) async fn eight_tasks<T>(spawn: fn(Task) -> Task, task: impl Fn(usize) -> T) -> Result<u32, Failure>
where
    T: Future<Output = Result<u32, Failure>> + Send + 'static,
{
    let mut sum = 0;
    for running in (0..8).map(|number| spawn(Box::pin(task(number)))).collect::<Vec<_>>() {
        sum += running.await?;
    }
    Ok(sum)
}

/// What an account holds.
pub(crate) fn balance(value: Option<Value>) -> Result<u64, Failure> {
    Ok(std::str::from_utf8(&value.ok_or("an account is gone")?)?.parse()?)
}
