//! A test for every row of the tables of `cluster.md` 4 to 8 and 12 to 15, in a module for each table, named after the
//! row: `cargo test -p tikv-embedded --test rows t7_10` plays the rows of 7.10.
//!
//! A row is held in one of three ways, see [`proof`]: by what a real TiKV or PD was recorded to answer, which is played
//! on the model; by a test that stands elsewhere, because it needs what is private there or a network; or by a test
//! beside the table, through the doors of the model ([`world`]).
//!
//! * `s4`: admission. `s5_6`: the data, `max_ts`, errors of keys. `s7_*`: commands that write. `s8`: reads.
//! * `s12`: PD's members, stores, timestamps, regions. `s13_15`: keyspaces, garbage collection, resource groups, meta
//!   storage.
//! * `names`, `normal`, `player`, `schema` are those of the test `conformance`; `play`, `value`, `wire` of
//!   `conformance_pd`.

#![allow(clippy::unwrap_used, reason = "a row whose answer lacks what it is about fails")]

#[path = "../conformance/names.rs"]
mod names;
#[path = "../conformance/normal.rs"]
mod normal;
#[path = "../conformance_pd/play.rs"]
mod play;
#[path = "../conformance/player.rs"]
mod player;
mod proof;
mod s12;
mod s13_15;
mod s4;
mod s4_doors;
mod s5_6;
mod s7_locks;
mod s7_range;
mod s7_settle;
mod s7_write;
mod s8;
mod s8_doors;
#[path = "../conformance/schema.rs"]
mod schema;
#[path = "../conformance_pd/value.rs"]
mod value;
#[path = "../conformance_pd/wire.rs"]
mod wire;
mod world;
