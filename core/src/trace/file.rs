//! The file: a head, then records, each behind its length.

use prost::Message;
use prost::encoding::decode_varint;

use super::format::Record;

/// The first bytes of every trace.
pub const MAGIC: [u8; 8] = *b"tikvtrac";

/// The version that this crate writes. Raised when an older reader would misread a newer file; new fields do not raise it.
pub const VERSION: u32 = 1;

/// Why bytes are no trace that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// They do not begin as a trace does.
    #[error("this is no trace: it does not begin with \"tikvtrac\" and a version")]
    NotATrace,
    /// A newer version of the format.
    #[error(
        "this trace has version {found}, and this reader knows versions up to {known}: read it with a newer one"
    )]
    Newer {
        /// The version of the file.
        found: u32,
        /// The newest version that can be read.
        known: u32,
    },
    /// A record is not there to its end.
    #[error("the trace is cut off within the record at byte {at}")]
    Truncated {
        /// Where the record begins.
        at: usize,
    },
    /// A record is no message.
    #[error("the record at byte {at} cannot be understood: {detail}")]
    Corrupt {
        /// Where the record begins.
        at: usize,
        /// What is wrong with it.
        detail: String,
    },
}

/// The head of a trace.
pub(super) fn head() -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes()].concat()
}

/// Appends a record with its length.
pub(super) fn append(record: &Record, into: &mut Vec<u8>) {
    let len = record.encoded_len();
    into.reserve(len + prost::length_delimiter_len(len));
    prost::encoding::encode_varint(len as u64, into);
    record.encode_raw(into);
}

/// A whole trace of `records`: such as some of another one.
pub fn write(records: impl IntoIterator<Item = Record>) -> Vec<u8> {
    let mut trace = head();
    for record in records {
        append(&record, &mut trace);
    }
    trace
}

/// The records of a trace, in the order in which they were handed over: each operation's are in order, those of different
/// operations stand between each other as it came.
///
/// After an error there is nothing more. What a record holds is bounded by its bytes.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    trace: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Reads a trace from its head on.
    ///
    /// # Errors
    /// [`TraceError::NotATrace`], [`TraceError::Newer`].
    pub fn new(trace: &'a [u8]) -> Result<Self, TraceError> {
        let rest = trace.strip_prefix(&MAGIC).ok_or(TraceError::NotATrace)?;
        let (version, rest) = rest.split_first_chunk().ok_or(TraceError::NotATrace)?;
        match u32::from_le_bytes(*version) {
            0 => Err(TraceError::NotATrace),
            found if found > VERSION => Err(TraceError::Newer { found, known: VERSION }),
            _ => Ok(Self { trace, rest }),
        }
    }

    fn read(&mut self) -> Result<Record, TraceError> {
        let at = self.trace.len() - self.rest.len();
        let mut rest = self.rest;
        let len = decode_varint(&mut rest).map_err(|_| TraceError::Truncated { at })?;
        let len = usize::try_from(len).ok().filter(|&len| len <= rest.len());
        let (record, rest) = rest.split_at(len.ok_or(TraceError::Truncated { at })?);
        self.rest = rest;
        Record::decode(record).map_err(|error| TraceError::Corrupt { at, detail: error.to_string() })
    }
}

/// The records of a trace that are there to their end: the last of a program that was killed may not be.
pub(super) fn whole(trace: &[u8]) -> Result<impl Iterator<Item = Result<Record, TraceError>>, TraceError> {
    Ok(Records::new(trace)?.take_while(|record| !matches!(record, Err(TraceError::Truncated { .. }))))
}

impl Iterator for Records<'_> {
    type Item = Result<Record, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}
