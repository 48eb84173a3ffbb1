//! Texts of durations and sizes, as client-go writes them.

use std::fmt::Write;
use std::time::Duration;

const SECOND: u128 = 1_000_000_000;
const MILLISECOND: u128 = 1_000_000;
const MICROSECOND: u128 = 1_000;

/// A duration to three digits or so: `9.41ms`, `10.4ms`, `1m5.9s`. Up to a microsecond it is exact.
///
/// client-go: `util/execdetails.go: FormatDuration`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos <= MICROSECOND {
        return exact(nanos);
    }
    let unit = [SECOND, MILLISECOND, MICROSECOND].into_iter().find(|unit| nanos >= *unit).unwrap_or(1);
    // Two decimals below ten units, one above; halves go up.
    let step = unit / if nanos < 10 * unit { 100 } else { 10 };
    exact((nanos + step / 2) / step * step)
}

/// The shortest text that is exact: `1h2m3.5s`, `2ms`, `750µs`, `12ns`.
pub(super) fn exact(nanos: u128) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < SECOND {
        let (unit, name) = match nanos {
            MILLISECOND.. => (MILLISECOND, "ms"),
            MICROSECOND.. => (MICROSECOND, "µs"),
            _ => (1, "ns"),
        };
        return format!("{}{name}", decimal(nanos, unit));
    }
    let (minutes, rest) = (nanos / (60 * SECOND), nanos % (60 * SECOND));
    let mut text = String::new();
    // Nothing refuses a write into a string.
    if minutes >= 60 {
        write!(text, "{}h{}m", minutes / 60, minutes % 60).unwrap_or_default();
    } else if minutes > 0 {
        write!(text, "{minutes}m").unwrap_or_default();
    }
    text + &decimal(rest, SECOND) + "s"
}

/// `nanos` in `unit`s, without zeroes at the end.
fn decimal(nanos: u128, unit: u128) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

const KIB: u64 = 1 << 10;

/// A size: `128 Bytes`, `1.95 KB`, `20.1 MB`. The units are binary ones. Up to 1 KiB it is exact.
///
/// client-go: `util/misc.go: FormatBytes`.
#[must_use]
pub fn bytes_text(bytes: u64) -> String {
    let units = [(KIB * KIB * KIB, "GB"), (KIB * KIB, "MB"), (KIB, "KB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes > *unit) else {
        return format!("{bytes} Bytes");
    };
    if bytes.is_multiple_of(unit) {
        return format!("{} {name}", bytes / unit);
    }
    let value = bytes as f64 / unit as f64;
    let decimals = if value < 10.0 { 2 } else { 1 };
    format!("{value:.decimals$} {name}")
}
