//! What the floor does for each action.

use bytes::Bytes;
use tikv_bench_load::Action;
use tikv_proto::kvrpcpb as pb;
use tokio::sync::oneshot;

use super::Echo;
use super::regions::Region;
use super::stream::{Request, Response};

/// TiKV's lock of a transaction without heartbeats lives so long, in ms.
const LOCK_TTL_MS: u64 = 3_000;

/// Takes the wanted kind of response; fails on a region error.
macro_rules! answer {
    ($receiver:expr, $kind:ident) => {
        match $receiver.await {
            Ok(Response::$kind(response)) if response.region_error.is_none() => Ok(response),
            other => Err(format!("the floor got {other:?}")),
        }
    };
}

fn bytes(key: &'static [u8]) -> Bytes {
    Bytes::from_static(key)
}

fn complete(found: usize, wanted: u32) -> Result<(), String> {
    if found == wanted as usize { Ok(()) } else { Err(format!("{found} of {wanted} keys were found")) }
}

impl Echo {
    pub(crate) async fn operate(&'static self, caller: u32, turn: u64) -> Result<(), String> {
        let (keys, action) = (&self.keys, self.task.action);
        let number = keys.draw(caller, self.task.callers, turn);
        let many = action.keys();
        match action {
            Action::RawGet => self.raw_get(keys.key(number)).await,
            Action::RawPut => self.raw_put(keys.key(number)).await,
            Action::RawBatchGet => {
                let batch = keys.batch(number, many).map(bytes);
                let sent = self.each(batch, |context, keys| {
                    Request::RawBatchGet(pb::RawBatchGetRequest { context, keys, ..Default::default() })
                });
                let mut found = 0;
                for receiver in sent {
                    found += answer!(receiver, RawBatchGet)?.pairs.len();
                }
                complete(found, many)
            }
            Action::RawScan => {
                let (from, to) = keys.range(number, many);
                let region = self.regions.of(from);
                let request = pb::RawScanRequest {
                    context: Some(region.context.clone()),
                    start_key: bytes(from),
                    end_key: bytes(to),
                    limit: many,
                    ..Default::default()
                };
                let response = answer!(self.send(region, Request::RawScan(request)), RawScan)?;
                complete(response.kvs.len(), many)
            }
            Action::SnapshotGet => self.get(keys.key(number), self.ts).await,
            Action::TxnGet => {
                let ts = self.tso.get().await?;
                self.get(keys.key(number), ts).await
            }
            Action::SnapshotBatchGet => {
                let version = self.ts;
                let batch = keys.batch(number, many).map(bytes);
                let sent = self.each(batch, |context, keys| {
                    Request::BatchGet(pb::BatchGetRequest { context, keys, version, ..Default::default() })
                });
                let mut found = 0;
                for receiver in sent {
                    found += answer!(receiver, BatchGet)?.pairs.len();
                }
                complete(found, many)
            }
            Action::SnapshotScan => {
                let (from, to) = keys.range(number, many);
                let region = self.regions.of(from);
                let request = pb::ScanRequest {
                    context: Some(region.context.clone()),
                    start_key: bytes(from),
                    end_key: bytes(to),
                    limit: many,
                    version: self.ts,
                    ..Default::default()
                };
                let response = answer!(self.send(region, Request::Scan(request)), Scan)?;
                complete(response.pairs.len(), many)
            }
            Action::Commit1 | Action::Commit10 => {
                let fresh = keys.fresh(caller, self.task.callers, turn, many);
                self.commit(fresh.into_iter().map(Bytes::from)).await
            }
        }
    }

    fn send(&self, region: &Region, request: Request) -> oneshot::Receiver<Response> {
        self.streams[region.stream].send(request)
    }

    /// One request for each region that has some of the keys.
    fn each(
        &self,
        keys: impl Iterator<Item = Bytes>,
        request: impl Fn(Option<pb::Context>, Vec<Bytes>) -> Request,
    ) -> Vec<oneshot::Receiver<Response>> {
        let groups = self.regions.group(keys).into_iter();
        groups.map(|(region, keys)| self.send(region, request(Some(region.context.clone()), keys))).collect()
    }

    async fn raw_get(&self, key: &'static [u8]) -> Result<(), String> {
        let region = self.regions.of(key);
        let context = Some(region.context.clone());
        let request = pb::RawGetRequest { context, key: bytes(key), ..Default::default() };
        let response = answer!(self.send(region, Request::RawGet(request)), RawGet)?;
        if response.not_found { Err("a key has no value".into()) } else { Ok(()) }
    }

    async fn raw_put(&self, key: &'static [u8]) -> Result<(), String> {
        let region = self.regions.of(key);
        let request = pb::RawPutRequest {
            context: Some(region.context.clone()),
            key: bytes(key),
            value: self.value.clone(),
            ..Default::default()
        };
        let response = answer!(self.send(region, Request::RawPut(request)), RawPut)?;
        if response.error.is_empty() { Ok(()) } else { Err(response.error) }
    }

    async fn get(&self, key: &'static [u8], version: u64) -> Result<(), String> {
        let region = self.regions.of(key);
        let context = Some(region.context.clone());
        let request = pb::GetRequest { context, key: bytes(key), version, ..Default::default() };
        let response = answer!(self.send(region, Request::Get(request)), Get)?;
        if response.error.is_some() || response.not_found {
            return Err(format!("the floor got {response:?}"));
        }
        Ok(())
    }

    /// Both phases; the regions without the primary are committed in the background.
    async fn commit(&'static self, keys: impl Iterator<Item = Bytes>) -> Result<(), String> {
        let start_version = self.tso.get().await?;
        let groups = self.regions.group(keys);
        let Some(primary_lock) = groups.first().and_then(|(_, keys)| keys.first()).cloned() else {
            return Ok(());
        };
        let txn_size = groups.iter().map(|(_, keys)| keys.len() as u64).sum();
        let prewrite = |context, keys: &[Bytes]| {
            let put = |key: &Bytes| pb::Mutation {
                op: pb::Op::Put.into(),
                key: key.clone(),
                value: self.value.clone(),
                ..Default::default()
            };
            Request::Prewrite(pb::PrewriteRequest {
                context: Some(context),
                mutations: keys.iter().map(put).collect(),
                primary_lock: primary_lock.clone(),
                start_version,
                lock_ttl: LOCK_TTL_MS,
                txn_size,
                ..Default::default()
            })
        };
        let sent: Vec<_> = groups
            .iter()
            .map(|(region, keys)| self.send(region, prewrite(region.context.clone(), keys)))
            .collect();
        for receiver in sent {
            let response = answer!(receiver, Prewrite)?;
            if let Some(error) = response.errors.first() {
                return Err(format!("the floor got {error:?}"));
            }
        }
        let commit_version = self.tso.get().await?;
        let mut commits = groups.into_iter().map(|(region, keys)| {
            let context = Some(region.context.clone());
            let request =
                pb::CommitRequest { context, start_version, keys, commit_version, ..Default::default() };
            self.send(region, Request::Commit(request))
        });
        let Some(primary) = commits.next() else { return Ok(()) };
        let response = answer!(primary, Commit)?;
        if let Some(error) = response.error {
            return Err(format!("the floor got {error:?}"));
        }
        // Their answers are not waited for.
        drop(commits.collect::<Vec<_>>());
        Ok(())
    }
}
