//! What can be done to a cluster, as one line of text: a verb and `name=value` pairs.
//!
//! Scripts and the admin port speak it; [`EXAMPLES`] shows every verb. Reading an instruction does nothing to a
//! cluster, so a text is known to be right as a whole before any of it is carried out.

use std::time::Duration;

use bytes::Bytes;
use tikv_proto::kvrpcpb::{CommandPri, DiskFullOpt};

use super::action_text::action;
use super::words::{
    Words, disk, duration, key, key_range, labels, node, number, or_off, role, store_state, two_stores, yes,
};
use super::{Matcher, Node, Rule, Trait};
use crate::model::{Disk, PeerRole, StoreState};

/// One of each instruction, with all that it can be given.
pub const EXAMPLES: &str = include_str!("examples.txt");

/// Which region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Where {
    /// The one of this id.
    Region(u64),
    /// The one that holds this transactional key.
    Key(Bytes),
    /// The one that holds this key in region form.
    Raw(Bytes),
}

/// Something to do to a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields say what they are")]
#[allow(clippy::large_enum_variant, reason = "there are few, and a rule is made once")]
pub enum Instruction {
    /// Starts another store, without regions.
    AddStore { labels: Vec<(String, String)> },
    /// Closes a server: its connections end, dials are refused.
    Stop { node: Node },
    /// Opens a stopped server again at its address.
    Restart { node: Node },
    /// Breaks a server's connections; it goes on listening.
    Disconnect { node: Node },
    /// No byte comes from or goes to a server any more, and nobody is told.
    Partition { node: Node },
    /// Ends a partition; what was on its way arrives.
    Heal { node: Node },
    /// Gives a store another address.
    Move { store: u64 },
    /// Two stores change addresses.
    Swap { stores: (u64, u64) },
    /// PD tells this address of a store, whatever is there.
    TellAddress { store: u64, address: String },
    /// A store is removed as an operator does it: it is a tombstone once it has no peer.
    RemoveStore { store: u64 },
    /// Leaders that are stopped are followed by others after so long: PD's, and those of regions.
    SetElections { pd: Duration, region: Duration },
    /// PD tells this state of a store.
    SetState { store: u64, state: StoreState },
    /// Other stores lead the regions that this one led.
    FailOver { store: u64 },
    /// The peer on the store leads the region.
    TransferLeader { region: Where, store: u64 },
    /// Nobody leads the region.
    DropLeader { region: Where },
    /// A region begins at the key.
    Split { at: Where },
    /// A region becomes part of its neighbour.
    Merge { source: Where, target: u64 },
    /// The region gets a peer on the store.
    AddPeer { region: Where, store: u64, role: PeerRole },
    /// The region's peer on the store gets another role.
    SetRole { region: Where, store: u64, role: PeerRole },
    /// The region's peer on one store moves to another.
    MovePeer { region: Where, from: u64, to: u64 },
    /// The region loses its peer on the store.
    RemovePeer { region: Where, store: u64 },
    /// The PD member of this index leads, or none.
    PdLeader { member: Option<usize> },
    /// PD goes on telling the regions as they are now.
    FreezeRegions,
    /// PD knows the regions again.
    ThawRegions,
    /// PD has not heard of the region.
    HideRegion { region: Where },
    /// PD hears of the region again.
    ShowRegion { region: Where },
    /// PD forgets who leads the regions.
    ForgetLeaders,
    /// PD hears of all leaders again.
    RestoreLeaders,
    /// Each step of an operator of PD takes so long.
    OperatorStep { by: Duration },
    /// Moves the cluster's clock forward.
    AdvanceClock { by: Duration },
    /// Moves the cluster's clock back.
    SetClockBack { by: Duration },
    /// A store begins everything so much later.
    Slow { store: u64, by: Option<Duration> },
    /// A read on the store would wait so long; one that would rather not is refused.
    Busy { store: u64, wait: Option<Duration> },
    /// How full a store's disk is.
    Disk { store: u64, is: Disk },
    /// Replicas on the store, of one region or of all, are so far behind.
    Lag { region: Option<Where>, store: u64, by: Option<Duration> },
    /// Up to where the region's replica on the store serves stale reads.
    SafeTs { region: Where, store: u64, ts: Option<u64> },
    /// Whether the region's replica on the store is without data.
    Uninitialised { region: Where, store: u64, is: bool },
    /// Whether the region's leader does not know how high timestamps have come.
    MaxTsUnsynced { region: Where, is: bool },
    /// Whether the region is being recovered without its majority.
    Recovering { region: Where, is: bool },
    /// The longest write that a region takes.
    EntryLimit { bytes: usize },
    /// Whether the physical part of timestamps stands still.
    FreezeTimestamps { is: bool },
    /// Moves timestamps ahead.
    JumpTimestamps { by: Duration },
    /// What PD tells as a store's least resolved timestamp.
    MinResolvedTs { store: u64, ts: Option<u64> },
    /// All HTTP requests to PD fail with this status.
    FailHttp { status: Option<u16> },
    /// What a store says of itself, 1 (well) to 100.
    SlowScore { store: u64, score: i32 },
    /// The region's leader reports its buckets, whose bounds these are, to PD.
    ReportBuckets { region: Where, version: u64, bounds: Vec<Bytes> },
    /// Creates a keyspace with its region bounds.
    CreateKeyspace { name: String, config: Vec<(String, String)> },
    /// What a resource group may use a second, and in a burst (0: no more than that, -1: any amount).
    SetResourceGroup { name: String, ru: u64, burst: i64 },
    /// The region's leader loses the pessimistic locks that only it knows.
    LoseMemoryLocks { region: Where },
    /// A rule under this name, instead of any other of the name.
    Fault { name: String, rule: Rule },
    /// Takes a named rule away; calls that it holds go on.
    EndFault { name: String },
    /// Waits until a named rule has acted so often.
    Wait { name: String, hits: u64, within: Duration },
    /// Does nothing for a while.
    Pause { by: Duration },
}

