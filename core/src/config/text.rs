//! Options as texts: of files, environments, addresses and command lines.

use std::time::Duration;

use crate::client::Compression;

/// A kind of option: how its values read.
pub(super) trait Kind<T> {
    /// The value of a text, or what the text should have been.
    fn read(text: &str) -> Result<T, String>;
    /// A text that reads as the value.
    fn show(value: &T) -> String;
}

/// A time: `40s`, `1m 30s`, `500ms`.
pub(super) struct Time;
/// A number.
pub(super) struct Count;
/// A number of bytes: `1048576`, `8KiB`, `128MiB`, `1GiB`, `unlimited`.
pub(super) struct Size;
/// `true` or `false`.
pub(super) struct Switch;
/// `none` or `gzip`.
pub(super) struct Codec;
/// A number, or `random`.
pub(super) struct Seed;

impl Kind<Duration> for Time {
    fn read(text: &str) -> Result<Duration, String> {
        humantime::parse_duration(text).map_err(|_| "is no time such as \"40s\" or \"1m 30s\"".to_owned())
    }

    fn show(value: &Duration) -> String {
        humantime::format_duration(*value).to_string()
    }
}

/// `value` as a text of digits.
fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("is no number from 0 to {}", most::<T>()))
}

/// The largest number of a type.
fn most<T>() -> u64 {
    u64::MAX >> (64 - 8 * size_of::<T>().clamp(1, 8))
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Kind<$type> for Count {
            fn read(text: &str) -> Result<$type, String> {
                number(text)
            }

            fn show(value: &$type) -> String {
                value.to_string()
            }
        }

        impl Kind<$type> for Size {
            fn read(text: &str) -> Result<$type, String> {
                size(text)?
                    .map_or(Some(<$type>::MAX), |size| <$type>::try_from(size).ok())
                    .ok_or_else(|| format!("is more than {}", <$type>::MAX))
            }

            fn show(value: &$type) -> String {
                if *value == <$type>::MAX { UNLIMITED.to_owned() } else { show_size(*value as u64) }
            }
        }
    )*};
}

numbers!(u32, u64, usize);

const UNLIMITED: &str = "unlimited";
const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// Bytes; `None`: no limit.
fn size(text: &str) -> Result<Option<u64>, String> {
    if text == UNLIMITED {
        return Ok(None);
    }
    let unit = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    let number = digits.trim_end().parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .map(Some)
        .ok_or_else(|| "is no number of bytes such as \"1048576\", \"8KiB\" or \"128MiB\"".to_owned())
}

fn show_size(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

impl Kind<bool> for Switch {
    fn read(text: &str) -> Result<bool, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is neither \"true\" nor \"false\"".to_owned()),
        }
    }

    fn show(value: &bool) -> String {
        value.to_string()
    }
}

/// client-go: `config/client.go: Valid` (`grpc-compression-type`).
impl Kind<Compression> for Codec {
    fn read(text: &str) -> Result<Compression, String> {
        match text {
            "none" => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip),
            _ => Err("is neither \"none\" nor \"gzip\"".to_owned()),
        }
    }

    fn show(value: &Compression) -> String {
        match value {
            Compression::None => "none".to_owned(),
            Compression::Gzip => "gzip".to_owned(),
        }
    }
}

const RANDOM: &str = "random";

impl Kind<Option<u64>> for Seed {
    fn read(text: &str) -> Result<Option<u64>, String> {
        if text == RANDOM { Ok(None) } else { number(text).map(Some) }
    }

    fn show(value: &Option<u64>) -> String {
        value.map_or_else(|| RANDOM.to_owned(), |seed| seed.to_string())
    }
}
