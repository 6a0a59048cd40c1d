//! Dates and times as text. Zero and partial-zero dates are kept as they are.
//!
//! Must not apply a zone: TIMESTAMP is UTC in the binlog and stays UTC, DATETIME has none. Layouts: MySQL's
//! `my_time.cc` (`my_datetime_packed_from_binary` and its kin).

use super::decimal::write_digits;
use super::number::write_u64;
use super::read::{be_uint, le_uint};
use super::text::BadValue;

const POWERS: [u64; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// Bytes of a fraction of so many digits, at most 6.
fn fraction_len(fsp: u8) -> usize {
    usize::from(fsp.min(6)).div_ceil(2)
}

/// Microseconds of a fraction of so many bytes.
fn fraction_us(value: u64, bytes: usize) -> u64 {
    value * POWERS[6 - 2 * bytes.min(3)]
}

/// The two digits of a number; of a greater one the last two.
#[inline]
fn two(value: u64) -> [u8; 2] {
    let value = (value % 100) as u8;
    [b'0' + value / 10, b'0' + value % 10]
}

#[inline]
fn write_ymd(year: u64, month: u64, day: u64, out: &mut Vec<u8>) {
    let ([y1, y2], [y3, y4], [m1, m2], [d1, d2]) = (two(year / 100), two(year), two(month), two(day));
    out.extend_from_slice(&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2]);
}

#[inline]
fn write_hms(hour: u64, minute: u64, second: u64, out: &mut Vec<u8>) {
    if hour >= 100 {
        write_u64(hour / 100, out);
    }
    let ([h1, h2], [m1, m2], [s1, s2]) = (two(hour), two(minute), two(second));
    out.extend_from_slice(&[h1, h2, b':', m1, m2, b':', s1, s2]);
}

fn write_fraction(us: u64, fsp: u8, out: &mut Vec<u8>) -> Result<(), BadValue> {
    if us >= 1_000_000 {
        return Err(BadValue::Expected("a fraction below one second"));
    }
    let fsp = usize::from(fsp.min(6));
    if fsp > 0 {
        out.push(b'.');
        write_digits(us / POWERS[6 - fsp], fsp, out);
    }
    Ok(())
}

/// DATE: 3 bytes, day in 5 bits, month in 4, then the year.
pub(crate) fn write_date(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    if raw.len() != 3 {
        return Err(BadValue::Expected("a DATE of 3 bytes"));
    }
    let value = le_uint(raw);
    write_ymd(value >> 9, value >> 5 & 15, value & 31, out);
    Ok(())
}

/// YEAR: 0 is 0000, others count from 1900.
pub(crate) fn write_year(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let &[value] = raw else { return Err(BadValue::Expected("a YEAR of 1 byte")) };
    write_digits(if value == 0 { 0 } else { 1900 + u64::from(value) }, 4, out);
    Ok(())
}

/// DATETIME: 5 bytes big-endian (sign, year and month in 17 bits, then 5, 5, 6, 6), then the fraction.
pub(crate) fn write_datetime(raw: &[u8], fsp: u8, out: &mut Vec<u8>) -> Result<(), BadValue> {
    if raw.len() != 5 + fraction_len(fsp) {
        return Err(BadValue::Expected("a DATETIME of its column's length"));
    }
    let (seconds, fraction) = raw.split_at(5);
    let packed = be_uint(seconds);
    let Some(packed) = packed.checked_sub(1 << 39) else { return Err(BadValue::Expected("a positive DATETIME")) };
    write_packed_datetime(packed, out);
    write_fraction(fraction_us(be_uint(fraction), fraction.len()), fsp, out)
}

/// Year × 13 + month in 17 bits, day in 5, hour in 5, minute in 6, second in 6.
pub(crate) fn write_packed_datetime(packed: u64, out: &mut Vec<u8>) {
    write_packed_date(packed, out);
    out.push(b' ');
    write_hms(packed >> 12 & 31, packed >> 6 & 63, packed & 63, out);
}

/// The date's part of the same.
pub(crate) fn write_packed_date(packed: u64, out: &mut Vec<u8>) {
    let year_month = packed >> 22 & 0x1_ffff;
    write_ymd(year_month / 13, year_month % 13, packed >> 17 & 31, out);
}

