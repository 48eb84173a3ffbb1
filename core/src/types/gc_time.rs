//! Times as TiDB's garbage collection writes them down: `20181218-19:53:37.000 +0800`.

use super::WallTime;

/// A text that is no time of garbage collection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("string {text:?} has no prefix that matches the format \"20060102-15:04:05.000 -0700\"")]
pub struct BadGcTime {
    text: String,
}

/// Reads a time as TiDB's garbage collection writes it, in the form of today or in the old one: without milliseconds, and with the
/// name of the zone behind its offset. That name, whatever it is, counts for nothing.
///
/// # Errors
/// The text is none.
///
/// client-go: `util/misc.go: CompatibleParseGCTime`.
pub fn parse_gc_time(text: &str) -> Result<WallTime, BadGcTime> {
    let named = || text.rsplit_once(' ').and_then(|(prefix, _)| parse(prefix));
    parse(text).or_else(named).ok_or_else(|| BadGcTime { text: text.to_owned() })
}

/// Writes a time as TiDB's garbage collection does, in a zone that is so many minutes before Greenwich.
///
/// client-go: `util/misc.go: GCTimeFormat`.
#[must_use]
pub fn gc_time_text(time: WallTime, offset_minutes: i16) -> String {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX / 2) + i64::from(offset_minutes) * 60_000;
    let (days, of_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    let (sign, offset) = (if offset_minutes < 0 { '-' } else { '+' }, offset_minutes.unsigned_abs());
    format!(
        "{year:04}{month:02}{day:02}-{hour:02}:{minute:02}:{second:02}.{:03} {sign}{:02}{:02}",
        of_day % 1000,
        offset / 60,
        offset % 60,
    )
}

const DAY_MS: i64 = 86_400_000;

/// `YYYYMMDD-hh:mm:ss[.fraction] ±hhmm`.
fn parse(text: &str) -> Option<WallTime> {
    let (time, offset) = text.split_once(' ')?;
    let (date, clock) = time.split_once('-')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [year, month, day] = [digits(date, 0, 4)?, digits(date, 4, 6)?, digits(date, 6, 8)?];
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts[..] else { return None };
    let [hour, minute, second] = [digits(hour, 0, 2)?, digits(minute, 0, 2)?, digits(second, 0, 2)?];
    let whole = date.len() == 8 && [parts[0], parts[1], parts[2]].iter().all(|part| part.len() == 2);
    let sign = match offset.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let minutes = digits(offset, 1, 3)? * 60 + digits(offset, 3, 5)?;
    let known = civil(days(year, month, day)) == (year, month, day);
    if !whole || offset.len() != 5 || !known || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let of_second =
        digits(&format!("{fraction:0<3}"), 0, 3).filter(|_| digits(fraction, 0, fraction.len()).is_some())?;
    let of_day = (hour * 3600 + minute * 60 + second) * 1000 + of_second;
    let ms = days(year, month, day) * DAY_MS + of_day - sign * minutes * 60_000;
    u64::try_from(ms).ok().map(WallTime)
}

/// The number that stands in these places, all of which are digits.
fn digits(text: &str, from: usize, to: usize) -> Option<i64> {
    let part = text.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
    part.parse().ok()
}

/// Days since 1970 of a date of the Gregorian calendar: years begin in March, so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a number of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, of_year - (153 * march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// client-go: `util/misc_test.go: TestCompatibleParseGCTime`.
    #[test]
    fn times_of_both_forms_are_read_and_others_refused() {
        let expected = WallTime(1_545_134_017_000);
        for text in [
            "20181218-19:53:37 +0800 CST",
            "20181218-19:53:37 +0800 MST",
            "20181218-19:53:37 +0800 FOO",
            "20181218-19:53:37 +0800 +08",
            "20181218-19:53:37 +0800",
            "20181218-19:53:37 +0800 ",
            "20181218-11:53:37 +0000",
            "20181218-11:53:37.000 +0000",
            "20181218-19:53:37.000 +0800 +08",
        ] {
            assert_eq!(parse_gc_time(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            " ",
            "foo",
            "20181218-11:53:37",
            "20181218-19:53:37 +0800CST",
            "20181218-19:53:37 +0800 FOO BAR",
            "20181218-19:53:37 +0800FOOOOOOO BAR",
            "20181218-19:53:37 ",
            "20181318-19:53:37 +0800",
            "20180230-19:53:37 +0800",
            "20181218-24:53:37 +0800",
            "20181218-19:53:37.é +0800",
            "19690101-00:00:00 +0000",
        ] {
            let error = parse_gc_time(text).unwrap_err();
            assert!(error.to_string().contains("has no prefix that matches"), "{text}");
        }
        assert_eq!(gc_time_text(expected, 480), "20181218-19:53:37.000 +0800");
        assert_eq!(gc_time_text(expected, -210), "20181218-08:23:37.000 -0330");
    }

    proptest! {
        #[test]
        fn a_time_that_is_written_is_read_again(ms in 100_000_000_u64..4_000_000_000_000, offset in -720_i16..840) {
            let text = gc_time_text(WallTime(ms), offset);
            prop_assert_eq!(parse_gc_time(&text), Ok(WallTime(ms)), "{}", text);
            prop_assert_eq!(parse_gc_time(&format!("{text} ZONE")), Ok(WallTime(ms)));
        }
    }
}
