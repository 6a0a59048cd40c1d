//! Binlog files: a file's bytes in, piece by piece, whole events out with their offsets.
//!
//! Verifies what a file can be checked by: the magic number, sizes, checksums, and that it does not end within an
//! event.
//! Must not open files and must not look into bodies, but for the format description, which says whether there are
//! checksums. Holds the event at hand and what was pushed behind it, no more.

use super::event::FormatDescription;
use super::header::{EventHeader, EventType, HEADER_LEN};
use super::read::{Read, Reader};
use crate::cause::{Cause, Stop};

/// The first bytes of a binlog and of a relay log.
pub const MAGIC: [u8; 4] = *b"\xfebin";
/// The first bytes of a file that MySQL encrypted (`binlog_encryption=ON`).
const MAGIC_ENCRYPTED: [u8; 4] = *b"\xfdbin";

/// The largest event a server writes and reads (`MAX_MAX_ALLOWED_PACKET`, with room for headers).
pub(super) const MAX_EVENT: u32 = (1 << 30) + (1 << 20);
/// Header flag of the format description of a file that its server has not closed.
const IN_USE: u16 = 0x1;
const CHECKSUM: usize = 4;
/// The checksum algorithm's number for CRC32; 0 is none.
const CRC32: u8 = 1;

/// An event of a file.
#[derive(Debug, Clone, Copy)]
pub struct FileEvent<'a> {
    /// The event's first byte, from the file's start. 64 bits: files over 4 GiB exist.
    pub offset: u64,
    /// Its header.
    pub header: EventHeader,
    /// Header and body without the checksum, as [`super::Decoder::decode`] takes it.
    pub raw: &'a [u8],
    /// Whether a checksum was there (and right).
    pub checksummed: bool,
}

/// Reads one file. Push its bytes in order and take events out until there is none; [`FileReader::finish`] at its end.
#[derive(Debug, Default)]
pub struct FileReader {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were given out.
    taken: usize,
    /// The file's offset of what comes next.
    offset: u64,
    checksums: bool,
    /// The last format description's file was not closed by its server.
    in_use: bool,
    described: bool,
    /// MariaDB encrypts what follows.
    encrypted: bool,
}

impl FileReader {
    /// At a file's start.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the file's next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..std::mem::take(&mut self.taken));
        self.buffer.extend_from_slice(bytes);
    }

    /// Offset of the first byte that no event given out holds.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The file's server has not closed it: it writes still, or ended without doing so. Then an incomplete last event
    /// is what is to be expected.
    pub fn in_use(&self) -> bool {
        self.in_use
    }

    /// The next whole event; `None` when more bytes are needed, or at the file's end. After an error the reader stays
    /// where it is.
    ///
    /// # Errors
    /// `corrupt` for what is no binlog, contradicts itself or its checksum; `undecoded` for an encrypted file. The text
    /// says the offset and what was expected there.
    pub fn next_event(&mut self) -> Result<Option<FileEvent<'_>>, Stop> {
        if self.offset == 0 && !self.magic()? {
            return Ok(None);
        }
        let left = &self.buffer[self.taken..];
        if left.is_empty() {
            return Ok(None);
        }
        if self.encrypted {
            return Err(undecoded(self.offset, "MariaDB encrypted the file from here on: set encrypt_binlog=OFF"));
        }
        if left.len() < HEADER_LEN {
            return Ok(None);
        }
        let mut header = EventHeader::parse(left)?;
        self.plausible(&header)?;
        let size = header.size as usize;
        let Some(event) = left.get(..size) else { return Ok(None) };
        let mut sum = self.checksums;
        if header.event_type == EventType::FORMAT_DESCRIPTION {
            let algorithm = checksum_algorithm(event).map_err(|bad| {
                bad.in_event(&format!("a {} event at offset {}", header.event_type, self.offset), HEADER_LEN)
            })?;
            if algorithm.is_some_and(|algorithm| algorithm > CRC32) {
                return Err(undecoded(self.offset, "a checksum algorithm that is not known: upgrade Towpath"));
            }
            self.described = true;
            self.in_use = header.flags & IN_USE != 0;
            self.checksums = algorithm == Some(CRC32);
            // A server that knows checksums writes one here also when it writes none behind other events.
            sum = algorithm.is_some();
        }
        if sum && size < HEADER_LEN + CHECKSUM {
            return Err(corrupt(self.offset, &header, "a checksum of 4 bytes"));
        }
        let end = if sum { size - CHECKSUM } else { size };
        if sum {
            verify(event, end).map_err(|(computed, stored)| {
                let what = format!("the checksum {computed:08x}, found {stored:08x}");
                corrupt(self.offset + end as u64, &header, &what)
            })?;
        }
        self.encrypted |= header.event_type == EventType::MARIADB_START_ENCRYPTION;
        let offset = self.offset;
        let start = self.taken;
        self.taken += size;
        self.offset += size as u64;
        // The checksum's bytes belong to the event in the file, whatever was cut.
        header.size = size as u32;
        Ok(Some(FileEvent { offset, header, raw: &self.buffer[start..start + end], checksummed: self.checksums }))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// `corrupt` if it ends within an event: the text says at which offset and what was expected.
    pub fn finish(&self) -> Result<(), Stop> {
        let left = &self.buffer[self.taken..];
        if self.offset > 0 && left.is_empty() {
            return Ok(());
        }
        let end = self.offset + left.len() as u64;
        let expected = match EventHeader::parse(left) {
            _ if self.offset == 0 => "the 4 bytes that a binlog starts with".to_owned(),
            Ok(header) => format!(
                "the rest of the {} event of {} bytes that starts at {}",
                header.event_type, header.size, self.offset
            ),
            Err(_) => format!("the rest of an event's header, which starts at {}", self.offset),
        };
        let why = if self.in_use { "; its server has not closed it: it still writes, or crashed" } else { "" };
        Err(Stop::new(Cause::Corrupt, format!("the file ends at offset {end}, expected {expected}{why}")))
    }

    /// Takes the magic number; `false` if it is not there in full.
    fn magic(&mut self) -> Result<bool, Stop> {
        let Some(&magic) = self.buffer[self.taken..].first_chunk::<4>() else {
            return Ok(false);
        };
        match magic {
            MAGIC => {
                self.taken += MAGIC.len();
                self.offset = MAGIC.len() as u64;
                Ok(true)
            }
            MAGIC_ENCRYPTED => Err(undecoded(0, "MySQL encrypted the file: read it from its server")),
            _ => Err(Stop::new(
                Cause::Corrupt,
                "at offset 0 expected the 4 bytes that a binlog starts with: this is no binlog file",
            )),
        }
    }

    /// Refuses a header that none of a server's events has, before its size is believed.
    fn plausible(&self, header: &EventHeader) -> Result<(), Stop> {
        let EventHeader { event_type, size, .. } = *header;
        if event_type.0 == 0 && size == 0 {
            return Err(corrupt(self.offset, header, "an event; the file goes on with zeros"));
        }
        if (size as usize) < HEADER_LEN || size > MAX_EVENT {
            let what = format!("an event of {HEADER_LEN} to {MAX_EVENT} bytes, found one of {size}");
            return Err(corrupt(self.offset + 9, header, &what));
        }
        if !self.described && event_type != EventType::FORMAT_DESCRIPTION {
            return Err(corrupt(self.offset, header, "a format description as the first event"));
        }
        Ok(())
    }
}