/// TIMESTAMP: 4 bytes big-endian of seconds since the epoch, then the fraction. 0 is the zero date.
pub(crate) fn write_timestamp(raw: &[u8], fsp: u8, out: &mut Vec<u8>) -> Result<(), BadValue> {
    if raw.len() != 4 + fraction_len(fsp) {
        return Err(BadValue::Expected("a TIMESTAMP of its column's length"));
    }
    let (seconds, fraction) = raw.split_at(4);
    let us = fraction_us(be_uint(fraction), fraction.len());
    write_instant(be_uint(seconds), us == 0, out);
    write_fraction(us, fsp, out)
}

fn write_instant(seconds: u64, no_fraction: bool, out: &mut Vec<u8>) {
    if seconds == 0 && no_fraction {
        out.extend_from_slice(b"0000-00-00 00:00:00");
        return;
    }
    let (year, month, day) = civil(seconds / 86_400);
    write_ymd(year, month, day, out);
    out.push(b' ');
    let second = seconds % 86_400;
    write_hms(second / 3600, second / 60 % 60, second % 60, out);
}

/// The date of a day since 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`,
/// for days not before the epoch).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// TIME: 3 bytes and the fraction as one big-endian number, offset by half its range; negative as a whole.
pub(crate) fn write_time(raw: &[u8], fsp: u8, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let fraction = fraction_len(fsp);
    if raw.len() != 3 + fraction {
        return Err(BadValue::Expected("a TIME of its column's length"));
    }
    let bits = 8 * fraction as u32;
    let zero = 0x80_0000u64 << bits;
    let value = be_uint(raw);
    if value < zero {
        out.push(b'-');
    }
    let size = value.abs_diff(zero);
    let hms = size >> bits;
    write_hms(hms >> 12, hms >> 6 & 63, hms & 63, out);
    write_fraction(fraction_us(size & ((1 << bits) - 1), fraction), fsp, out)
}

/// The time's part of a packed value in JSON: hour, minute and second as in TIME, without its offset.
pub(crate) fn write_packed_time(packed: u64, out: &mut Vec<u8>) {
    write_hms(packed >> 12 & 0x3ff, packed >> 6 & 63, packed & 63, out);
}

/// The fraction of a packed value in JSON: always six digits.
pub(crate) fn write_microseconds(us: u64, out: &mut Vec<u8>) -> Result<(), BadValue> {
    write_fraction(us, 6, out)
}

/// TIME before 5.6: a signed little-endian number of 3 bytes, HHHMMSS in decimal digits.
pub(crate) fn write_old_time(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    if raw.len() != 3 {
        return Err(BadValue::Expected("a TIME of 3 bytes"));
    }
    let signed = ((le_uint(raw) << 40) as i64) >> 40;
    if signed < 0 {
        out.push(b'-');
    }
    let value = signed.unsigned_abs();
    write_hms(value / 10_000, value / 100 % 100, value % 100, out);
    Ok(())
}

/// DATETIME before 5.6: YYYYMMDDhhmmss in decimal digits, 8 bytes little-endian.
pub(crate) fn write_old_datetime(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    if raw.len() != 8 {
        return Err(BadValue::Expected("a DATETIME of 8 bytes"));
    }
    let value = le_uint(raw);
    let (date, time) = (value / 1_000_000, value % 1_000_000);
    write_ymd(date / 10_000 % 10_000, date / 100 % 100, date % 100, out);
    out.push(b' ');
    write_hms(time / 10_000, time / 100 % 100, time % 100, out);
    Ok(())
}

