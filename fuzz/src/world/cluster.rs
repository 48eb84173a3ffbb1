//! A cluster (the embedded model), this client's directory, and the ways between them.
//!
//! A request is executed and answered, or meets a `Fate`: lost on its way or on the way back, late (executed when nobody
//! waits any more), refused by a region error, answered with garbage. `Known` says what the client may conclude.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_client_core::codec::Mode;
use tikv_client_core::machine::{
    Answer, Attempt, Completion, Facts, Fault, Feedback, Interrupt, Place, Question, TransportClass,
    TransportFault,
};
use tikv_client_core::region::Directory;
use tikv_client_core::request::{Request, append_context};
use tikv_client_core::types::{
    Instant, Key, KeyRange, Located, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, Replicas,
    StoreId, Timestamp,
};
use tikv_embedded::model::{Call, Cluster, Command, Layout, Member, Met, Now, Pd, Region, Reply, Topology};
use tikv_proto::errorpb;

use crate::choices::Choices;

/// When the cluster's clock stands at the client's beginning.
const EPOCH: Duration = Duration::from_secs(1_000_000);

const STORES: u64 = 3;

/// The client's directory as facts.
#[derive(Debug)]
pub(crate) struct Tables(pub(crate) Directory);

impl Facts for Tables {
    fn locate(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.locate(key, now)
    }
    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.locate_below(key, now)
    }
    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        self.0.span(region)
    }
    fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        self.0.replicas(region)
    }
    fn report(&self, feedback: &Feedback, now: Instant) {
        self.0.apply(feedback, now);
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// Never executed.
    LostBefore,
    /// Executed at some later time.
    Late,
    /// Executed, and the answer is lost.
    LostAfter,
    Unreachable,
    Refused,
    /// The store says that it does not know whether it executed the write.
    Undetermined {
        executed: bool,
    },
    /// gRPC status.
    Status {
        executed: bool,
    },
    Garbage {
        executed: bool,
    },
}

/// What the client may conclude from a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Whether the request was executed.
    Certain,
    /// Nothing.
    Uncertain,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) tables: Tables,
    pub(crate) now: Instant,
    /// Requests that nobody waits for any more and that may still arrive.
    pub(crate) late: Vec<(u64, Command)>,
    /// What PD knows, when it lags.
    lagging: Option<Topology>,
}

impl World {
    pub(crate) fn new(bounds: &[Key]) -> Self {
        let addresses = (1..=STORES).map(|n| format!("store:{n}")).collect();
        let mut layout = Layout::new(addresses, 3);
        layout.bounds = bounds.iter().map(|key| Mode::Txn.encode_key(key)).collect();
        let pd = Pd::new(7, Vec::<Member>::new(), 3);
        Self {
            cluster: Cluster::new(layout.build(), pd),
            tables: Tables(Directory::new(Mode::Txn)),
            now: Instant(0),
            late: Vec::new(),
            lagging: None,
        }
    }

    pub(crate) fn clock(&self) -> Now {
        Now::from_unix(EPOCH + Duration::from_nanos(self.now.0))
    }

    pub(crate) fn timestamp(&mut self) -> Timestamp {
        let clock = self.clock();
        let (physical, logical) = self.cluster.pd.oracle.draw(clock, 1).expect("one timestamp");
        Timestamp::compose(physical, logical.into())
    }

    /// What a store that was sent `command` answers.
    pub(crate) fn run(&mut self, store: u64, command: Command) -> Result<Bytes, TransportFault> {
        let clock = self.clock();
        let status = |code: u8, text: String| TransportFault::new(TransportClass::Rejected(code), text);
        match self.cluster.call(clock, Call::Store { store, command: Box::new(command) }) {
            Met::Now(Reply::Store(answer)) => Ok(answer.encode()),
            Met::Now(Reply::Fail(failed)) => Err(status(failed.code as u8, failed.message)),
            other => panic!("a store without faults gives {other:?}"),
        }
    }

    /// The request as it arrives.
    pub(crate) fn command(attempt: &Attempt, request: &Request) -> Command {
        let mut body = request.body().to_vec();
        append_context(request.profile(), attempt, &mut body);
        Command::decode(request.command().path(), body.into()).expect("the store understands our requests")
    }

