//! GTID_TAGGED (MySQL 8.3 and later): the GTID event in the server's general serialization format.
//!
//! Must not accept what it cannot place: a field it does not know ends the reading only where the writer says that it
//! may be ignored. Layout: MySQL's `libs/mysql/serialization/readme.md` and `Gtid_event::define_fields`.

use super::gtid::Gtid;
use super::read::{Read, Reader, le_uint};

/// The fields' numbers.
mod field {
    pub const FLAGS: u64 = 0;
    pub const UUID: u64 = 1;
    pub const NUMBER: u64 = 2;
    pub const TAG: u64 = 3;
    pub const LAST_COMMITTED: u64 = 4;
    pub const SEQUENCE_NUMBER: u64 = 5;
    pub const IMMEDIATE_COMMIT: u64 = 6;
    pub const ORIGINAL_COMMIT: u64 = 7;
    pub const TRANSACTION_LENGTH: u64 = 8;
    pub const IMMEDIATE_VERSION: u64 = 9;
    pub const ORIGINAL_VERSION: u64 = 10;
    pub const COMMIT_GROUP_TICKET: u64 = 11;
}

/// The most characters of a tag.
const MAX_TAG: u64 = 32;

/// Reads the event's body.
pub(crate) fn parse_tagged_gtid<'a>(body: &'a [u8]) -> Read<Gtid<'a>> {
    let mut reader = Reader::new(body);
    let start = reader;
    if unsigned(&mut reader, "a serialization version")? != 1 {
        return Err(start.bad("serialization version 1"));
    }
    let size = unsigned(&mut reader, "a message's size")?;
    if size > body.len() as u64 || size < reader.at() as u64 {
        return Err(start.bad("a message within its event"));
    }
    let last_needed = unsigned(&mut reader, "the last field that may not be ignored")?;
    let mut gtid = Gtid {
        uuid: [0; 16],
        tag: "",
        number: 0,
        last_committed: 0,
        sequence_number: 0,
        immediate_commit_us: 0,
        original_commit_us: 0,
        transaction_length: 0,
    };
    let mut original = None;
    while (reader.at() as u64) < size {
        let start = reader;
        match unsigned(&mut reader, "a field's number")? {
            field::FLAGS => drop(unsigned(&mut reader, "GTID flags")?),
            field::UUID => {
                for byte in &mut gtid.uuid {
                    *byte = unsigned(&mut reader, "a byte of a UUID")? as u8;
                }
            }
            field::NUMBER => gtid.number = positive(&mut reader, "a transaction number")?,
            field::TAG => gtid.tag = tag(&mut reader)?,
            field::LAST_COMMITTED => gtid.last_committed = positive(&mut reader, "last_committed")?,
            field::SEQUENCE_NUMBER => gtid.sequence_number = positive(&mut reader, "sequence_number")?,
            field::IMMEDIATE_COMMIT => gtid.immediate_commit_us = unsigned(&mut reader, "a commit time")?,
            field::ORIGINAL_COMMIT => original = Some(unsigned(&mut reader, "an original commit time")?),
            field::TRANSACTION_LENGTH => gtid.transaction_length = unsigned(&mut reader, "a transaction length")?,
            field::IMMEDIATE_VERSION | field::ORIGINAL_VERSION | field::COMMIT_GROUP_TICKET => {
                unsigned(&mut reader, "a number")?;
            }
            // Of a newer server. Fields have no lengths: what follows is unknown as well.
            unknown if unknown > last_needed => break,
            _ => return Err(start.bad("a known field of a tagged GTID")),
        }
    }
    gtid.original_commit_us = original.unwrap_or(gtid.immediate_commit_us);
    if gtid.number == 0 {
        return Err(start.bad("a GTID with a number"));
    }
    Ok(gtid)
}

fn tag<'a>(reader: &mut Reader<'a>) -> Read<&'a str> {
    let start = *reader;
    let length = unsigned(reader, "a tag's length")?;
    if length > MAX_TAG {
        return Err(start.bad("a tag of at most 32 characters"));
    }
    reader.str(length as usize, "a tag")
}

/// An unsigned number of 1 to 9 bytes: as many bytes follow the first as it has trailing one bits; what is above
/// those and the zero that ends them is the number, little-endian.
fn unsigned(reader: &mut Reader<'_>, expected: &'static str) -> Read<u64> {
    let mut ahead = *reader;
    let following = ahead.u8(expected)?.trailing_ones() as usize;
    let bytes = reader.take(following + 1, expected)?;
    Ok(match following {
        8 => le_uint(&bytes[1..]),
        // 8 bytes: the first is all marks.
        7 => le_uint(bytes) >> 8,
        _ => le_uint(bytes) >> (following + 1),
    })
}

/// A signed number has its sign in the lowest bit; none of ours is negative.
fn positive(reader: &mut Reader<'_>, expected: &'static str) -> Read<u64> {
    let start = *reader;
    let number = unsigned(reader, expected)?;
    if number & 1 == 1 { Err(start.bad(expected)) } else { Ok(number >> 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies as MySQL 9.7 wrote them.
    const BLUE: &str = "0272000000 02e28d03748503 9d032622c503b902a90204f1030000000204040608626c75650808\
        0a0c0c7f7f73fd9aed60061061041283120b";
    const RED: &str = "026c00000002000000000000000000000000000000fd03040f80461c86060672656408080a1c0c7fc475fd9aed6006\
        1055041283120b";

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.chars().filter(char::is_ascii_hexdigit).collect();
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn recorded_events_are_read() {
        let body = bytes(BLUE);
        let gtid = parse_tagged_gtid(&body).unwrap();
        assert_eq!(gtid.to_string(), "71e33ae1-e713-11f1-aeaa-02fc00000001:blue:1");
        assert_eq!((gtid.last_committed, gtid.sequence_number, gtid.transaction_length), (2, 3, 280));
        assert_eq!(gtid.immediate_commit_us, 0x0660_ed9a_fd73_7f);
        assert_eq!(gtid.original_commit_us, gtid.immediate_commit_us);
        let body = bytes(RED);
        assert_eq!(
            parse_tagged_gtid(&body).unwrap().to_string(),
            "00000000-0000-0000-0000-0000000000ff:red:9000000000"
        );
    }

    #[test]
    fn every_cut_is_refused() {
        let body = bytes(BLUE);
        for length in 0..body.len() {
            assert!(parse_tagged_gtid(&body[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn numbers_have_up_to_nine_bytes() {
        let read = |bytes: &[u8]| unsigned(&mut Reader::new(bytes), "n");
        assert_eq!(read(&[0xfe]), Ok(127));
        assert_eq!(read(&[0xfd, 0x03]), Ok(255));
        assert_eq!(read(&[0xff, 1, 2, 3, 4, 5, 6, 7, 8]), Ok(0x0807_0605_0403_0201));
        assert_eq!(read(&[0x7f, 1, 0, 0, 0, 0, 0, 1]), Ok((1 << 48) + 1));
        assert!(read(&[0xff, 1]).is_err());
    }

    #[test]
    fn a_newer_servers_field_is_passed_over_only_where_it_may_be() {
        let mut body = bytes(BLUE);
        body.extend([60, 2]);
        body[1] = (body.len() as u8) << 1;
        assert_eq!(parse_tagged_gtid(&body).unwrap().number, 1);
        body[2] = 60;
        assert!(parse_tagged_gtid(&body).is_err());
    }
}
