//! Where the records of one writer (an operation, a service) gather: a buffer of its own, so that writers do not disturb one
//! another, handed over when it has grown, when it is old, and at the end.

use super::file;
use super::format::Record;
use super::recorder::{Out, Recorder};
use super::ring::Slot;
use crate::types::WallTime;

/// A buffer is handed over when it has so many bytes.
pub(super) const CHUNK_BYTES: usize = 16 << 10;

/// A buffer is handed over with the first record that comes so many ms after its first one.
pub(super) const CHUNK_MS: u64 = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Outlet {
    recorder: Recorder,
    writer: u64,
    buffer: Buffer,
}

#[derive(Debug)]
enum Buffer {
    /// On its way to the sink, with the time of its first record.
    Sink { bytes: Vec<u8>, since: WallTime },
    /// In the ring; `None` before the first record.
    Ring(Option<Slot>),
}

impl Outlet {
    /// Records of the operation `writer`; 0: of a service.
    pub(super) fn new(recorder: Recorder, writer: u64) -> Self {
        let buffer = match recorder.out() {
            Out::Sink(_) => Buffer::Sink { bytes: Vec::new(), since: WallTime(0) },
            Out::Ring(_) => Buffer::Ring(None),
        };
        Self { recorder, writer, buffer }
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(super) fn write(&mut self, record: &Record, wall: WallTime) {
        match (&mut self.buffer, self.recorder.out()) {
            (Buffer::Ring(slot), Out::Ring(ring)) => {
                let mut bytes = Vec::new();
                file::append(record, &mut bytes);
                ring.write(slot, self.writer, bytes, wall);
            }
            (Buffer::Sink { bytes, since }, Out::Sink(_)) => {
                if bytes.is_empty() {
                    *since = wall;
                }
                file::append(record, bytes);
                if bytes.len() >= CHUNK_BYTES || wall.0.saturating_sub(since.0) >= CHUNK_MS {
                    self.flush();
                }
            }
            // The recorder of an outlet is never another one.
            (Buffer::Ring(_), Out::Sink(_)) | (Buffer::Sink { .. }, Out::Ring(_)) => {}
        }
    }

    /// Hands over what has gathered.
    pub(super) fn flush(&mut self) {
        if let (Buffer::Sink { bytes, .. }, Out::Sink(sink)) = (&mut self.buffer, self.recorder.out())
            && !bytes.is_empty()
        {
            sink.write(bytes);
            bytes.clear();
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.flush();
    }
}
