//! DECIMAL: packed groups of nine digits, big-endian, with the sign in the first bit.
//!
//! Must not round: the text has exactly the column's scale. Layout: MySQL's `strings/decimal.cc`, `decimal2bin`.

use super::read::be_uint;
use super::text::BadValue;

/// Bytes that so many digits of an incomplete group take.
const GROUP_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// Digits of a full group.
const GROUP: usize = 9;
const POWERS: [u64; 10] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// Bytes of a DECIMAL(precision, scale); at most 30 for 65 digits.
pub(crate) fn packed_len(precision: u8, scale: u8) -> usize {
    let part = |digits: usize| digits / GROUP * 4 + GROUP_BYTES[digits % GROUP];
    let scale = usize::from(scale);
    part(usize::from(precision).saturating_sub(scale)) + part(scale)
}

/// Writes the number with all digits of its scale and without leading zeros.
pub(crate) fn write(raw: &[u8], precision: u8, scale: u8, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let expected = BadValue::Expected("a DECIMAL of its column's digits");
    let mut copy = [0u8; 32];
    let length = raw.len();
    if precision == 0 || precision > 65 || scale > precision || length != packed_len(precision, scale) {
        return Err(expected);
    }
    let bytes = &mut copy[..length];
    bytes.copy_from_slice(raw);
    let negative = bytes[0] & 0x80 == 0;
    bytes[0] ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        out.push(b'-');
    }
    let mut bytes = &copy[..length];
    let mut group = |digits: usize| {
        let (head, rest) = bytes.split_at(GROUP_BYTES[digits]);
        bytes = rest;
        let value = be_uint(head);
        if value < POWERS[digits] { Ok(value) } else { Err(expected) }
    };
    let whole = usize::from(precision - scale);
    let mut started = false;
    for digits in [whole % GROUP].into_iter().chain(std::iter::repeat_n(GROUP, whole / GROUP)) {
        let value = group(digits)?;
        if started {
            write_digits(value, GROUP, out);
        } else if value != 0 {
            super::number::write_u64(value, out);
            started = true;
        }
    }
    if !started {
        out.push(b'0');
    }
    let scale = usize::from(scale);
    if scale > 0 {
        out.push(b'.');
        for digits in std::iter::repeat_n(GROUP, scale / GROUP).chain([scale % GROUP]) {
            let value = group(digits)?;
            write_digits(value, digits, out);
        }
    }
    Ok(())
}

/// Writes a number with leading zeros, at most 20 digits.
#[inline]
pub(crate) fn write_digits(value: u64, digits: usize, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; 20];
    let digits = digits.min(buffer.len());
    let mut rest = value;
    for place in buffer[..digits].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&buffer[..digits]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(raw: &[u8], precision: u8, scale: u8) -> String {
        let mut out = Vec::new();
        write(raw, precision, scale, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The server's packing, written from its description: for the round trip.
    fn pack(digits: &str, negative: bool, precision: u8, scale: u8) -> Vec<u8> {
        let (whole, fraction) = digits.split_at(usize::from(precision - scale));
        let mut raw = Vec::new();
        let mut push = |group: &str| {
            let value: u32 = if group.is_empty() { 0 } else { group.parse().unwrap() };
            raw.extend_from_slice(&value.to_be_bytes()[4 - GROUP_BYTES[group.len()]..]);
        };
        let (head, rest) = whole.split_at(whole.len() % GROUP);
        push(head);
        rest.as_bytes().chunks(GROUP).for_each(|group| push(std::str::from_utf8(group).unwrap()));
        fraction.as_bytes().chunks(GROUP).for_each(|group| push(std::str::from_utf8(group).unwrap()));
        if negative {
            raw.iter_mut().for_each(|byte| *byte = !*byte);
        }
        raw[0] ^= 0x80;
        raw
    }

    #[test]
    fn the_documented_example() {
        // 1234567890.1234 as DECIMAL(14,4), from the comment above decimal2bin.
        assert_eq!(text(&[0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2], 14, 4), "1234567890.1234");
        assert_eq!(text(&[0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d], 14, 4), "-1234567890.1234");
    }

    #[test]
    fn zero_keeps_its_scale() {
        assert_eq!(text(&pack("000000000000", false, 12, 2), 12, 2), "0.00");
        assert_eq!(text(&pack("5", false, 1, 1), 1, 1), "0.5");
        assert_eq!(text(&pack(&"9".repeat(65), true, 65, 30), 65, 30).len(), 67);
    }

    #[test]
    fn a_wrong_length_or_a_group_out_of_range_is_refused() {
        assert!(write(&[0x80; 5], 12, 2, &mut Vec::new()).is_err());
        assert!(write(&[0xff, 0xff, 0xff, 0xff], 9, 0, &mut Vec::new()).is_err());
        assert!(write(&[], 0, 0, &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn packed_digits_come_back(precision in 1u8..=65, scale in 0u8..=30, seed in "[0-9]{65}", negative: bool) {
            let scale = scale.min(precision);
            let digits = &seed[..usize::from(precision)];
            let packed = pack(digits, negative, precision, scale);
            let (whole, fraction) = digits.split_at(usize::from(precision - scale));
            let whole = whole.trim_start_matches('0');
            let mut expected = String::from(if negative { "-" } else { "" });
            expected.push_str(if whole.is_empty() { "0" } else { whole });
            if scale > 0 {
                expected.push('.');
                expected.push_str(fraction);
            }
            prop_assert_eq!(text(&packed, precision, scale), expected);
        }
    }
}
