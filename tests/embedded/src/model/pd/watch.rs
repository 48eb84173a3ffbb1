//! Watches: streams on which PD tells what changes.
//!
//! A [`Watch`] is a cursor over the log of PD's keys. Who serves the stream asks [`Pd::watched`] for the next answer
//! whenever PD's revision has moved; nothing in the model knows who watches, so a watcher that goes away leaves nothing.
//!
//! PD: `pkg/mcs/metastorage/server/grpc_service.go: Watch`, `server/grpc_service.go: WatchGlobalConfig`,
//! `server/keyspace_service.go: WatchKeyspaces`.

use bytes::Bytes;
use tikv_proto::{keyspacepb, meta_storagepb, methods, pdpb};

use super::kv::{Change, KeyValue, KvError, Span};
use super::{Asked, Headed, Pd, decode, encode};
use crate::model::status::{Code, Status};

/// The methods that watch.
pub const METHODS: &[&str] = &[
    methods::pd::WATCH_GLOBAL_CONFIG,
    methods::pd::WATCH_GC_SAFE_POINT_V2,
    methods::keyspace::WATCH_KEYSPACES,
    methods::meta_storage::WATCH,
];

/// How far a stream that watches has been told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    kind: Kind,
    span: Span,
    /// The first revision that has not been told.
    next: i64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Meta { prev_kv: bool },
    Settings,
    Keyspaces,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// All that is there is told first.
    All,
    /// Then what changes.
    Changes,
    /// It has been told that it asked for what is compacted; the stream ends.
    Ending,
    Ended,
}

impl Pd {
    /// Opens a stream of one of [`METHODS`].
    ///
    /// # Errors
    /// The status that the stream ends with at once.
    pub fn watch(&mut self, asked: Asked<'_>, path: &str, body: &Bytes) -> Result<Watch, Status> {
        self.tick(asked.topology, asked.now);
        let opened = |kind, span, next, stage| Ok(Watch { kind, span, next, stage });
        let from_now = self.keys.revision() + 1;
        match path {
            methods::meta_storage::WATCH => {
                self.check_leads(asked.member)?;
                let request: meta_storagepb::WatchRequest = decode(body)?;
                let next = if request.start_revision == 0 { from_now } else { request.start_revision };
                let span = Span::new(request.key, request.range_end);
                opened(Kind::Meta { prev_kv: request.prev_kv }, span, next, Stage::Changes)
            }
            methods::pd::WATCH_GLOBAL_CONFIG => {
                let request: pdpb::WatchGlobalConfigRequest = decode(body)?;
                let path = super::config::settings_path(&request.config_path)?;
                let next = if request.revision == 0 { from_now } else { request.revision };
                opened(Kind::Settings, Span::prefix(&path), next, Stage::Changes)
            }
            methods::keyspace::WATCH_KEYSPACES => {
                self.check_leads(asked.member)?;
                let request: keyspacepb::WatchKeyspacesRequest = decode(body)?;
                self.check_cluster(request.cluster_id())?;
                opened(Kind::Keyspaces, Span::prefix(&self.keyspace_prefix()), from_now, Stage::All)
            }
            methods::pd::WATCH_GC_SAFE_POINT_V2 => Err(Status::new(
                Code::Unimplemented,
                "WatchGCSafePointV2 is obsolete. Poll GetAllKeyspacesGCStates instead if necessary",
            )),
            _ => Err(Status::unimplemented(path)),
        }
    }