/// The checksum algorithm that a format description names; `None` from a server that knows no checksums. It stands
/// before the event's own checksum, behind a list of lengths whose own length differs between versions.
fn checksum_algorithm(event: &[u8]) -> Read<Option<u8>> {
    let body = &event[HEADER_LEN..];
    let format = FormatDescription::parse(body)?;
    let version = version_numbers(format.server_version);
    if version < (5, 0, 0) {
        // No server older than that writes this format: believing it would be to leave out the checksum.
        return Err(Reader::new(&body[2..]).bad("a server version from 5.0 on"));
    }
    // MySQL writes checksums since 5.6.1, MariaDB since 5.3.
    let first = if format.server_version.contains("MariaDB") { (5, 3, 0) } else { (5, 6, 1) };
    if version < first {
        return Ok(None);
    }
    let at = body.len().checked_sub(CHECKSUM + 1);
    let algorithm = at.and_then(|at| body.get(at)).copied();
    algorithm.map(Some).ok_or(Reader::new(body).bad("a checksum algorithm and a checksum"))
}

/// `9.7.4-log` is (9, 7, 4); what is no number is 0.
fn version_numbers(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// Compares the checksum that stands at `end`; else gives the computed and the stored one.
fn verify(event: &[u8], end: usize) -> Result<(), (u32, u32)> {
    let mut hasher = crc32fast::Hasher::new();
    let header = EventHeader::parse(event).ok();
    match header.filter(|header| header.event_type == EventType::FORMAT_DESCRIPTION) {
        Some(header) => {
            // Computed before the file was marked as being written.
            hasher.update(&event[..HEADER_LEN - 2]);
            hasher.update(&(header.flags & !IN_USE).to_le_bytes());
            hasher.update(&event[HEADER_LEN..end]);
        }
        None => hasher.update(&event[..end]),
    }
    let (computed, stored) = (hasher.finalize(), super::read::le_uint(&event[end..]) as u32);
    if computed == stored { Ok(()) } else { Err((computed, stored)) }
}

fn corrupt(offset: u64, header: &EventHeader, expected: &str) -> Stop {
    Stop::new(Cause::Corrupt, format!("at offset {offset} ({} event) expected {expected}", header.event_type))
}

fn undecoded(offset: u64, what: &str) -> Stop {
    Stop::new(Cause::Undecoded, format!("at offset {offset}: {what}"))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
