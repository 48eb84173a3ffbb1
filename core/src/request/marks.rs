//! Trace ids and the switches that go with them: what stores write in their logs and traces for a request.

use std::fmt;
use std::ops::BitOr;

use bytes::Bytes;

/// Switches of what stores trace of a request.
///
/// client-go: `trace/flags.go: TraceControlFlags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "the wire's 64 bits")]
pub struct TraceFlags(pub u64);

impl TraceFlags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Log at once, without a buffer.
    pub const IMMEDIATE_LOG: Self = Self(1);
    /// The request and its response: what a request with a trace id has when nothing else is said.
    pub const REQUEST: Self = Self(1 << 1);
    /// The steps of writes.
    pub const WRITE_DETAILS: Self = Self(1 << 2);
    /// The steps of reads.
    pub const READ_DETAILS: Self = Self(1 << 3);

    /// Whether one of `flags` is set.
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// These and `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

impl BitOr for TraceFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// The id that a request has in the logs and traces of all who work on it: any bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TraceId(Bytes);

/// Why a `traceparent` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no W3C traceparent (version-trace id-parent id-flags in hexadecimal digits)")]
pub struct NoTraceparent(String);

impl TraceId {
    /// An id of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The trace id of a W3C `traceparent` header (`00-<32 digits>-<16 digits>-<2 digits>`), 16 bytes; and whether who sent the
    /// header records the trace.
    ///
    /// # Errors
    /// The text is none.
    pub fn from_traceparent(header: &str) -> Result<(Self, bool), NoTraceparent> {
        let wrong = || NoTraceparent(header.to_owned());
        let parts: Vec<&str> = header.split('-').collect();
        // A later version may have more parts; version ff is none.
        let [version, id, parent, flags, ..] = parts[..] else { return Err(wrong()) };
        let hex = |text: &str, len: usize| {
            let digits = text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if digits { u128::from_str_radix(text, 16).ok() } else { None }
        };
        let version = hex(version, 2).filter(|version| *version != 0xff).ok_or_else(wrong)?;
        let id = hex(id, 32).filter(|id| *id != 0).ok_or_else(wrong)?;
        hex(parent, 16).filter(|parent| *parent != 0).ok_or_else(wrong)?;
        let flags = hex(flags, 2).ok_or_else(wrong)?;
        if version == 0 && parts.len() != 4 {
            return Err(wrong());
        }
        Ok((Self(id.to_be_bytes().to_vec().into()), flags & 1 == 1))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Display for TraceId {
    /// Hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// client-go: `trace/flags_test.go: TestTraceControlFlags_BitValues`.
    #[test]
    fn flags_have_the_bits_of_the_wire() {
        let flags = [
            TraceFlags::IMMEDIATE_LOG,
            TraceFlags::REQUEST,
            TraceFlags::WRITE_DETAILS,
            TraceFlags::READ_DETAILS,
        ];
        assert_eq!(flags.map(|flag| flag.0), [1, 2, 4, 8]);
    }

    /// client-go: `trace/flags_test.go: TestTraceControlFlags_Has`.
    #[test]
    fn flags_have_what_one_of_them_has() {
        let both = TraceFlags::IMMEDIATE_LOG | TraceFlags::WRITE_DETAILS;
        assert!(both.has(TraceFlags::IMMEDIATE_LOG) && both.has(TraceFlags::WRITE_DETAILS));
        assert!(!both.has(TraceFlags::REQUEST) && !TraceFlags::NONE.has(both));
        assert!(both.has(TraceFlags::WRITE_DETAILS | TraceFlags::READ_DETAILS));
    }

    /// client-go: `trace/flags_test.go: TestTraceControlFlags_With`.
    #[test]
    fn adding_a_flag_changes_a_copy() {
        let before = TraceFlags::REQUEST;
        let after = before.with(TraceFlags::IMMEDIATE_LOG);
        assert_eq!((before.0, after.0), (2, 3));
        assert_eq!(after.with(TraceFlags::IMMEDIATE_LOG), after);
    }

    /// client-go: `trace/flags_test.go: TestTraceControlFlags_CombinedOperations`.
    #[test]
    fn flags_combine_one_after_the_other() {
        let mut flags = TraceFlags::NONE;
        for (flag, sum) in [
            (TraceFlags::IMMEDIATE_LOG, 1),
            (TraceFlags::REQUEST, 3),
            (TraceFlags::WRITE_DETAILS, 7),
            (TraceFlags::READ_DETAILS, 15),
        ] {
            assert!(!flags.has(flag));
            flags = flags.with(flag);
            assert!(flags.has(flag));
            assert_eq!(flags.0, sum);
        }
    }

    #[test]
    fn a_traceparent_gives_its_trace_id_and_whether_it_is_recorded() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (id, recorded) = TraceId::from_traceparent(header).unwrap();
        assert_eq!((id.to_string().as_str(), recorded), ("4bf92f3577b34da6a3ce929d0e0e4736", true));
        assert_eq!(id.bytes().len(), 16);
        let later = format!("01{}-more", &header[2..]);
        assert!(TraceId::from_traceparent(&later).is_ok());
    }

    #[test]
    fn what_is_no_traceparent_is_refused_by_name() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01",
        ] {
            let error = TraceId::from_traceparent(text).unwrap_err();
            assert!(error.to_string().contains(text));
        }
    }
}
