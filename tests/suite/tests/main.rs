//! The client over real gRPC against the embedded cluster: what its callers are promised, a module a subject.
//!
//! * `runtimes`: what they run on: each test once for each runtime; `fixture`: their clusters and clients, and how they wait;
//!   `certificates`: those of tests with TLS; `detour`: connections that are led elsewhere;
//! * `anywhere`: the core part, which needs no control of the cluster: also on a real one, also blocking, also without sockets;
//! * `channel`: time, tasks and connections, without a client, against servers that misbehave;
//! * `stream`: stores that misbehave, whatever they do a read is answered; `secure`: TLS whose certificates change under load;
//! * `raw`: raw calls, their order, limits and ranges, and random histories held against a map;
//! * `routing`: regions that split and move, stores that go, come back and move, and every region error;
//! * `faults`: bad input, and clusters that are not there or go away: typed errors, in time;
//! * `drop_safety`: calls that are dropped at every point, on any thread, also after the runtime's end;
//! * `keyspace`: API v2: clients of different keyspaces in one cluster;
//! * `life`: clients begin and end, side by side;
//! * `txn`: transactions, alone, against each other, against dead ones, and a thousand at once;
//! * `observe`: what requests carry, who has a say in them, and what of them is counted and told;
//! * `trace`: what is recorded replays.

#![allow(clippy::unwrap_used, reason = "a test, and what helps it, panics to fail")]

mod anywhere;
mod certificates;
mod channel;
mod detour;
mod drop_safety;
mod faults;
mod fixture;
mod keyspace;
mod life;
mod observe;
mod raw;
mod routing;
mod runtimes;
mod secure;
mod stream;
mod trace;
mod txn;
