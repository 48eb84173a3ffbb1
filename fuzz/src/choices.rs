//! An input as a row of choices.

use arbitrary::Unstructured;
use bytes::Bytes;
use tikv_client_core::types::Key;

/// The input's bytes, taken from the front as choices; when they are used up every choice is the first one.
#[derive(Debug)]
pub struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    /// The choices of an input.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// Whether the input is used up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Any value of a type.
    pub fn any<T: arbitrary::Arbitrary<'a> + Default>(&mut self) -> T {
        self.0.arbitrary().unwrap_or_default()
    }

    /// A number below `count`, at the most 256 of them; 0 if there are none.
    pub fn below(&mut self, count: usize) -> usize {
        if count <= 1 { 0 } else { usize::from(self.any::<u8>()) % count }
    }

    /// Yes, once in `times`.
    pub fn one_in(&mut self, times: u8) -> bool {
        // The end of the input is all zeros: no.
        self.any::<u8>() % times == times - 1
    }

    /// One of these.
    pub fn of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// Takes one out of these.
    pub fn take_of<T>(&mut self, all: &mut Vec<T>) -> Option<T> {
        if all.is_empty() {
            return None;
        }
        let at = self.below(all.len());
        Some(all.remove(at))
    }

    /// At most `most` bytes as they stand in the input.
    pub fn bytes(&mut self, most: usize) -> Bytes {
        let wanted = self.below(most + 1).min(self.0.len());
        Bytes::copy_from_slice(self.0.bytes(wanted).unwrap_or_default())
    }

    /// A key: often one of few short ones, so that keys meet.
    pub fn key(&mut self) -> Key {
        const LETTERS: [&[u8]; 6] = [b"", b"a", b"b", b"\0", b"\xff", b"t\x80\0\0\0\0\0\0\x2a_r\x80\0\0"];
        match self.below(8) {
            0 => Key::from(self.bytes(20)),
            letters => {
                (0..letters % 4).fold(Vec::new(), |key, _| [&key[..], *self.of(&LETTERS)].concat()).into()
            }
        }
    }

    /// Some change of well-formed bytes: none, a byte, a cut, an insertion, or other bytes altogether.
    pub fn spoil(&mut self, bytes: Bytes) -> Bytes {
        let mut changed = bytes.to_vec();
        match self.below(6) {
            0 | 1 => return bytes,
            2 if !changed.is_empty() => {
                let at = usize::from(self.any::<u16>()) % changed.len();
                changed[at] = self.any();
            }
            3 => changed.truncate(usize::from(self.any::<u16>()) % (changed.len() + 1)),
            4 => {
                let at = usize::from(self.any::<u16>()) % (changed.len() + 1);
                let some = self.bytes(12);
                changed.splice(at..at, some);
            }
            _ => return self.bytes(60),
        }
        changed.into()
    }
}
