//! Traces: what every operation of a client did, recorded so that it can be replayed.
//!
//! A machine sees nothing of the world but what crosses the kernel's boundary: what it begins with, its seed, the time of
//! each step, its completions, and the facts that it reads. That is recorded, with the effects that it
//! wanted, for each operation by itself; so each replays exactly, also when it ran among many others on many threads.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use tikv_client_core::config::Config;
//! use tikv_client_core::trace::{Recorder, redact, replay};
//!
//! let tape = Arc::new(Mutex::new(Vec::new()));
//! let sink = Arc::clone(&tape);
//! let mut config = Config::default();
//! config.trace = Some(Recorder::to_sink(move |bytes: &[u8]| {
//!     if let Ok(mut tape) = sink.lock() {
//!         tape.extend_from_slice(bytes);
//!     }
//! }));
//! // … connect with this configuration, do some work, close the client. Then:
//! let trace = tape.lock().map(|tape| tape.clone()).unwrap_or_default();
//! let report = replay(&trace)?;
//! assert!(report.is_identical(), "{report}");
//! println!("{report}"); // identical, 0 steps of 0 operations
//! // To be shown to others: every key is another one.
//! let shown = redact(&trace)?;
//! assert!(replay(&shown)?.is_identical());
//! # Ok::<(), tikv_client_core::trace::TraceError>(())
//! ```
//!
//! In production a [`Recorder::ring`] keeps the last seconds in bounded memory and [`Recorder::on_error`] says when to write its
//! [`dump`](Recorder::dump) to a file. The core itself writes none.
//!
//! **What it costs.** Without a recorder: a look at the configuration for each call, and one for each step, whether there is
//! one. With one: a copy of all that is recorded, and with values zeroed one walk through each request and response.
//!
//! **What is hidden.** Values are zeroed while recording, at equal length, unless [`Recorder::redact_values`] says otherwise: a
//! trace is made to leave its program. [`redact`](redact()) gives a trace other keys, in the same order, and zeroes values that
//! were recorded. Both replay as before. Neither hides addresses, timestamps, sizes, and times.
//!
//! # Files
//!
//! * `recorder`: what a program configures; `outlet` and `ring`: where records gather; `recording`: one operation; `wire`: the
//!   services' network, for pictures;
//! * [`format`](mod@format): the records; `encode`, `decode`, `start`: from and to what the kernel has; `tickets`: their numbers;
//! * `file`: the bytes; `replay` and its `report`; [`show`]: texts for people;
//! * `fields`: which fields of TiKV's messages hold what; `redact` and `keymap`: other keys.
//!
//! # The file
//!
//! The eight bytes `tikvtrac`, a version (32 bits, little endian; now 1), then records. Each is a protobuf message `Record` behind
//! its length (a varint). Records of one operation are in order; those of different operations stand between each other as
//! they were handed over, so who wants them by time sorts them by `at_ns` and keeps each operation's order. Unknown fields are
//! skipped, and so is a record of an unknown kind; a higher version is refused.
//!
//! Times are ns of the client's monotonic clock (`_ns`), or ms since 1970 (`wall_ms`). Tickets are numbered from 1 within their
//! operation: a completion has the number of the call, question or timer that it completes.
//!
//! ```text
//! Record    oneof: 1 Begin, 2 Step, 3 End, 4 Wire
//! Begin     1 number, 2 client, 3 parent, 4 at_ns, 5 wall_ms, 6 seed (fixed64), 7 space (1 raw, 2 transactional),
//!           8 deadline_ns, 9 Budget, 10 concurrency, 11 redact_keys, 12 zeroed_values, 13 Start, 14 api_v2, 15 Reading,
//!           16 forwarding
//! Reading   1 replica (0 leader, 1 follower, 2 any, 3 learner, 4 leader unless slow, 5 closest), 2 repeated label (1 key, 2 value),
//!           3 repeated stores, 4 stale, 5 leader_only, 6 busy_threshold_ns, 7 attempt_ns
//! Budget    1 kind (0 nothing, 1 weighted, 2 plain, 3 unlimited), 2 ms, 3 weight, 4 lock_fast_ms
//! Step      1 number, 2 index, 3 at_ns, 4 wall_ms, oneof cause: 5 first (bool), 6 Completed, 7 interrupted (1 deadline,
//!           2 killed, 3 closed), 8 dropped (bool); 9 repeated Fact, 10 repeated Effect
//! End       1 number, 2 at_ns, 3 dropped, 4 error (its kind; empty: none), 5 text (up to 4 KiB), 6 bytes of the whole text,
//!           7 its FNV-1a (fixed64), 8 steps
//! Wire      1 client, 2 service, 3 at_ns, 4 kind (1 open, 2 opened, 3 send, 4 item, 5 closed, 6 close, 7 call, 8 answer),
//!           5 id, 6 address, 7 path, 8 bytes, 9 Fault
//!
//! Completed 1 ticket, oneof: 2 response (bytes), 3 fired (ns), 4 timestamp, 5 Located, 6 Regions, 7 Fault,
//!           8 withheld (bytes of a response that is no message), 9 other (text), 10 PdTold
//! Fault     oneof: 1 Transport, 2 late (Transport), 3 interrupted (as above), 4 overloaded (bool), 5 ServiceError
//! Transport 1 class (1 unreachable, 2 lost, 3 timed out, 4 rejected), 2 gRPC status, 3 detail
//! ServiceError 1 kind (1 bad address, 2 no address, 3 PD unreachable, 4 other cluster, 5 PD's error, 6 no region, 7 no peer,
//!           8 store removed, 9 corrupt, 10 TLS, 11 bad keyspace), 2 address (of 11: its name), 3 text, 4 id, 5 found
//! Fact      oneof: 1 Locate (1 key, 2 below, 3 answer Located), 2 Span (1 Region, 2 answer Range),
//!           3 Replicas (1 Region, 2 answer (1 leader, 2 repeated Peer)), 4 Store (1 store, 2 answer (1 presence: 0 unknown,
//!           1 serving, 2 removed, 2 engine: 0 TiKV, 1 TiFlash, 2 TiFlash compute, 3 liveness: 0 reachable, 1 unreachable,
//!           2 unknown, 4 slow, 5 busy_ns, 6 safe_ts)), 5 Labels (1 store, 2 repeated (1 key, 2 value))
//! Effect    oneof: 1 Call, 2 Ask, 3 Timer, 4 spawn (Start), 5 report (Feedback), 6 cancel (ticket)
//! Call      1 ticket, 2 Located, 3 retry, 4 max_execution_ms, 5 deadline_ns, 6 command (field number in
//!           tikvpb.BatchCommandsRequest.Request), 7 body (the command's message), 8 profile (kvrpcpb.Context),
//!           9 asked (1 replica read, 2 stale read), 10 busy_threshold_ms, 11 follower (bool), 12 first asked (1 leader, 2 follower,
//!           3 and 4 by stale read), 13 through (store)
//! Ask       1 ticket, 2 deadline_ns, oneof: 3 timestamp (bool), 4 Place, 5 Range, 7 PdAsk; 6 limit
//! PdAsk     1 kind (1 scatter, 2 order, 3 buckets), 2 repeated regions, 3 group
//! PdTold    1 kind (as before), 2 percent, 3 repeated regions, 4 found, 5 description, 6 running, 7 Region, 8 version,
//!           9 repeated keys (in PD's form)
//! Timer     1 ticket, 2 at_ns, 3 why (1 pause, 2 a lock's time to live, 3 heartbeat), 4 name
//! Feedback  oneof: 1 leader is (1 Region, 2 peer, 3 store), 2 stale (1 Region, 2 why), 3 replaced (1 old Region,
//!           2 repeated RegionInfo), 4 loaded (1 repeated RegionInfo, 2 expires_ns), 5 unreachable (1 store, 2 Region),
//!           6 buckets (1 Region, 2 version, 3 repeated keys), 7 busy, 8 slow (store), 9 took, 10 health; of 7, 9, 10: 1 store,
//!           2 until when or how long in ns, or the score
//!
//! Region    1 id, 2 version, 3 conf_ver          Located  1 Region, 2 peer, 3 store
//! Range     1 start, 2 end (empty: none)         Regions  1 repeated (1 Located, 2 Range)
//! Place     oneof: 1 holding (key), 2 below (key), 3 id
//! RegionInfo 1 Region, 2 Range, 3 repeated Peer (1 id, 2 store, 3 role: 0 voter, 1 learner, 2 witness), 4 leader
//!
//! Start     1 operation (1 raw get, 2 raw put, 3 raw delete, 4 raw batch get, 5 raw batch put, 6 raw batch delete, 7 raw scan,
//!           8 raw delete range, 9 get, 10 batch get, 11 scan, 12 page, 13 begin's timestamp, 14 current timestamp, 15 commit,
//!           16 pause, 17 commit secondaries, 18 finish commit, 19 roll back, 20 clean locks, 21 find region, 22 list
//!           regions, 23 buckets, 24 split, 25 scatter, 26 order), 2 repeated keys,
//!           3 repeated Write, 4 Range, 5 ts, 6 commit_ts, 7 primary, 8 cf, 9 ttl_s, 10 for_cas, 11 limit, 12 reverse,
//!           13 keys_only, 14 page, 15 repeated ignore, 16 repeated access, 17 own (1 value), 18 begun_ns, 19 attempt,
//!           20 repeated Cleaning, 21 overlay_reverse, 22 Place, 23 repeated regions, 24 group, 25 waits, 26 raw
//! Write     1 key, 2 kind (0 put, 1 insert, 2 delete, 3 check not exists), 3 value
//! Cleaning  1 start_ts, 2 verdict (0 roll back, 1 commit, 2 release), 3 ts, 4 repeated keys, 5 whole_regions, 6 is_txn_file
//! ```

mod decode;
mod encode;
mod fields;
mod file;
pub mod format;
mod keymap;
mod outlet;
mod recorder;
mod recording;
mod redact;
mod replay;
mod report;
mod ring;
pub mod show;
mod start;
#[cfg(test)]
mod tests;
mod tickets;
mod wire;

pub use file::{MAGIC, Records, TraceError, VERSION, write};
pub use format::Record;
pub use recorder::{Failure, Recorder, Sink};
pub(crate) use recording::{Birth, Event, Moment, Recording};
pub use redact::redact;
pub use replay::{replay, replay_records};
pub use report::{Difference, Report};
pub(crate) use wire::Tap;

/// A record that is a message and makes no sense: what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unreadable(&'static str);
