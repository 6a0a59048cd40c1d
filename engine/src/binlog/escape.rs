//! Text as the content of a JSON string (RFC 8259 §7): quotes, backslashes and control characters escaped.
//!
//! Must not decode charsets.

use super::text::BadValue;

/// What a byte becomes: 0 stays as it is, `u` becomes `\u00xx`, any other letter stands after a backslash.
static ESCAPES: [u8; 256] = escapes();

const fn escapes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
}

/// Escapes bytes that must be UTF-8.
#[inline]
pub(crate) fn escape_utf8(text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    if is_plain(text) {
        out.extend_from_slice(text);
        return Ok(());
    }
    escape_slow(text, out)
}

fn escape_slow(text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    if std::str::from_utf8(text).is_err() {
        return Err(BadValue::Expected("text in utf8"));
    }
    let mut done = 0;
    for (at, &byte) in text.iter().enumerate() {
        if ESCAPES[usize::from(byte)] != 0 {
            out.extend_from_slice(&text[done..at]);
            escape_ascii(byte, out);
            done = at + 1;
        }
    }
    out.extend_from_slice(&text[done..]);
    Ok(())
}

/// Whether text is ASCII without anything to escape: eight bytes at a time.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let mut chunks = text.chunks_exact(8);
    for chunk in &mut chunks {
        let Ok(bytes) = <[u8; 8]>::try_from(chunk) else { return false };
        let word = u64::from_le_bytes(bytes);
        // The high bit of a byte of `x - ONES * n` is set if that byte of x is below n (for bytes below 0x80; for
        // others the check itself sees the high bit). Borrows only make a plain word look suspicious.
        let control = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
        if (word | control | quote | backslash) & HIGH != 0 {
            return false;
        }
    }
    chunks.remainder().iter().all(|&byte| byte < 0x80 && ESCAPES[usize::from(byte)] == 0)
}

/// Escapes one character.
#[inline]
pub(crate) fn escape_char(character: char, out: &mut Vec<u8>) {
    if character.is_ascii() {
        escape_ascii(character as u8, out);
    } else {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Escapes one ASCII byte.
#[inline]
pub(crate) fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match ESCAPES[usize::from(byte)] {
        0 => out.push(byte),
        b'u' => {
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])
        }
        letter => out.extend_from_slice(&[b'\\', letter]),
    }
}

/// Escapes bytes that must be UTF-8 as JSON, and the result as the content of a JSON string: for JSON within JSON.
#[inline]
pub(crate) fn escape_utf8_twice(text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    if is_plain(text) {
        out.extend_from_slice(text);
        return Ok(());
    }
    if std::str::from_utf8(text).is_err() {
        return Err(BadValue::Expected("text in utf8"));
    }
    text.iter().for_each(|&byte| escape_twice(byte, out));
    Ok(())
}

fn escape_twice(byte: u8, out: &mut Vec<u8>) {
    match ESCAPES[usize::from(byte)] {
        0 => out.push(byte),
        b'u' => {
            out.push(b'\\');
            escape_ascii(byte, out);
        }
        // The escape's backslash doubles; a quote or backslash behind it is escaped as well.
        b'"' => out.extend_from_slice(b"\\\\\\\""),
        b'\\' => out.extend_from_slice(b"\\\\\\\\"),
        letter => out.extend_from_slice(&[b'\\', b'\\', letter]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape_utf8(text.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_json_wants_escaped_is_escaped() {
        assert_eq!(escaped("a\"b\\c\n\u{1}\u{7f}\u{e9}"), "a\\\"b\\\\c\\n\\u0001\u{7f}\u{e9}");
        assert_eq!(escaped("plain text, longer than eight bytes"), "plain text, longer than eight bytes");
        assert!(escape_utf8(&[b'a', 0xff], &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn a_json_parser_reads_back_what_was_escaped(text in ".*") {
            let json = format!("\"{}\"", escaped(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn control_characters_come_back_too(bytes in proptest::collection::vec(0u8..0x80, 0..40)) {
            let text = String::from_utf8(bytes).unwrap();
            let json = format!("\"{}\"", escaped(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