    /// The next answer on a stream that watches, if there is something to tell; with an error the stream ends.
    pub fn watched(&self, watch: &mut Watch) -> Option<Result<Bytes, Status>> {
        loop {
            match watch.stage {
                Stage::Ended => return None,
                Stage::Ending => {
                    watch.stage = Stage::Ended;
                    return Some(Err(Status::unknown(KvError::Compacted.to_string())));
                }
                Stage::All => {
                    watch.stage = Stage::Changes;
                    watch.next = self.keys.revision() + 1;
                    let all: Vec<_> = self.keyspaces.all().cloned().collect();
                    if !all.is_empty() {
                        return Some(Ok(encode(&self.watched_keyspaces(all))));
                    }
                }
                Stage::Changes if watch.next < self.keys.compacted() => {
                    watch.stage = Stage::Ending;
                    return Some(Ok(self.compacted_answer(watch)));
                }
                Stage::Changes => {
                    let (revision, changes) = self.keys.changes_from(watch.next, &watch.span)?;
                    watch.next = revision + 1;
                    if let Some(answer) = self.change_answer(watch.kind, revision, changes) {
                        return Some(Ok(answer));
                    }
                }
            }
        }
    }

    fn change_answer(&self, kind: Kind, revision: i64, changes: Vec<Change>) -> Option<Bytes> {
        match kind {
            Kind::Meta { prev_kv } => {
                let header = Some(self.meta_header(revision, None));
                let events = changes.into_iter().map(|change| meta_event(change, prev_kv)).collect();
                Some(encode(&meta_storagepb::WatchResponse { header, events, compact_revision: 0 }))
            }
            Kind::Settings => {
                let changes: Vec<_> = changes.into_iter().filter_map(setting).collect();
                let answer = pdpb::WatchGlobalConfigResponse { changes, revision, ..Default::default() };
                (!answer.changes.is_empty()).then(|| encode(&answer))
            }
            Kind::Keyspaces => {
                let written = changes.into_iter().filter(|change| !change.deleted);
                let metas: Vec<_> = written.filter_map(|change| decode(&change.now.value).ok()).collect();
                (!metas.is_empty()).then(|| encode(&self.watched_keyspaces(metas)))
            }
        }
    }

    fn watched_keyspaces(
        &self,
        keyspaces: Vec<keyspacepb::KeyspaceMeta>,
    ) -> keyspacepb::WatchKeyspacesResponse {
        keyspacepb::WatchKeyspacesResponse { header: Some(self.header(None)), keyspaces }
    }

    fn compacted_answer(&self, watch: &Watch) -> Bytes {
        let compacted = self.keys.compacted();
        let message = format!(
            "required watch revision: {} is smaller than current compact/min revision {compacted}.",
            watch.next
        );
        match watch.kind {
            Kind::Meta { .. } => {
                let kind = meta_storagepb::ErrorType::DataCompacted.into();
                let error = meta_storagepb::Error { r#type: kind, message };
                let header = Some(self.meta_header(self.keys.revision(), Some(error)));
                encode(&meta_storagepb::WatchResponse {
                    header,
                    compact_revision: compacted,
                    events: Vec::new(),
                })
            }
            Kind::Settings | Kind::Keyspaces => {
                let error = pdpb::Error { r#type: pdpb::ErrorType::DataCompacted.into(), message };
                let header = Some(self.header(Some(error)));
                encode(&pdpb::WatchGlobalConfigResponse { header, ..Default::default() })
            }
        }
    }
}

fn setting(change: Change) -> Option<pdpb::GlobalConfigItem> {
    let (kind, payload) = if change.deleted {
        (pdpb::EventType::Delete, change.before?.value)
    } else {
        (pdpb::EventType::Put, change.now.value)
    };
    let name = String::from_utf8_lossy(&change.now.key).into_owned();
    Some(pdpb::GlobalConfigItem { name, payload, kind: kind.into(), ..Default::default() })
}

/// The event of a change; what was there before holds key and value only.
fn meta_event(change: Change, prev_kv: bool) -> meta_storagepb::Event {
    let kind = if change.deleted {
        meta_storagepb::event::EventType::Delete
    } else {
        meta_storagepb::event::EventType::Put
    };
    let KeyValue { key, value, created, modified, version, lease } = change.now;
    let kv = meta_storagepb::KeyValue {
        key,
        value,
        create_revision: created,
        mod_revision: modified,
        version,
        lease,
    };
    let before = change.before.filter(|_| prev_kv);
    meta_storagepb::Event { r#type: kind.into(), kv: Some(kv), prev_kv: before.map(super::meta::bare) }
}
