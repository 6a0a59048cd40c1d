//! Integers and floating-point numbers as text.
//!
//! Must not know columns beyond their sign.

use super::read::{le_int, le_uint};
use super::text::BadValue;

/// A little-endian integer of 1, 2, 3, 4 or 8 bytes.
#[inline]
pub(crate) fn write_integer(raw: &[u8], unsigned: bool, out: &mut Vec<u8>) {
    if unsigned {
        write_u64(le_uint(raw), out);
    } else {
        write_i64(le_int(raw), out);
    }
}

#[inline]
pub(crate) fn write_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
pub(crate) fn write_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A FLOAT: the shortest digits that read back as the same 4-byte number.
pub(crate) fn write_float(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let bytes = <[u8; 4]>::try_from(raw).map_err(|_| BadValue::Expected("a FLOAT of 4 bytes"))?;
    let value = f32::from_le_bytes(bytes);
    if !value.is_finite() {
        return Err(BadValue::Expected("a finite FLOAT"));
    }
    write_shortest(zmij::Buffer::new().format_finite(value), out);
    Ok(())
}

/// A DOUBLE: the shortest digits that read back as the same 8-byte number.
pub(crate) fn write_double(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let bytes = <[u8; 8]>::try_from(raw).map_err(|_| BadValue::Expected("a DOUBLE of 8 bytes"))?;
    let value = f64::from_le_bytes(bytes);
    if !value.is_finite() {
        return Err(BadValue::Expected("a finite DOUBLE"));
    }
    write_shortest(zmij::Buffer::new().format_finite(value), out);
    Ok(())
}

/// Lays shortest digits out as the server does: plain while the point is within 15 digits, else with an exponent
/// without plus sign or leading zeros. `text` is any usual form of the number (`-1.5e-7`, `0.001`, `12.0`).
fn write_shortest(text: &str, out: &mut Vec<u8>) {
    let mut digits = [0u8; 24];
    let (mut count, mut point, mut exponent) = (0, 0i32, 0i32);
    let (mut in_fraction, mut negative_exponent) = (false, false);
    let mut bytes = text.bytes();
    for byte in bytes.by_ref() {
        match byte {
            b'-' => out.push(b'-'),
            b'.' => in_fraction = true,
            b'e' => break,
            b'0' if count == 0 => point -= i32::from(in_fraction),
            digit => {
                // A shortest form has at most 17 digits; zeros that only place the point may follow.
                if let Some(place) = digits.get_mut(count) {
                    *place = digit;
                    count += 1;
                }
                point += i32::from(!in_fraction);
            }
        }
    }
    for byte in bytes {
        match byte {
            b'+' => {}
            b'-' => negative_exponent = true,
            digit => exponent = exponent * 10 + i32::from(digit.wrapping_sub(b'0')),
        }
    }
    while count > 0 && digits[count - 1] == b'0' {
        count -= 1;
    }
    if count == 0 {
        out.push(b'0');
        return;
    }
    lay_out(&digits[..count], point + if negative_exponent { -exponent } else { exponent }, out);
}

/// Digits with the decimal point before the digit of index `point` (which may lie outside of them).
fn lay_out(digits: &[u8], point: i32, out: &mut Vec<u8>) {
    const MOST: i32 = 15;
    let count = digits.len() as i32;
    let plain = point > -MOST && (point <= MOST || count > point);
    if !plain {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        write_i64(i64::from(point - 1), out);
    } else if point <= 0 {
        out.extend_from_slice(b"0.");
        out.extend((point..0).map(|_| b'0'));
        out.extend_from_slice(digits);
    } else if count <= point {
        out.extend_from_slice(digits);
        out.extend((count..point).map(|_| b'0'));
    } else {
        let (whole, fraction) = digits.split_at(point as usize);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        write_double(&value.to_le_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn float(value: f32) -> String {
        let mut out = Vec::new();
        write_float(&value.to_le_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn integer(raw: &[u8], unsigned: bool) -> String {
        let mut out = Vec::new();
        write_integer(raw, unsigned, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_of_every_width_and_sign() {
        assert_eq!(integer(&[0xff], false), "-1");
        assert_eq!(integer(&[0xff], true), "255");
        assert_eq!(integer(&[0, 0, 0x80], false), "-8388608");
        assert_eq!(integer(&[0xff, 0xff, 0xff], true), "16777215");
        assert_eq!(integer(&[0xff; 8], true), "18446744073709551615");
        assert_eq!(integer(&i64::MIN.to_le_bytes(), false), "-9223372036854775808");
    }

    #[test]
    fn doubles_are_laid_out_as_the_server_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (-123.456, "-123.456"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (123456789012345680.0, "1.2345678901234568e17"),
            (1e-14, "0.00000000000001"),
            (1e-16, "1e-16"),
            (1.7976931348623157e308, "1.7976931348623157e308"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn floats_are_as_short_as_they_read_back() {
        assert_eq!(float(0.1), "0.1");
        assert_eq!(float(16777216.0), "16777216");
        assert_eq!(float(3.4028235e38), "3.4028235e38");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert!(write_double(&f64::NAN.to_le_bytes(), &mut Vec::new()).is_err());
        assert!(write_float(&[0; 3], &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn every_finite_double_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(double(value).parse::<f64>().unwrap().to_bits(), bits);
        }

        #[test]
        fn every_finite_float_reads_back(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(float(value).parse::<f32>().unwrap().to_bits(), bits);
        }
    }
}
