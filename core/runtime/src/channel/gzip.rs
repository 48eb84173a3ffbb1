//! Messages that are compressed on their way, by gzip (feature `gzip`).
//!
//! gRPC: `doc/compression.md`. What would not get smaller goes as it is: gRPC marks each message by itself.

use bytes::Bytes;
use tikv_client_core::client::Compression;

use super::message::BadMessage;

/// Whether this program can do what is asked for.
pub(super) fn check(wanted: Compression) -> Result<(), String> {
    match wanted {
        Compression::None => Ok(()),
        Compression::Gzip if cfg!(feature = "gzip") => Ok(()),
        Compression::Gzip => {
            Err("gzip was asked for, but this program was built without it: turn on the feature `gzip`"
                .to_owned())
        }
        other => Err(format!("this runtime does not know {other:?}")),
    }
}

#[cfg(feature = "gzip")]
mod with {
    use std::io::{Read, Write};

    use flate2::Compression as Level;
    use flate2::read::GzDecoder;
    use flate2::write::GzEncoder;

    use super::*;

    /// Below this nothing gets smaller: gzip's own head and tail are 18 bytes.
    const SMALL: usize = 64;

    /// Bytes that a decompressed message gets at the start; it grows as it needs.
    const BEGIN: usize = 4 << 10;

    /// The message compressed, if that makes it smaller.
    pub(in super::super) fn pack(message: &Bytes) -> Option<Bytes> {
        if message.len() < SMALL {
            return None;
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 2), Level::fast());
        encoder.write_all(message).ok()?;
        let packed = encoder.finish().ok()?;
        (packed.len() < message.len()).then(|| packed.into())
    }

    /// The message as it was; at most `max` bytes, whatever it swells to.
    pub(in super::super) fn unpack(packed: &Bytes, max: usize) -> Result<Bytes, BadMessage> {
        let mut message =
            Vec::with_capacity(packed.len().saturating_mul(2).clamp(BEGIN.min(max), max.min(1 << 20)));
        let most = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        let read = GzDecoder::new(&packed[..]).take(most).read_to_end(&mut message);
        match read {
            Ok(_) if message.len() > max => Err(BadMessage::Swells { max }),
            Ok(_) => Ok(message.into()),
            Err(_) => Err(BadMessage::NotGzip),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_message_comes_out_as_it_went_in() {
            let message: Bytes = b"again and ".repeat(1000).into();
            let packed = pack(&message).unwrap();
            assert!(packed.len() < message.len() / 10);
            assert_eq!(unpack(&packed, usize::MAX), Ok(message.clone()));
            assert_eq!(unpack(&packed, message.len()), Ok(message));
        }

        #[test]
        fn what_would_not_get_smaller_goes_as_it_is() {
            assert_eq!(pack(&Bytes::from_static(b"short")), None);
            let mut state = 7_u64;
            let noise: Bytes = std::iter::repeat_with(|| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 56) as u8
            })
            .take(4096)
            .collect();
            assert_eq!(pack(&noise), None);
        }

        #[test]
        fn a_message_that_swells_beyond_what_is_accepted_is_refused() {
            let packed = pack(&vec![0; 1 << 20].into()).unwrap();
            assert_eq!(unpack(&packed, 1 << 16), Err(BadMessage::Swells { max: 1 << 16 }));
        }

        #[test]
        fn what_is_not_gzip_is_refused() {
            assert_eq!(unpack(&Bytes::from_static(b"plain"), 99), Err(BadMessage::NotGzip));
            let mut torn = pack(&vec![7; 4096].into()).unwrap();
            torn.truncate(torn.len() - 3);
            assert_eq!(unpack(&torn, 1 << 20), Err(BadMessage::NotGzip));
        }
    }
}

#[cfg(feature = "gzip")]
pub(super) use with::{pack, unpack};

/// Never asked for: [`check`] refused the connection.
#[cfg(not(feature = "gzip"))]
pub(super) fn pack(_: &Bytes) -> Option<Bytes> {
    None
}

/// Never agreed on: [`check`] refused the connection.
#[cfg(not(feature = "gzip"))]
pub(super) fn unpack(_: &Bytes, _: usize) -> Result<Bytes, BadMessage> {
    Err(BadMessage::Compressed)
}