    /// Completes a call by choice; without choices it is answered.
    pub(crate) fn call(
        &mut self,
        attempt: &Attempt,
        request: &Request,
        choices: Option<&mut Choices<'_>>,
    ) -> (Completion, Known) {
        let store = attempt.to.store.0;
        let command = Self::command(attempt, request);
        let Some(choices) = choices else { return (self.answered(store, command), Known::Certain) };
        let fault = |class| Completion::Fault(Fault::Transport(TransportFault::new(class, "fuzz")));
        let lost =
            |choices: &mut Choices<'_>| fault(*choices.of(&[TransportClass::Lost, TransportClass::TimedOut]));
        let executed = choices.one_in(2);
        let fate = match choices.below(20) {
            0..11 => Fate::Answered,
            11 => Fate::LostBefore,
            12 | 13 => Fate::Late,
            14 => Fate::LostAfter,
            15 => Fate::Unreachable,
            16 | 17 => Fate::Refused,
            18 => Fate::Undetermined { executed },
            _ if choices.one_in(2) => Fate::Status { executed },
            _ => Fate::Garbage { executed },
        };
        match fate {
            Fate::Answered => (self.answered(store, command), Known::Certain),
            Fate::LostBefore => (lost(choices), Known::Uncertain),
            Fate::Late => {
                self.late.push((store, command));
                (lost(choices), Known::Uncertain)
            }
            Fate::LostAfter => {
                drop(self.run(store, command));
                (lost(choices), Known::Uncertain)
            }
            Fate::Unreachable => (fault(TransportClass::Unreachable), Known::Certain),
            Fate::Refused => (Completion::Response(refused(&refusal(choices))), Known::Certain),
            Fate::Undetermined { executed } => {
                if executed {
                    drop(self.run(store, command));
                }
                let undetermined_result = Some(errorpb::UndeterminedResult::default());
                let error = errorpb::Error { undetermined_result, ..Default::default() };
                (Completion::Response(refused(&error)), Known::Uncertain)
            }
            Fate::Status { executed } => {
                if executed {
                    drop(self.run(store, command));
                }
                (fault(TransportClass::Rejected(*choices.of(&[14, 8, 2, 12]))), Known::Uncertain)
            }
            Fate::Garbage { executed } => {
                if executed {
                    drop(self.run(store, command));
                }
                // A message that is cut.
                (Completion::Response(Bytes::from_static(b"\x0a\xff")), Known::Uncertain)
            }
        }
    }

    fn answered(&mut self, store: u64, command: Command) -> Completion {
        match self.run(store, command) {
            Ok(body) => Completion::Response(body),
            Err(fault) => Completion::Fault(Fault::Transport(fault)),
        }
    }

    /// A request that nobody waits for arrives.
    pub(crate) fn arrive(&mut self, at: usize) {
        let (store, command) = self.late.remove(at);
        drop(self.run(store, command));
    }

    /// Completes a question by choice; without choices it is answered.
    pub(crate) fn ask(&mut self, question: &Question, choices: Option<&mut Choices<'_>>) -> Completion {
        if let Some(choices) = choices {
            match choices.below(24) {
                0 => return Completion::Fault(Fault::Overloaded),
                1 => return Completion::Fault(Fault::Interrupted(Interrupt::Closed)),
                2 => {
                    return Completion::Fault(Fault::Transport(TransportFault::new(
                        TransportClass::TimedOut,
                        "pd",
                    )));
                }
                _ => {}
            }
        }
        Completion::Answer(match question {
            Question::Timestamp => Answer::Timestamp(self.timestamp()),
            Question::Region(place) => Answer::Region(self.load(place)),
            Question::Regions { range, limit } => {
                let start = Mode::Txn.encode_key(&range.start);
                let known = self.lagging.as_ref().unwrap_or(&self.cluster.topology);
                let within = |info: &RegionInfo| range.end.is_empty() || info.range.start < range.end;
                let regions: Vec<RegionInfo> = known
                    .regions_from(&start)
                    .filter_map(info)
                    .take_while(within)
                    .take(*limit as usize)
                    .collect();
                let found = regions.iter().map(|info| (located(info), info.range.clone())).collect();
                self.loaded(regions);
                Answer::Regions(found)
            }
            other => panic!("nobody asks {other:?}"),
        })
    }

