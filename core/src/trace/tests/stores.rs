//! What the world's stores answer: anything that a store can, drawn at random.

use bytes::Bytes;
use prost::Message;
use tikv_proto::{errorpb, kvrpcpb as pb, metapb};

use super::world::World;
use crate::codec::Mode;
use crate::machine::{Completion, Fault, TransportClass, TransportFault};
use crate::request::{Command, Request};
use crate::types::{KvPair, Peer, RegionInfo};

impl World {
    pub(super) fn respond(&mut self, request: &Request, mode: Mode) -> Completion {
        if self.chance(8) {
            let class = [
                TransportClass::Unreachable,
                TransportClass::Lost,
                TransportClass::TimedOut,
                TransportClass::Rejected(8),
            ];
            let class = class[self.rng.usize(..4)];
            // A store that ends a stream may say anything.
            let words = format!("127.0.0.1:20160: refused for the key {}a", self.mark);
            return Completion::Fault(Fault::Transport(TransportFault::new(class, words)));
        }
        let region_error = if self.chance(15) { Some(Box::new(self.region_error(mode))) } else { None };
        let error = if self.chance(15) { Some(self.key_error()) } else { None };
        let mut body = self.response(request, error);
        if let Some(error) = region_error {
            let mut wire = Vec::new();
            prost::encoding::message::encode(1, &*error, &mut wire);
            body = wire.into();
        }
        Completion::Response(body)
    }

    fn region_error(&mut self, mode: Mode) -> errorpb::Error {
        let message = "key 6161 is not in region, says the store".to_owned();
        let error = errorpb::Error { message, ..Default::default() };
        match self.rng.u8(..4) {
            0 => {
                let leader = metapb::Peer { id: self.rng.u64(1..99), store_id: 2, ..Default::default() };
                errorpb::Error {
                    not_leader: Some(errorpb::NotLeader { region_id: 1, leader: Some(leader) }),
                    ..error
                }
            }
            1 => {
                let wire = |info: RegionInfo| {
                    let (start_key, end_key) = mode.encode_range(&info.range);
                    let peer = |peer: &Peer| metapb::Peer {
                        id: peer.id.0,
                        store_id: peer.store.0,
                        ..Default::default()
                    };
                    metapb::Region {
                        id: info.version.id.0,
                        start_key,
                        end_key,
                        region_epoch: Some(metapb::RegionEpoch {
                            version: info.version.version,
                            conf_ver: 1,
                        }),
                        peers: info.peers.iter().map(peer).collect(),
                        ..Default::default()
                    }
                };
                let current_regions = self.regions().into_iter().map(wire).collect();
                errorpb::Error { epoch_not_match: Some(errorpb::EpochNotMatch { current_regions }), ..error }
            }
            2 => errorpb::Error { region_not_found: Some(errorpb::RegionNotFound::default()), ..error },
            _ => {
                let busy = errorpb::ServerIsBusy { reason: "too much".into(), ..Default::default() };
                errorpb::Error { server_is_busy: Some(busy), ..error }
            }
        }
    }

    fn key_error(&mut self) -> pb::KeyError {
        let (key, ts) = (self.key().0, self.ts().0);
        match self.rng.u8(..6) {
            0..3 => pb::KeyError { locked: Some(Box::new(self.lock(key))), ..Default::default() },
            3 => {
                let conflict = pb::WriteConflict {
                    key: key.clone(),
                    primary: key,
                    conflict_ts: ts,
                    ..Default::default()
                };
                pb::KeyError { conflict: Some(conflict), ..Default::default() }
            }
            4 => pb::KeyError { already_exist: Some(pb::AlreadyExist { key }), ..Default::default() },
            _ => pb::KeyError { abort: "key 61 is bad".into(), ..Default::default() },
        }
    }

    fn lock(&mut self, key: Bytes) -> pb::LockInfo {
        pb::LockInfo {
            key,
            primary_lock: self.key().0,
            lock_version: self.ts().0,
            lock_ttl: self.rng.u64(..2000),
            txn_size: 1,
            use_async_commit: self.rng.bool(),
            secondaries: self.keys().into_iter().map(|key| key.0).collect(),
            ..Default::default()
        }
    }

    fn wire_pairs(&mut self, error: Option<pb::KeyError>) -> Vec<pb::KvPair> {
        let pair = |pair: KvPair| pb::KvPair { key: pair.key.0, value: pair.value, ..Default::default() };
        let mut pairs = self.pairs();
        pairs.sort();
        let mut pairs: Vec<_> = pairs.into_iter().map(pair).collect();
        if let (Some(error), Some(pair)) = (error, pairs.first_mut()) {
            pair.error = Some(Box::new(error));
        }
        pairs
    }

    fn response(&mut self, request: &Request, key_error: Option<pb::KeyError>) -> Bytes {
        let error = key_error.clone().map(Box::new);
        let errors: Vec<_> = key_error.clone().into_iter().collect();
        let text = if key_error.is_some() && self.chance(50) { "raw 61 went wrong" } else { "" }.to_owned();
        macro_rules! response {
            ($name:ident { $($field:ident: $value:expr),* $(,)? }) => {
                pb::$name { $($field: $value,)* ..Default::default() }.encode_to_vec()
            };
        }
        match request.command() {
            Command::Get => response!(GetResponse { error: error, value: self.value() }),
            Command::Scan => response!(ScanResponse { pairs: self.wire_pairs(key_error) }),
            Command::BatchGet => response!(BatchGetResponse { pairs: self.wire_pairs(key_error) }),
            Command::Prewrite => response!(PrewriteResponse { errors: errors }),
            Command::Commit => response!(CommitResponse { error: error }),
            Command::BatchRollback => response!(BatchRollbackResponse { error: error }),
            Command::ResolveLock => response!(ResolveLockResponse { error: error }),
            Command::SplitRegion => response!(SplitRegionResponse { errors: errors }),
            Command::PessimisticRollback => response!(PessimisticRollbackResponse { errors: errors }),
            Command::CheckTxnStatus => {
                let key = self.key().0;
                let lock_info = if self.rng.bool() { Some(self.lock(key)) } else { None };
                let (commit_version, lock_ttl) = (self.rng.u64(..2), self.rng.u64(..2) * 500);
                response!(CheckTxnStatusResponse {
                    error: error,
                    lock_info: lock_info,
                    commit_version: commit_version,
                    lock_ttl: lock_ttl
                })
            }
            Command::CheckSecondaryLocks => {
                let key = self.key().0;
                response!(CheckSecondaryLocksResponse {
                    locks: vec![self.lock(key)],
                    commit_ts: self.rng.u64(..2)
                })
            }
            Command::RawGet => {
                response!(RawGetResponse { error: text, value: self.value(), not_found: self.rng.bool() })
            }
            Command::RawBatchGet => response!(RawBatchGetResponse { pairs: self.wire_pairs(key_error) }),
            Command::RawScan => response!(RawScanResponse { kvs: self.wire_pairs(key_error) }),
            Command::RawPut => response!(RawPutResponse { error: text }),
            Command::RawBatchPut => response!(RawBatchPutResponse { error: text }),
            Command::RawDelete => response!(RawDeleteResponse { error: text }),
            Command::RawBatchDelete => response!(RawBatchDeleteResponse { error: text }),
            Command::RawDeleteRange => response!(RawDeleteRangeResponse { error: text }),
            _ => panic!("no operation sends {request:?}"),
        }
        .into()
    }
}
