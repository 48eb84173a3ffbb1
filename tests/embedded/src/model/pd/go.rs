//! Texts as Go prints them, where PD's answers carry such.

use crate::model::clock::Now;

/// A text in quotes, ASCII only: Go's `%+q`.
// Go: strconv: QuoteToASCII
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            c if u32::from(c) < 0x80 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// A point of time in UTC: Go's `Time.String`.
pub(super) fn time(at: Now) -> String {
    let (year, month, day, second) = civil(at);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    let nanos = at.unix_nanos() % 1_000_000_000;
    let fraction = format!("{nanos:09}");
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}{dot}{fraction} +0000 UTC")
}

/// A point of time in the form of RFC 3339: what Go's JSON has for times.
pub(super) fn rfc3339(at: Now) -> String {
    let text = time(at);
    let text = text.strip_suffix(" +0000 UTC").unwrap_or(&text);
    format!("{}Z", text.replacen(' ', "T", 1))
}

/// Year, month, day, and the second of that day.
fn civil(at: Now) -> (u64, u64, u64, u64) {
    let (days, second) = (at.unix_seconds() / 86_400, at.unix_seconds() % 86_400);
    // Days are counted from the first of March of year 0, so that a leap day ends its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day, second)
}

/// Go's words for a text that is no unsigned number.
// Go: strconv: ParseUint
pub(super) fn no_number(text: &str) -> String {
    let range = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let why = if range { "value out of range" } else { "invalid syntax" };
    format!("strconv.ParseUint: parsing {}: {why}", quoted(text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds, nanos| time(Now::from_unix(Duration::new(seconds, nanos)));
        assert_eq!(at(0, 0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(at(951_868_799, 120_000_000), "2000-02-29 23:59:59.12 +0000 UTC");
        assert_eq!(at(1_709_251_200, 1), "2024-03-01 00:00:00.000000001 +0000 UTC");
        assert_eq!(at(4_102_444_799, 0), "2099-12-31 23:59:59 +0000 UTC");
        assert_eq!(rfc3339(Now::from_unix(Duration::from_secs(86_399))), "1970-01-01T23:59:59Z");
    }

    #[test]
    fn texts_are_quoted_in_ascii() {
        assert_eq!(quoted("a\"\\\n\u{1}é😀"), r#""a\"\\\n\x01\u00e9\U0001f600""#);
    }

    #[test]
    fn numbers_that_are_none_are_told_from_those_too_large() {
        assert_eq!(no_number("x"), r#"strconv.ParseUint: parsing "x": invalid syntax"#);
        assert_eq!(
            no_number("99999999999999999999"),
            r#"strconv.ParseUint: parsing "99999999999999999999": value out of range"#
        );
    }
}
