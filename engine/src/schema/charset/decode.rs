//! Text of any charset as pieces of UTF-8.
//!
//! Must not allocate: pieces come from the input or from a small buffer.

use encoding_rs::{DecoderResult, Encoding};

use super::multi_byte::MultiByte;
use super::{Charset, Invalid, Kind};

/// Windows-1252's assignment of 0x80 to 0x9f; the five bytes it leaves open stay what they are in ISO-8859-1.
const LATIN1_80_9F: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d,
    0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d,
    0x17e, 0x178,
];

/// What swe7 has in place of ASCII.
const SWE7: [(u8, u16); 10] = [
    (0x40, 0xc9),
    (0x5b, 0xc4),
    (0x5c, 0xd6),
    (0x5d, 0xc5),
    (0x5e, 0xdc),
    (0x60, 0xe9),
    (0x7b, 0xe4),
    (0x7c, 0xf6),
    (0x7d, 0xe5),
    (0x7e, 0xfc),
];

/// "No such character" in the tables.
const NONE: u16 = 0xfffd;

/// A place to gather characters into pieces.
struct Pieces<'e> {
    buffer: [u8; 256],
    len: usize,
    emit: &'e mut dyn FnMut(&str),
}

impl Pieces<'_> {
    #[inline]
    fn push(&mut self, character: char) {
        if self.len + 4 > self.buffer.len() {
            self.flush();
        }
        self.len += character.encode_utf8(&mut self.buffer[self.len..]).len();
    }

    fn flush(&mut self) {
        // Only whole characters were written.
        if let Ok(piece) = std::str::from_utf8(&self.buffer[..self.len]) {
            (self.emit)(piece);
        }
        self.len = 0;
    }
}

impl Charset {
    /// Decodes `bytes` into pieces of UTF-8, in order.
    ///
    /// # Errors
    /// [`Invalid`] if they are not text in this charset; pieces before that were emitted.
    pub fn decode_with(self, bytes: &[u8], emit: &mut dyn FnMut(&str)) -> Result<(), Invalid> {
        match self.0 {
            Kind::Utf8 => emit(std::str::from_utf8(bytes).map_err(|_| Invalid)?),
            Kind::Ascii if !bytes.is_ascii() => return Err(Invalid),
            Kind::Ascii => emit(std::str::from_utf8(bytes).map_err(|_| Invalid)?),
            Kind::Multi(set) if !set.has_exceptions() => by_encoding(set.encoding, bytes, emit)?,
            Kind::Multi(set) => with_exceptions(set, bytes, emit)?,
            _ => {
                let mut pieces = Pieces { buffer: [0; 256], len: 0, emit };
                self.characters(bytes, &mut pieces)?;
                pieces.flush();
            }
        }
        Ok(())
    }

    fn characters(self, bytes: &[u8], pieces: &mut Pieces<'_>) -> Result<(), Invalid> {
        match self.0 {
            Kind::Latin1 => bytes.iter().try_for_each(|&byte| match byte {
                0x80..=0x9f => unit(LATIN1_80_9F[usize::from(byte - 0x80)], pieces),
                other => unit(u16::from(other), pieces),
            }),
            Kind::Single(_, upper) => bytes.iter().try_for_each(|&byte| match byte {
                0x80.. => unit(upper[usize::from(byte - 0x80)], pieces),
                ascii => unit(u16::from(ascii), pieces),
            }),
            Kind::Swe7 => bytes.iter().try_for_each(|&byte| match SWE7.iter().find(|(swedish, _)| *swedish == byte) {
                Some(&(_, character)) => unit(character, pieces),
                None if byte < 0x7f => unit(u16::from(byte), pieces),
                None => Err(Invalid),
            }),
            Kind::Utf16 => utf16(bytes, u16::from_be_bytes, pieces),
            Kind::Utf16Le => utf16(bytes, u16::from_le_bytes, pieces),
            Kind::Utf32 => {
                let (units, rest) = bytes.as_chunks::<4>();
                for &unit in units {
                    pieces.push(char::from_u32(u32::from_be_bytes(unit)).ok_or(Invalid)?);
                }
                if rest.is_empty() { Ok(()) } else { Err(Invalid) }
            }
            // Bytes as ISO-8859-1. The others were decoded without single characters.
            Kind::Binary | Kind::Utf8 | Kind::Ascii | Kind::Multi(_) => {
                bytes.iter().for_each(|&byte| pieces.push(char::from(byte)));
                Ok(())
            }
        }
    }
}

#[inline]
fn unit(code: u16, pieces: &mut Pieces<'_>) -> Result<(), Invalid> {
    match char::from_u32(u32::from(code)) {
        Some(character) if code != NONE => {
            pieces.push(character);
            Ok(())
        }
        _ => Err(Invalid),
    }
}

fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16, pieces: &mut Pieces<'_>) -> Result<(), Invalid> {
    let (units, rest) = bytes.as_chunks::<2>();
    for character in char::decode_utf16(units.iter().map(|&unit| order(unit))) {
        pieces.push(character.map_err(|_| Invalid)?);
    }
    if rest.is_empty() { Ok(()) } else { Err(Invalid) }
}

/// Runs of ordinary characters in one go, exceptions one by one.
fn with_exceptions(set: &MultiByte, bytes: &[u8], emit: &mut dyn FnMut(&str)) -> Result<(), Invalid> {
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let (length, exception) = set.first(&bytes[at..]);
        if let Some(character) = exception {
            by_encoding(set.encoding, &bytes[start..at], emit)?;
            emit(character.encode_utf8(&mut [0; 4]));
            start = at + length;
        }
        at += length;
    }
    by_encoding(set.encoding, &bytes[start..], emit)
}

fn by_encoding(encoding: &'static Encoding, bytes: &[u8], emit: &mut dyn FnMut(&str)) -> Result<(), Invalid> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut buffer = [0u8; 512];
    let mut rest = bytes;
    loop {
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(rest, &mut buffer, true);
        emit(std::str::from_utf8(&buffer[..written]).map_err(|_| Invalid)?);
        match result {
            DecoderResult::InputEmpty => return Ok(()),
            DecoderResult::OutputFull => rest = &rest[read..],
            DecoderResult::Malformed(..) => return Err(Invalid),
        }
    }
}
