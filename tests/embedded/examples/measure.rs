//! How fast and how large a cluster is.
//!
//! ```console
//! $ cargo build --release -p tikv-embedded --bins --example measure
//! $ target/release/examples/measure
//! ```
//!
//! It starts `tikv-embedded` beside it, tied to the first core, loads a million raw keys of 16 bytes with values of 64,
//! and reads them in batch streams. What counts is the processor's time of the server: what one core could serve if
//! this machine had nothing else to do.

#![allow(clippy::print_stdout, reason = "a program that tells figures")]
#![allow(clippy::unwrap_used, reason = "what cannot be measured ends it")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tikv_embedded::Cluster;
use tikv_proto::tikvpb::{BatchCommandsResponse, batch_commands_request::request};
use tikv_proto::{kvrpcpb, metapb, methods, pdpb};

use support::{Client, Stream, batch};

const KEYS: u64 = 1_000_000;
const PUTS_A_FRAME: u64 = 500;
/// Clock ticks of a second in `/proc`.
const TICKS: f64 = 100.0;

fn key(n: u64) -> Bytes {
    format!("key-{n:012}").into()
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Server {
    fn start() -> (Self, String) {
        let program = std::env::current_exe().unwrap().parent().unwrap().join("../tikv-embedded");
        let mut child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .args(["--stores", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pd = line.trim().strip_prefix("TIKV_PD=").unwrap().to_owned();
        (Self(child), pd)
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap()
    }

    fn resident_mb(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
    }
}

/// Where the keys are, as PD tells it.
async fn locate(pd: &str) -> (Client, kvrpcpb::Context) {
    let pd = Client::dial_at(pd).await.unwrap();
    let header = support::pd_header(&pd).await;
    let ask = pdpb::GetRegionRequest { header: header.clone(), region_key: key(0), ..Default::default() };
    let told: pdpb::GetRegionResponse = pd.call(methods::pd::GET_REGION, &ask).await.unwrap();
    let (region, leader) = (told.region.unwrap(), told.leader.unwrap());
    let ask = pdpb::GetStoreRequest { header, store_id: leader.store_id };
    let store: pdpb::GetStoreResponse = pd.call(methods::pd::GET_STORE, &ask).await.unwrap();
    let context = kvrpcpb::Context {
        region_id: region.id,
        region_epoch: region.region_epoch,
        peer: Some(metapb::Peer { id: leader.id, store_id: leader.store_id, ..Default::default() }),
        ..Default::default()
    };
    (Client::dial_at(&store.store.unwrap().address).await.unwrap(), context)
}

async fn answered(stream: &mut Stream) -> usize {
    let frame = stream.next().await.unwrap().expect("the stream goes on");
    BatchCommandsResponse::decode(frame).unwrap().request_ids.len()
}

async fn load(store: &Client, context: &kvrpcpb::Context) {
    let mut stream = store.open(methods::tikv::BATCH_COMMANDS).await.unwrap();
    let value = Bytes::from(vec![7; 64]);
    for first in (0..KEYS).step_by(usize::try_from(PUTS_A_FRAME).unwrap()) {
        let puts = (first..first + PUTS_A_FRAME).map(|n| {
            let put = kvrpcpb::RawPutRequest {
                context: Some(context.clone()),
                key: key(n),
                value: value.clone(),
                ..Default::default()
            };
            (n, request::Cmd::RawPut(put))
        });
        stream.send(&batch(puts)).unwrap();
        let mut wanted = usize::try_from(PUTS_A_FRAME).unwrap();
        while wanted > 0 {
            wanted -= answered(&mut stream).await;
        }
    }
}

/// Reads for `time` in frames of `width` gets, `depth` of them under way; returns how many.
async fn read(store: &Client, context: &kvrpcpb::Context, width: u64, depth: usize, time: Duration) -> usize {
    let mut stream = store.open(methods::tikv::BATCH_COMMANDS).await.unwrap();
    // Encoded before, so that this side costs little.
    let frames: Vec<Vec<u8>> = (0..64)
        .map(|frame| {
            let gets = (0..width).map(|n| {
                let key = key((frame * 7919 + n * 104_729) % KEYS);
                let get =
                    kvrpcpb::RawGetRequest { context: Some(context.clone()), key, ..Default::default() };
                (n, request::Cmd::RawGet(get))
            });
            batch(gets).encode_to_vec()
        })
        .collect();
    let width = usize::try_from(width).unwrap();
    let begin = Instant::now();
    let (mut sent, mut done) = (0, 0);
    let mut next = frames.iter().cycle();
    while begin.elapsed() < time {
        while sent < done + width * depth {
            stream.send_bytes(next.next().unwrap()).unwrap();
            sent += width;
        }
        done += answered(&mut stream).await;
    }
    done
}

fn main() {
    let mut starts: Vec<Duration> = (0..21)
        .map(|_| {
            let begin = Instant::now();
            let cluster = Cluster::builder().stores(3).start().wait().unwrap();
            let took = begin.elapsed();
            drop(cluster);
            took
        })
        .collect();
    starts.sort();
    println!("start of 3 stores: median {:?}, longest {:?}", starts[10], starts[20]);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (server, pd) = Server::start();
        let (store, context) = locate(&pd).await;
        let empty = server.resident_mb();
        load(&store, &context).await;
        let full = server.resident_mb();
        println!("memory: {empty} MB empty, {full} MB with {KEYS} keys of 16 bytes and values of 64");
        for (width, depth) in [(1, 1), (1, 16), (8, 16), (32, 8), (128, 4)] {
            let cpu = server.cpu_seconds();
            let begin = Instant::now();
            let done = read(&store, &context, width, depth, Duration::from_secs(4)).await as f64;
            let (cpu, wall) = (server.cpu_seconds() - cpu, begin.elapsed().as_secs_f64());
            println!(
                "frames of {width:>3}, {depth:>2} under way: {:>7.0} gets/s, {:.2} us of the server each, so {:>7.0} gets/s a core",
                done / wall,
                cpu * 1e6 / done,
                done / cpu,
            );
        }
    });
}
