//! What a call comes to: PD's, a health check, a store's command.

use std::time::Duration;

use bytes::Bytes;
use tikv_proto::kvrpcpb;
use tikv_proto::tikvpb::{self, batch_commands_request::request, batch_commands_response::response};

use super::{Call, Cluster, Met, Reply, Waiting};
use crate::model::clock::Now;
use crate::model::command::{Answer, Command};
use crate::model::health::health_check;
use crate::model::pd::{self, Asked};
use crate::model::region::StoreState;
use crate::model::region_error::raft_entry_too_large;
use crate::model::status::{Code, Status};
use crate::model::store::{Outcome, admit_write};

/// Shorter delays of an `Empty` command are none.
// TiKV: src/server/service/kv.rs: future_handle_empty
const LEAST_EMPTY_DELAY: Duration = Duration::from_millis(10);

impl Cluster {
    pub(super) fn execute(&mut self, now: Now, call: Call) -> Met {
        match call {
            Call::Pd { member, follower_may, path, body } => {
                let mut asked = Asked::new(&mut self.topology, member, now);
                asked.follower_may = follower_may;
                if pd::watch::METHODS.contains(&path) {
                    let opened = self.pd.watch(asked, path, &body);
                    return Met::Now(opened.map_or_else(Reply::Fail, |watch| Reply::Watch(Box::new(watch))));
                }
                let reply = self.pd.call(asked, path, body).map_or_else(Reply::Fail, Reply::Bytes);
                self.collect_garbage();
                Met::Now(reply)
            }
            Call::Health { body, .. } => Met::Now(health_check(&body).map_or_else(Reply::Fail, Reply::Bytes)),
            Call::Store { store, command } => self.command(now, store, *command),
        }
    }

    fn command(&mut self, now: Now, store: u64, command: Command) -> Met {
        let cluster_id = command.context().map_or(0, |context| context.cluster_id);
        if cluster_id != 0 && cluster_id != self.pd.cluster_id() {
            // TiKV: src/server/service/kv.rs: reject_if_cluster_id_mismatch
            let message = "the cluster id of the request does not match the TiKV cluster";
            return Met::Now(Reply::Fail(Status::new(Code::InvalidArgument, message)));
        }
        if let Some(error) = self.too_large(store, &command) {
            let answer = command.refused(*error);
            return Met::Now(answer.map_or(Reply::Lost, |answer| Reply::Store(Box::new(answer))));
        }
        let answer = match command {
            Command::Batched(request::Cmd::Empty(ask)) => return self.empty(now, &ask),
            Command::Batched(request::Cmd::GetHealthFeedback(_)) => self.health_feedback(store),
            Command::Batched(request::Cmd::BroadcastTxnStatus(_)) => {
                Answer::Batched(response::Cmd::BroadcastTxnStatus(kvrpcpb::BroadcastTxnStatusResponse {}))
            }
            Command::Batched(batched) => match self.engine.handle(&self.topology, store, now, batched) {
                Outcome::Ready(answer) => Answer::Batched(answer),
                Outcome::Waits(id) => {
                    let token = self.token();
                    self.lock_waits.insert(id, token);
                    return Met::Later(token);
                }
                Outcome::Unimplemented => {
                    let status = Status::new(Code::Unimplemented, "the command is not served");
                    return Met::Now(Reply::Fail(status));
                }
            },
            Command::Unary(unary) => {
                Answer::Unary(self.engine.handle_unary(&self.topology, store, now, unary))
            }
            Command::Split(ask) => {
                Answer::Split(crate::model::store_split::split(&mut self.topology, store, &ask))
            }
            Command::LockWaits(_) => {
                let entries = self.engine.lock_waits(store);
                Answer::LockWaits(kvrpcpb::GetLockWaitInfoResponse { entries, ..Default::default() })
            }
            Command::CheckLeader(ask) => Answer::CheckLeader(kvrpcpb::CheckLeaderResponse {
                regions: self.topology.agreed_leaders(store, &ask.regions),
                ts: ask.ts,
            }),
            Command::SafeTs(ask) => {
                let range = ask.key_range.unwrap_or_default();
                let safe_ts =
                    self.engine.safe_ts(&self.topology, store, now, &range.start_key, &range.end_key);
                Answer::SafeTs(kvrpcpb::StoreSafeTsResponse { safe_ts })
            }
        };
        Met::Now(Reply::Store(Box::new(answer)))
    }

    /// Has the stores collect garbage if PD's safe point has moved. Keyspaces that drive a collection of their own are left
    /// alone.
    fn collect_garbage(&mut self) {
        let safe_point = self.pd.common_gc_safe_point();
        if safe_point > self.collected {
            self.collected = safe_point;
            self.engine.collect_garbage(&Bytes::new(), &Bytes::new(), safe_point);
        }
    }

    /// Why a write is too long for the log of its region, if it is and would be served.
    fn too_large(&self, store: u64, command: &Command) -> Option<Box<tikv_proto::errorpb::Error>> {
        let size = command.written_bytes();
        if size <= self.topology.conditions.entry_limit() {
            return None;
        }
        let region = admit_write(&self.topology, store, command.context()).ok()?;
        Some(raft_entry_too_large(region.id, u64::try_from(size).unwrap_or(u64::MAX)))
    }

    fn empty(&mut self, now: Now, ask: &tikvpb::BatchCommandsEmptyRequest) -> Met {
        let answer = tikvpb::BatchCommandsEmptyResponse { test_id: ask.test_id };
        let reply = Reply::Store(Box::new(Answer::Batched(response::Cmd::Empty(answer))));
        let delay = Duration::from_millis(ask.delay_time);
        if delay < LEAST_EMPTY_DELAY {
            return Met::Now(reply);
        }
        self.park(now.after(delay), Waiting::Reply(Box::new(reply)))
    }

    /// What `store` says of itself next.
    pub fn feedback(&mut self, store: u64) -> kvrpcpb::HealthFeedback {
        self.health.entry(store).or_default().feedback(store)
    }

    fn health_feedback(&mut self, store: u64) -> Answer {
        let feedback = self.feedback(store);
        Answer::Batched(response::Cmd::GetHealthFeedback(kvrpcpb::GetHealthFeedbackResponse {
            region_error: None,
            health_feedback: Some(feedback),
        }))
    }

    /// Each running store reports to PD up to which timestamp it is resolved, as stores do every second. What others
    /// have told PD of a store since stays.
    pub fn report_resolved(&mut self, now: Now) {
        let running = self.topology.stores().filter(|store| store.started_unix_s > 0);
        let up = running.filter(|store| store.state != StoreState::Tombstone);
        for store in up.map(|store| store.id).collect::<Vec<_>>() {
            if self.pd.min_resolved_ts(store) == self.resolved.get(&store).copied() {
                let ts = self.engine.safe_ts(&self.topology, store, now, &Bytes::new(), &Bytes::new());
                self.pd.set_min_resolved_ts(store, Some(ts));
                self.resolved.insert(store, ts);
            }
        }
    }

    /// Sets what `store` says of itself: from 1, healthy, to 100.
    pub fn set_slow_score(&mut self, store: u64, slow_score: i32) {
        self.health.entry(store).or_default().set_slow_score(slow_score);
    }
}
