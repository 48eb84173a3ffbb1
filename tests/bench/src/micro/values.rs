//! Plain data: the region directory, frames, the codec, the write buffer.

use std::sync::Arc;

use bytes::Bytes;
use tikv_client_core::codec::{Mode, memcomparable};
use tikv_client_core::machine::Attempt;
use tikv_client_core::membuf::{Limits, MemBuf};
use tikv_client_core::region::{Directory, Found};
use tikv_client_core::request::{Profile, Request};
use tikv_client_core::stream::frame::{FrameReader, FrameWriter};
use tikv_client_core::types::{
    Instant, Key, KeyRange, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, StoreId,
};
use tikv_proto::kvrpcpb as pb;
use tikv_proto::tikvpb::{BatchCommandsResponse, batch_commands_response};
use tonic_prost::prost::Message;

use super::{Bench, Row};

pub(super) const ROWS: &[Row] = &[
    ("region lookup 10k", || region_lookup(10_000)),
    ("region lookup 1M", || region_lookup(1_000_000)),
    ("region insert 10k", region_insert),
    ("frame encode, a request", frame_encode),
    ("frame decode, a response", frame_decode),
    ("codec encode 24 B", codec_encode),
    ("codec decode 24 B", codec_decode),
    ("membuf put 10k", membuf_put),
    ("membuf get 10k", membuf_get),
];

/// Requests of a frame.
const FRAME: u64 = 64;
/// Lookups of a repetition: enough that their keys do not stay in the first cache.
const LOOKUPS: usize = 4_096;
const KEYS: usize = 10_000;

/// A region's first key; of each the n-th.
pub(super) fn key(number: usize) -> Key {
    Key::from(format!("bench/table/record/{number:08}"))
}

fn region(number: usize, count: usize) -> Found {
    let bound = |number: usize| if number == 0 || number == count { Key::default() } else { key(number) };
    let id = number as u64 + 1;
    let peer =
        |store: u64| Peer { id: PeerId(id * 10 + store), store: StoreId(store), role: PeerRole::Voter };
    Found::from(RegionInfo {
        version: RegionVersion { id: RegionId(id), version: 1, conf_ver: 1 },
        range: KeyRange::new(bound(number), bound(number + 1)),
        peers: (1..=3).map(peer).collect(),
        leader: Some(PeerId(id * 10 + id % 3 + 1)),
    })
}

/// A directory of `count` regions that begin at [`key`].
pub(super) fn directory(count: usize) -> Directory {
    let directory = Directory::new(Mode::Raw);
    directory.insert_all((0..count).map(|n| region(n, count)), Instant::default(), |_| Instant::FAR);
    directory
}

/// Numbers below `count` without an order.
fn scattered(count: usize, many: usize) -> impl Iterator<Item = usize> {
    (0..many).map(move |n| n.wrapping_mul(7_919_013) % count)
}

fn region_lookup(count: usize) -> Bench {
    let directory = directory(count);
    let keys: Vec<Key> = scattered(count, LOOKUPS).map(key).collect();
    Bench::new(LOOKUPS as u64, move || {
        let found = keys.iter().filter_map(|key| directory.locate(key.as_slice(), Instant::default()));
        found.map(|located| located.region.id.0).sum::<u64>()
    })
}

/// One region that replaces its older version among ten thousand.
fn region_insert() -> Bench {
    let directory = directory(KEYS);
    let (mut version, mut at) = (1, scattered(KEYS, usize::MAX));
    Bench::new(1, move || {
        version += 1;
        let mut found = region(at.next().unwrap_or_default(), KEYS);
        found.info.version.version = version;
        directory.insert(found, Instant::default(), Instant::FAR)
    })
}

fn attempt(key: &Key) -> Option<Attempt> {
    let to = directory(10).locate(key.as_slice(), Instant::default())?;
    Some(Attempt::first(to))
}

fn frame_encode() -> Bench {
    let message = pb::RawGetRequest { key: key(4).0, ..Default::default() };
    let request = Request::new(&message, Profile::default());
    let attempt = attempt(&key(4));
    let mut writer = FrameWriter::default();
    Bench::new(FRAME, move || {
        for id in 0..FRAME {
            if let Some(attempt) = &attempt {
                writer.push(id, &request, attempt);
            }
        }
        writer.finish()
    })
}

fn frame_decode() -> Bench {
    let value = Bytes::from(vec![b'v'; 64]);
    let response = || {
        let response = pb::RawGetResponse { value: value.clone(), ..Default::default() };
        let cmd = batch_commands_response::response::Cmd::RawGet(response);
        batch_commands_response::Response { cmd: Some(cmd) }
    };
    let frame = BatchCommandsResponse {
        responses: (0..FRAME).map(|_| response()).collect(),
        request_ids: (0..FRAME).collect(),
        ..Default::default()
    };
    let frame = Bytes::from(frame.encode_to_vec());
    let mut reader = FrameReader::default();
    Bench::new(FRAME, move || reader.read(&frame).map(Iterator::count))
}

fn codec_encode() -> Bench {
    let (key, mut to) = (key(1), Vec::with_capacity(64));
    let key = key.as_slice()[..24].to_vec();
    Bench::new(1, move || {
        to.clear();
        memcomparable::encode_into(std::hint::black_box(&key), &mut to);
        to.len()
    })
}

fn codec_decode() -> Bench {
    let encoded = memcomparable::encode(&key(1).as_slice()[..24]);
    Bench::new(1, move || memcomparable::decode(std::hint::black_box(&encoded)).map(|(key, _)| key.len()))
}

fn buffer() -> MemBuf {
    MemBuf::new(Limits { key: 1 << 10, entry: 1 << 20, total: 1 << 30, redacted: false })
}

fn filled(keys: &[Key]) -> MemBuf {
    let (mut buffer, value) = (buffer(), Bytes::from_static(&[b'v'; 64]));
    let put = |key: &Key| buffer.put(key.clone(), value.clone());
    // Keys and values are within the limits; a bench of a buffer that is not full would show itself as too quick.
    drop(keys.iter().try_for_each(put));
    buffer
}

fn membuf_put() -> Bench {
    let keys: Vec<Key> = scattered(KEYS, KEYS).map(key).collect();
    Bench::new(KEYS as u64, move || filled(&keys).len())
}

fn membuf_get() -> Bench {
    let keys: Arc<[Key]> = scattered(KEYS, KEYS).map(key).collect();
    let buffer = filled(&keys);
    Bench::new(KEYS as u64, move || keys.iter().filter(|key| buffer.get(key).is_some()).count())
}