    fn load(&self, place: &Place) -> Located {
        let known = self.lagging.as_ref().unwrap_or(&self.cluster.topology);
        let region = match place {
            Place::Holding(key) => known.region_at(&Mode::Txn.encode_key(key)),
            Place::Below(key) if key.is_empty() => known.regions().next_back(),
            Place::Below(key) => {
                let key = Mode::Txn.encode_key(key);
                known.region_at(&key).and_then(|at| if at.start < key { Some(at) } else { known.left_of(at) })
            }
            other => panic!("nobody asks for {other:?}"),
        };
        let info = region.and_then(info).expect("every key has a region");
        let to = located(&info);
        self.loaded(vec![info]);
        to
    }

    fn loaded(&self, regions: Vec<RegionInfo>) {
        let expires = self.now + Duration::from_secs(600);
        self.tables.0.apply(&Feedback::Loaded { regions: regions.into(), expires }, self.now);
    }

    /// Regions split and merge, leaders move and are gone, PD lags.
    pub(crate) fn shake(&mut self, choices: &mut Choices<'_>) {
        let topology = &mut self.cluster.topology;
        let ids: Vec<u64> = topology.regions().map(|region| region.id).collect();
        let region = *choices.of(&ids);
        // What cannot be changed so stays as it is.
        match choices.below(8) {
            0..3 => drop(topology.split(region, &[Mode::Txn.encode_key(&choices.key())])),
            3 => drop(topology.merge(region, *choices.of(&ids))),
            4 | 5 => drop(topology.transfer_leader(region, 1 + choices.below(3) as u64)),
            6 => drop(topology.drop_leader(region)),
            _ if self.lagging.is_some() => self.lagging = None,
            _ => self.lagging = Some(topology.clone()),
        }
    }

    /// All is well again: each region has a leader, PD knows all.
    pub(crate) fn heal(&mut self) {
        self.lagging = None;
        let topology = &mut self.cluster.topology;
        let leaderless: Vec<u64> =
            topology.regions().filter(|region| region.leader.is_none()).map(|region| region.id).collect();
        for region in leaderless {
            topology.transfer_leader(region, 1).expect("every region has a voter on every store");
        }
    }
}

/// A response with nothing but this region error, which every response has in the same field.
pub(crate) fn refused(error: &errorpb::Error) -> Bytes {
    let mut wire = Vec::new();
    prost::encoding::message::encode(1, error, &mut wire);
    wire.into()
}

/// A region error that says that nothing was executed.
fn refusal(choices: &mut Choices<'_>) -> errorpb::Error {
    let mut error = errorpb::Error::default();
    match choices.below(10) {
        0 => error.server_is_busy = Some(errorpb::ServerIsBusy::default()),
        1 => error.region_not_found = Some(errorpb::RegionNotFound::default()),
        2 => error.not_leader = Some(errorpb::NotLeader::default()),
        3 => error.stale_command = Some(errorpb::StaleCommand::default()),
        4 => error.epoch_not_match = Some(errorpb::EpochNotMatch::default()),
        5 => error.max_timestamp_not_synced = Some(errorpb::MaxTimestampNotSynced::default()),
        6 => error.disk_full = Some(errorpb::DiskFull::default()),
        7 => error.raft_entry_too_large = Some(errorpb::RaftEntryTooLarge::default()),
        8 => error.flashback_in_progress = Some(errorpb::FlashbackInProgress::default()),
        _ => error.message = "server is closing".into(),
    }
    error
}

fn info(region: &Region) -> Option<RegionInfo> {
    let peer = |peer: &tikv_embedded::model::Peer| Peer {
        id: PeerId(peer.id),
        store: StoreId(peer.store),
        role: PeerRole::Voter,
    };
    Some(RegionInfo {
        version: RegionVersion {
            id: RegionId(region.id),
            version: region.version,
            conf_ver: region.conf_ver,
        },
        range: Mode::Txn.ceil_range(&region.start, &region.end)?,
        peers: region.peers.iter().map(peer).collect(),
        leader: region.leader.map(PeerId),
    })
}

fn located(info: &RegionInfo) -> Located {
    let peer = info.peers.iter().find(|peer| Some(peer.id) == info.leader).or_else(|| info.peers.first());
    let peer = peer.expect("a region has peers");
    Located { region: info.version, peer: peer.id, store: peer.store }
}

/// Decodes a request's body.
pub(crate) fn decoded<M: Message + Default>(request: &Request) -> M {
    M::decode(request.body().clone()).expect("our own request")
}