/// TIMESTAMP before 5.6: 4 bytes little-endian.
pub(crate) fn write_old_timestamp(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    if raw.len() != 4 {
        return Err(BadValue::Expected("a TIMESTAMP of 4 bytes"));
    }
    write_instant(le_uint(raw), true, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Write = fn(&[u8], u8, &mut Vec<u8>) -> Result<(), BadValue>;

    fn text(write: Write, raw: &[u8], fsp: u8) -> String {
        let mut out = Vec::new();
        write(raw, fsp, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_keep_their_zeros() {
        let date = |year: u32, month: u32, day: u32| {
            let mut out = Vec::new();
            write_date(&((year << 9) | (month << 5) | day).to_le_bytes()[..3], &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(date(2024, 2, 29), "2024-02-29");
        assert_eq!(date(0, 0, 0), "0000-00-00");
        assert_eq!(date(2024, 0, 0), "2024-00-00");
        assert_eq!(date(9999, 12, 31), "9999-12-31");
    }

    #[test]
    fn timestamps_are_utc() {
        assert_eq!(text(write_timestamp, &[0, 0, 0, 0], 0), "0000-00-00 00:00:00");
        assert_eq!(text(write_timestamp, &[0, 0, 0, 0, 0, 0], 3), "0000-00-00 00:00:00.000");
        assert_eq!(text(write_timestamp, &[0, 0, 0, 1], 0), "1970-01-01 00:00:01");
        assert_eq!(text(write_timestamp, &[0x7f, 0xff, 0xff, 0xff], 0), "2038-01-19 03:14:07");
        assert_eq!(text(write_timestamp, &[0x65, 0xdf, 0xc5, 0x00, 0x04, 0xd2], 3), "2024-02-28 23:42:56.123");
        assert_eq!(text(write_timestamp, &[0, 0, 0, 1, 0x0f, 0x42, 0x3f], 6), "1970-01-01 00:00:01.999999");
    }

    #[test]
    fn every_day_of_a_leap_cycle_follows_its_predecessor() {
        let mut last = civil(0);
        assert_eq!(last, (1970, 1, 1));
        for day in 1..=150_000 {
            let next = civil(day);
            let first_of_month = next.2 == 1 && matches!(last.2, 28..=31);
            assert!((next.0, next.1, next.2) == (last.0, last.1, last.2 + 1) || first_of_month, "{last:?} {next:?}");
            last = next;
        }
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(47_540), (2100, 2, 28));
        assert_eq!(civil(47_541), (2100, 3, 1));
    }

    #[test]
    fn negative_times_are_negative_as_a_whole() {
        assert_eq!(text(write_time, &[0x80, 0, 0], 0), "00:00:00");
        assert_eq!(text(write_time, &[0x7f, 0xff, 0xff], 0), "-00:00:01");
        assert_eq!(text(write_time, &[0x7f, 0xff, 0xff, 0xff], 2), "-00:00:00.01");
        assert_eq!(text(write_time, &[0x7f, 0xff, 0xff, 0xf6], 1), "-00:00:00.1");
        let most = (838u32 << 12) | (59 << 6) | 59;
        assert_eq!(text(write_time, &(0x80_0000 + most).to_be_bytes()[1..], 0), "838:59:59");
        assert_eq!(text(write_time, &(0x80_0000 - most).to_be_bytes()[1..], 0), "-838:59:59");
    }

    #[test]
    fn datetimes_with_and_without_fraction() {
        let packed = |y: u64, mo: u64, d: u64, h: u64, mi: u64, s: u64| {
            (1 << 39) | ((y * 13 + mo) << 22) | (d << 17) | (h << 12) | (mi << 6) | s
        };
        let raw = |value: u64| value.to_be_bytes()[3..].to_vec();
        assert_eq!(text(write_datetime, &raw(packed(2024, 12, 31, 23, 59, 58)), 0), "2024-12-31 23:59:58");
        assert_eq!(text(write_datetime, &raw(packed(0, 0, 0, 0, 0, 0)), 0), "0000-00-00 00:00:00");
        let mut milli = raw(packed(1000, 1, 1, 0, 0, 0));
        milli.extend([0, 10]);
        assert_eq!(text(write_datetime, &milli, 3), "1000-01-01 00:00:00.001");
        assert!(write_datetime(&milli, 0, &mut Vec::new()).is_err());
        milli[5] = 0xff;
        assert!(write_datetime(&milli, 3, &mut Vec::new()).is_err(), "a fraction of more than a second");
    }

    #[test]
    fn values_of_servers_before_5_6() {
        let old = |write: fn(&[u8], &mut Vec<u8>) -> Result<(), BadValue>, raw: &[u8]| {
            let mut out = Vec::new();
            write(raw, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(old(write_old_time, &(-8_385_959i32).to_le_bytes()[..3]), "-838:59:59");
        assert_eq!(old(write_old_datetime, &20_120_102_030_405u64.to_le_bytes()), "2012-01-02 03:04:05");
        assert_eq!(old(write_old_timestamp, &1u32.to_le_bytes()), "1970-01-01 00:00:01");
        assert_eq!(old(write_year, &[0]), "0000");
        assert_eq!(old(write_year, &[124]), "2024");
    }
}
