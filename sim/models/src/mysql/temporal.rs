//! DATE, TIME, DATETIME and the fractions of seconds in row images.

use super::rows::Refusal;
use super::value::Value;

/// DATE: day in 5 bits, month in 4, year above; three bytes, little-endian.
pub(crate) fn put_date(out: &mut Vec<u8>, year: u16, month: u8, day: u8) -> Result<(), Refusal> {
    check_date(year, month, day)?;
    let packed = u32::from(day) | u32::from(month) << 5 | u32::from(year) << 9;
    out.extend_from_slice(&packed.to_le_bytes()[..3]);
    Ok(())
}

fn check_date(year: u16, month: u8, day: u8) -> Result<(), Refusal> {
    if year > 9999 || month > 12 || day > 31 {
        return Err(format!("incorrect date value {year}-{month}-{day}"));
    }
    Ok(())
}

/// TIME: hours, minutes and seconds in 10, 6 and 6 bits around the middle of 24 bits, then the fraction. Below zero the
/// whole, fraction included, is the negated number, and the borrow goes through both parts.
pub(crate) fn put_time(out: &mut Vec<u8>, value: &Value, fsp: u8) -> Result<(), Refusal> {
    let Value::Time { negative, hours, minutes, seconds, micros } = *value else {
        return Err(format!("{value:?} is no time"));
    };
    if hours > 838 || minutes > 59 || seconds > 59 || micros > 999_999 {
        return Err(format!("incorrect time value {value:?}"));
    }
    let whole = i64::from(hours) << 12 | i64::from(minutes) << 6 | i64::from(seconds);
    let packed = whole << 24 | i64::from(micros);
    let packed = if negative { -packed } else { packed };
    match fsp {
        0..=4 => {
            // C's remainder: the fraction has the sign of the number, the whole part is rounded down.
            let high = (packed >> 24) + 0x80_0000;
            out.extend_from_slice(&(high as u32).to_be_bytes()[1..]);
            put_fraction(out, packed % (1 << 24), fsp)
        }
        5 | 6 => {
            out.extend_from_slice(&(packed + 0x8000_0000_0000).to_be_bytes()[2..]);
            check_fraction(i64::from(micros), fsp)
        }
        _ => Err(format!("no fraction of {fsp} digits")),
    }
}

/// DATETIME: year*13+month in 17 bits, then 5, 5, 6 and 6 bits; the sign bit is always set; then the fraction.
pub(crate) fn put_datetime(out: &mut Vec<u8>, value: &Value, fsp: u8) -> Result<(), Refusal> {
    let Value::DateTime { year, month, day, hour, minute, second, micros } = *value else {
        return Err(format!("{value:?} is no datetime"));
    };
    check_date(year, month, day)?;
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return Err(format!("incorrect datetime value {value:?}"));
    }
    let date = (u64::from(year) * 13 + u64::from(month)) << 5 | u64::from(day);
    let time = u64::from(hour) << 12 | u64::from(minute) << 6 | u64::from(second);
    let packed = (date << 17 | time) + 0x80_0000_0000;
    out.extend_from_slice(&packed.to_be_bytes()[3..]);
    put_fraction(out, i64::from(micros), fsp)
}

/// The fraction in 0 to 3 bytes, big-endian, by the column's digits (an odd number of digits is stored as the next
/// even).
pub(crate) fn put_fraction(out: &mut Vec<u8>, micros: i64, fsp: u8) -> Result<(), Refusal> {
    check_fraction(micros, fsp)?;
    match fsp {
        0 => {}
        1 | 2 => out.push((micros / 10_000) as u8),
        3 | 4 => out.extend_from_slice(&((micros / 100) as i16).to_be_bytes()),
        _ => out.extend_from_slice(&(micros as i32).to_be_bytes()[1..]),
    }
    Ok(())
}

/// The model does not round: a value with more digits than its column has is the caller's mistake.
fn check_fraction(micros: i64, fsp: u8) -> Result<(), Refusal> {
    let step = 10i64.pow(6 - u32::from(fsp.min(6)));
    if micros.abs() > 999_999 || micros % step != 0 {
        return Err(format!("a fraction of {micros} microseconds in a column with {fsp} digits"));
    }
    Ok(())
}