/// Why a line is no instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadInstruction {
    /// It has no word.
    #[error("no instruction")]
    Empty,
    /// No verb of this name.
    #[error("unknown instruction {verb:?}")]
    Verb {
        /// The first word.
        verb: String,
    },
    /// The verb needs this.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// A value that cannot be read.
    #[error("{what}={value:?} makes no sense")]
    Value {
        /// Of what.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// Something that the verb does not take.
    #[error("{what:?} does not belong here")]
    Unknown {
        /// What.
        what: String,
    },
    /// The same name twice.
    #[error("{what} is given twice")]
    Twice {
        /// What.
        what: String,
    },
}

impl std::str::FromStr for Instruction {
    type Err = BadInstruction;

    fn from_str(line: &str) -> Result<Self, BadInstruction> {
        let mut words = Words::read(line)?;
        let instruction = read(&mut words)?;
        words.done()?;
        Ok(instruction)
    }
}

fn read(words: &mut Words<'_>) -> Result<Instruction, BadInstruction> {
    use Instruction as I;
    Ok(match words.verb() {
        "add-store" => I::AddStore { labels: words.maybe("labels", labels)?.unwrap_or_default() },
        "stop" => I::Stop { node: server(words)? },
        "restart" => I::Restart { node: server(words)? },
        "disconnect" => I::Disconnect { node: server(words)? },
        "partition" => I::Partition { node: server(words)? },
        "heal" => I::Heal { node: server(words)? },
        "move" => I::Move { store: store(words)? },
        "swap" => I::Swap { stores: words.must("stores", two_stores)? },
        "tell-address" => {
            let address = words.must("address", owned)?;
            I::TellAddress { store: store(words)?, address }
        }
        "set-state" => I::SetState { store: store(words)?, state: words.must("state", store_state)? },
        "remove-store" => I::RemoveStore { store: store(words)? },
        "set-elections" => {
            I::SetElections { pd: words.must("pd", duration)?, region: words.must("region", duration)? }
        }
        "fail-over" => I::FailOver { store: store(words)? },
        "transfer-leader" => I::TransferLeader { region: place(words)?, store: store(words)? },
        "drop-leader" => I::DropLeader { region: place(words)? },
        "split" => match place(words)? {
            Where::Region(_) => return Err(BadInstruction::Missing { what: "key or raw" }),
            at => I::Split { at },
        },
        "merge" => I::Merge { source: place(words)?, target: words.must("into", number)? },
        "add-peer" => {
            let role = words.maybe("role", role)?.unwrap_or_default();
            I::AddPeer { region: place(words)?, store: store(words)?, role }
        }
        "set-role" => {
            let role = words.must("role", role)?;
            I::SetRole { region: place(words)?, store: store(words)?, role }
        }
        "move-peer" => {
            let to = words.must("to", number)?;
            I::MovePeer { region: place(words)?, from: store(words)?, to }
        }
        "remove-peer" => I::RemovePeer { region: place(words)?, store: store(words)? },
        "pd-leader" => {
            let member = |text: &str| if text == "none" { Some(None) } else { number(text).map(Some) };
            I::PdLeader { member: words.must("member", member)? }
        }
        "freeze-regions" => I::FreezeRegions,
        "thaw-regions" => I::ThawRegions,
        "hide-region" => I::HideRegion { region: place(words)? },
        "show-region" => I::ShowRegion { region: place(words)? },
        "forget-leaders" => I::ForgetLeaders,
        "restore-leaders" => I::RestoreLeaders,
        "operator-step" => I::OperatorStep { by: words.must("by", duration)? },
        "advance-clock" => I::AdvanceClock { by: words.must("by", duration)? },
        "set-clock-back" => I::SetClockBack { by: words.must("by", duration)? },
        "slow" => I::Slow { store: store(words)?, by: words.must("by", or_off(duration))? },
        "busy" => I::Busy { store: store(words)?, wait: words.must("wait", or_off(duration))? },
        "disk" => I::Disk { store: store(words)?, is: words.must("is", disk)? },
        "lag" => {
            let by = words.must("by", or_off(duration))?;
            I::Lag { region: maybe_place(words)?, store: store(words)?, by }
        }
        "safe-ts" => {
            let ts = words.must("ts", or_off(number))?;
            I::SafeTs { region: place(words)?, store: store(words)?, ts }
        }
        "uninitialised" => {
            I::Uninitialised { region: place(words)?, store: store(words)?, is: words.must("is", yes)? }
        }
        "max-ts-unsynced" => I::MaxTsUnsynced { region: place(words)?, is: words.must("is", yes)? },
        "recovering" => I::Recovering { region: place(words)?, is: words.must("is", yes)? },
        "entry-limit" => I::EntryLimit { bytes: words.must("bytes", number)? },
        "freeze-timestamps" => I::FreezeTimestamps { is: words.must("is", yes)? },
        "jump-timestamps" => I::JumpTimestamps { by: words.must("by", duration)? },
        "min-resolved-ts" => I::MinResolvedTs { store: store(words)?, ts: words.must("ts", or_off(number))? },
        "fail-http" => I::FailHttp { status: words.must("status", or_off(number))? },
        "slow-score" => I::SlowScore { store: store(words)?, score: words.must("score", number)? },
        "report-buckets" => {
            let bounds = words.must("bounds", |text| text.split(',').map(key).collect())?;
            I::ReportBuckets { region: place(words)?, version: words.must("version", number)?, bounds }
        }
        "create-keyspace" => {
            let config = words.maybe("config", labels)?.unwrap_or_default();
            I::CreateKeyspace { name: words.must("name", owned)?, config }
        }
        "set-resource-group" => {
            let burst = words.maybe("burst", number)?.unwrap_or(0);
            I::SetResourceGroup { name: words.must("name", owned)?, ru: words.must("ru", number)?, burst }
        }
        "lose-memory-locks" => I::LoseMemoryLocks { region: place(words)? },
        "fault" => I::Fault { name: words.name()?, rule: rule(words)? },
        "end" => I::EndFault { name: words.name()? },
        "wait" => {
            let hits = words.maybe("hits", number)?.unwrap_or(1);
            I::Wait { name: words.name()?, hits, within: words.must("within", duration)? }
        }
        "pause" => I::Pause { by: words.must("by", duration)? },
        verb => return Err(BadInstruction::Verb { verb: verb.to_owned() }),
    })
}

