//! The parts of an instruction's text: a verb and `name=value` pairs, each asked for once and none left over.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{BadInstruction, Node};
use crate::model::{Disk, PeerRole, StoreState};

/// The `name=value` pairs behind a verb.
#[derive(Debug)]
pub(super) struct Words<'a> {
    verb: &'a str,
    pairs: BTreeMap<&'a str, &'a str>,
    /// A word without `=`: the name of a fault.
    name: Option<&'a str>,
}

impl<'a> Words<'a> {
    pub(super) fn read(line: &'a str) -> Result<Self, BadInstruction> {
        let mut words = line.split_whitespace();
        let verb = words.next().ok_or(BadInstruction::Empty)?;
        let mut read = Self { verb, pairs: BTreeMap::new(), name: None };
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => {
                    if read.pairs.insert(name, value).is_some() {
                        return Err(BadInstruction::Twice { what: name.to_owned() });
                    }
                }
                None if read.name.is_none() => read.name = Some(word),
                None => return Err(BadInstruction::Unknown { what: word.to_owned() }),
            }
        }
        Ok(read)
    }

    pub(super) fn verb(&self) -> &'a str {
        self.verb
    }

    /// The word without `=`.
    pub(super) fn name(&mut self) -> Result<String, BadInstruction> {
        self.name.take().map(str::to_owned).ok_or(BadInstruction::Missing { what: "a name" })
    }

    pub(super) fn word(&mut self, what: &'static str) -> Option<&'a str> {
        self.pairs.remove(what)
    }

    /// The value of `what`, read by `read`, if it is given.
    pub(super) fn maybe<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, BadInstruction> {
        let Some(value) = self.word(what) else { return Ok(None) };
        let bad = || BadInstruction::Value { what, value: value.to_owned() };
        read(value).ok_or_else(bad).map(Some)
    }

    /// The value of `what`, read by `read`.
    pub(super) fn must<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, BadInstruction> {
        self.maybe(what, read)?.ok_or(BadInstruction::Missing { what })
    }

    /// Whatever nobody asked for is a mistake.
    pub(super) fn done(self) -> Result<(), BadInstruction> {
        match self.pairs.keys().next().copied().or(self.name) {
            Some(what) => Err(BadInstruction::Unknown { what: what.to_owned() }),
            None => Ok(()),
        }
    }
}

pub(super) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// `5s`, `200ms`, `3m`, `1h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit_at);
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.parse::<u64>().ok()?.checked_mul(ms)?))
}

/// A key: its characters, `\xNN` for a byte, `\\` for a backslash. Nothing stands for itself that separates words.
pub(super) fn key(text: &str) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.put_slice(plain.as_bytes());
        if let Some(after) = escape.strip_prefix('\\') {
            out.put_u8(b'\\');
            rest = after;
        } else {
            let hex = escape.strip_prefix('x')?;
            out.put_u8(u8::from_str_radix(hex.get(..2)?, 16).ok()?);
            rest = hex.get(2..)?;
        }
    }
    out.put_slice(rest.as_bytes());
    Some(out.freeze())
}

/// `a..m`; an end that is left out is open.
pub(super) fn key_range(text: &str) -> Option<(Bytes, Bytes)> {
    let (start, end) = text.split_once("..")?;
    Some((key(start)?, key(end)?))
}

/// `store:2`, `pd:0`, `any-store`, `any-pd`.
pub(super) fn node(text: &str) -> Option<Node> {
    match text {
        "any-store" => return Some(Node::AnyStore),
        "any-pd" => return Some(Node::AnyPd),
        _ => {}
    }
    match text.split_once(':')? {
        ("store", id) => number(id).map(Node::Store),
        ("pd", index) => number(index).map(Node::Pd),
        _ => None,
    }
}

/// `1,2`
pub(super) fn two_stores(text: &str) -> Option<(u64, u64)> {
    let (a, b) = text.split_once(',')?;
    Some((number(a)?, number(b)?))
}

/// `zone:z1,disk:ssd`
pub(super) fn labels(text: &str) -> Option<Vec<(String, String)>> {
    let label = |word: &str| word.split_once(':').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.split(',').map(label).collect()
}

pub(super) fn role(text: &str) -> Option<PeerRole> {
    match text {
        "voter" => Some(PeerRole::Voter),
        "learner" => Some(PeerRole::Learner),
        "witness" => Some(PeerRole::Witness),
        _ => None,
    }
}

pub(super) fn disk(text: &str) -> Option<Disk> {
    match text {
        "normal" => Some(Disk::Normal),
        "almost-full" => Some(Disk::AlmostFull),
        "full" => Some(Disk::AlreadyFull),
        _ => None,
    }
}

pub(super) fn yes(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// What `read` reads, or `off`.
pub(super) fn or_off<T>(read: impl FnOnce(&str) -> Option<T>) -> impl FnOnce(&str) -> Option<Option<T>> {
    |text| if text == "off" { Some(None) } else { read(text).map(Some) }
}

pub(super) fn store_state(text: &str) -> Option<StoreState> {
    match text {
        "up" => Some(StoreState::Up),
        "offline" => Some(StoreState::Offline),
        "tombstone" => Some(StoreState::Tombstone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(duration("3m"), Some(Duration::from_secs(180)));
        for bad in ["5", "s", "", "-1s", "5 s", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn keys_can_hold_any_byte() {
        assert_eq!(key("a\\x00\\\\b\\xff").as_deref(), Some(&b"a\0\\b\xff"[..]));
        assert_eq!(key("").as_deref(), Some(&b""[..]));
        for bad in ["\\", "\\x", "\\x1", "\\n", "\\xzz", "\\x\u{e9}"] {
            assert_eq!(key(bad), None, "{bad:?}");
        }
    }
}