#[allow(clippy::unnecessary_wraps, reason = "as all that read a value")]
fn owned(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn store(words: &mut Words<'_>) -> Result<u64, BadInstruction> {
    words.must("store", number)
}

/// One server, not a kind of them.
fn server(words: &mut Words<'_>) -> Result<Node, BadInstruction> {
    let one = |text: &str| node(text).filter(|node| !matches!(node, Node::AnyPd | Node::AnyStore));
    words.must("node", one)
}

fn place(words: &mut Words<'_>) -> Result<Where, BadInstruction> {
    maybe_place(words)?.ok_or(BadInstruction::Missing { what: "region, key or raw" })
}

fn maybe_place(words: &mut Words<'_>) -> Result<Option<Where>, BadInstruction> {
    if let Some(region) = words.maybe("region", number)? {
        return Ok(Some(Where::Region(region)));
    }
    if let Some(key) = words.maybe("key", key)? {
        return Ok(Some(Where::Key(key)));
    }
    Ok(words.maybe("raw", key)?.map(Where::Raw))
}

fn saying(text: &str) -> Option<Trait> {
    Some(match text.split_once(':') {
        None => match text {
            "replica-read" => Trait::ReplicaRead,
            "stale-read" => Trait::StaleRead,
            "retry" => Trait::Retry,
            _ => return None,
        },
        Some(("source", start)) => Trait::Source(start.to_owned()),
        Some(("group", name)) => Trait::ResourceGroup(name.to_owned()),
        Some(("priority", "low")) => Trait::Priority(CommandPri::Low),
        Some(("priority", "normal")) => Trait::Priority(CommandPri::Normal),
        Some(("priority", "high")) => Trait::Priority(CommandPri::High),
        Some(("disk-full", "almost-full")) => Trait::DiskFull(DiskFullOpt::AllowedOnAlmostFull),
        Some(("disk-full", "full")) => Trait::DiskFull(DiskFullOpt::AllowedOnAlreadyFull),
        Some(_) => return None,
    })
}

fn rule(words: &mut Words<'_>) -> Result<Rule, BadInstruction> {
    let mut matcher = Matcher::any();
    for method in words.word("on").into_iter().flat_map(|names| names.split(',')) {
        matcher = matcher.or_method(method);
    }
    if let Some(node) = words.maybe("at", node)? {
        matcher = matcher.at(node);
    }
    if let Some(region) = words.maybe("region", number)? {
        matcher = matcher.region(region);
    }
    if let Some(start_ts) = words.maybe("start-ts", number)? {
        matcher = matcher.start_ts(start_ts);
    }
    if let Some(primary) = words.maybe("primary", key)? {
        matcher = matcher.primary(primary);
    }
    if let Some(key) = words.maybe("key", key)? {
        matcher = matcher.key(key);
    }
    if let Some((start, end)) = words.maybe("keys", key_range)? {
        matcher = matcher.keys(start, end);
    }
    let traits = words.maybe("saying", |text| text.split(',').map(saying).collect::<Option<Vec<_>>>())?;
    matcher = traits.into_iter().flatten().fold(matcher, Matcher::saying);
    let mut rule = Rule::new(matcher, words.must("do", action)?);
    if let Some(skip) = words.maybe("skip", number)? {
        rule = rule.skip(skip);
    }
    if let Some(nth) = words.maybe("every", |text| number(text).filter(|nth| *nth > 0))? {
        rule = rule.every(nth);
    }
    if let Some(times) = words.maybe("times", number)? {
        rule = rule.times(times);
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(line: &str) -> String {
        line.parse::<Instruction>().expect_err(line).to_string()
    }

    #[test]
    fn every_example_is_an_instruction() {
        let lines = EXAMPLES.lines().filter(|line| !line.starts_with('#'));
        let verbs: std::collections::BTreeSet<&str> = lines
            .inspect(|line| {
                drop(line.parse::<Instruction>().unwrap_or_else(|error| panic!("{line}: {error}")))
            })
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(verbs.len(), 53, "an example of each verb");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        assert_eq!(bad(""), "no instruction");
        assert_eq!(bad("explode store=1"), "unknown instruction \"explode\"");
        assert_eq!(bad("move"), "store is missing");
        assert_eq!(bad("move store=x"), "store=\"x\" makes no sense");
        assert_eq!(bad("move store=1 region=4"), "\"region\" does not belong here");
        assert_eq!(bad("move store=1 store=2"), "store is given twice");
        assert_eq!(bad("stop node=any-store"), "node=\"any-store\" makes no sense");
        assert_eq!(bad("split region=4"), "key or raw is missing");
        assert_eq!(bad("fault lost more do=lose"), "\"more\" does not belong here");
        assert_eq!(bad("fault do=lose"), "a name is missing");
        assert_eq!(bad("fault lost do=lose every=0"), "every=\"0\" makes no sense");
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "(fault|split|disk|pause|merge)?( ?[a-z]{0,6}=?[-:,\\\\x0-9a-z\u{e9}]{0,8}){0,5}") {
            drop(line.parse::<Instruction>());
        }
    }
}
