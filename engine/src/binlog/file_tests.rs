//! Whole files in pieces of any size, files cut at every byte, and each kind of damage: nothing decoded wrongly,
//! nothing lost before the damage, and a place in the text.

use super::super::recorded_tests::{FULL, events};
use super::*;

/// All events' offsets and bytes, and how the file ended.
fn read_in_pieces(file: &[u8], piece: usize) -> (Vec<(u64, Vec<u8>)>, Result<(), Stop>) {
    let mut reader = FileReader::new();
    let mut found = Vec::new();
    for bytes in file.chunks(piece) {
        reader.push(bytes);
        loop {
            match reader.next_event() {
                Ok(Some(event)) => found.push((event.offset, event.raw.to_vec())),
                Ok(None) => break,
                Err(stop) => return (found, Err(stop)),
            }
        }
    }
    let end = reader.finish();
    (found, end)
}

fn read(file: &[u8]) -> (Vec<(u64, Vec<u8>)>, Result<(), Stop>) {
    read_in_pieces(file, usize::MAX)
}

/// A format description of a server and the events, as a file; `sum` writes checksums.
fn file(version: &str, algorithm: Option<u8>, flags: u16, bodies: &[(EventType, &[u8])]) -> Vec<u8> {
    let mut description = 4u16.to_le_bytes().to_vec();
    description.extend(version.bytes().chain(std::iter::repeat(0)).take(50));
    description.extend([0, 0, 0, 0, 19, 1, 2, 3]);
    description.extend(algorithm);
    let mut file = MAGIC.to_vec();
    append(&mut file, EventType::FORMAT_DESCRIPTION, &description, flags, algorithm.is_some());
    for (kind, body) in bodies {
        append(&mut file, *kind, body, 0, algorithm == Some(CRC32));
    }
    file
}

fn append(file: &mut Vec<u8>, kind: EventType, body: &[u8], flags: u16, sum: bool) {
    let size = HEADER_LEN + body.len() + if sum { CHECKSUM } else { 0 };
    let mut event = vec![1, 0, 0, 0, kind.0, 1, 0, 0, 0];
    event.extend((size as u32).to_le_bytes());
    event.extend(((file.len() + size) as u32).to_le_bytes());
    event.extend([0, 0]);
    event.extend(body);
    if sum {
        // As a server does: first the sum, then the mark that the file is being written.
        let crc = crc32fast::hash(&event);
        event.extend(crc.to_le_bytes());
    }
    event[17..19].copy_from_slice(&flags.to_le_bytes());
    file.extend(event);
}

const MYSQL: &str = "9.7.0";
const QUERY: (EventType, &[u8]) = (EventType::QUERY, b"some statement");

#[test]
fn a_recorded_file_is_read_in_pieces_of_any_size() {
    let expected: Vec<Vec<u8>> = events(FULL).into_iter().map(<[u8]>::to_vec).collect();
    for piece in [1, 7, 4096, usize::MAX] {
        let (found, end) = read_in_pieces(FULL, piece);
        assert_eq!(end, Ok(()));
        let raws: Vec<_> = found.iter().map(|(_, raw)| raw.clone()).collect();
        assert!(raws == expected, "pieces of {piece}");
        let mut offset = 4;
        for (at, raw) in &found {
            assert_eq!(*at, offset);
            offset += u64::from(EventHeader::parse(raw).unwrap().size);
        }
        assert_eq!(offset, FULL.len() as u64);
    }
}

#[test]
fn a_file_cut_at_any_byte_gives_the_whole_events_and_the_place() {
    let whole = file(MYSQL, Some(CRC32), IN_USE, &[QUERY, QUERY]);
    let (all, _) = read(&whole);
    for cut in 0..whole.len() {
        let (found, end) = read(&whole[..cut]);
        assert!(all.starts_with(&found));
        let complete = cut > 0 && (cut == 4 || all.iter().any(|(at, raw)| *at as usize + raw.len() + 4 == cut));
        match end {
            Ok(()) => assert!(complete, "cut at {cut}"),
            Err(stop) => {
                assert!(!complete, "cut at {cut}: {stop}");
                assert_eq!(stop.cause, Cause::Corrupt);
                assert!(stop.detail.contains(&format!("ends at offset {cut}, expected")), "{stop}");
            }
        }
    }
    let (_, end) = read(&whole[..whole.len() - 1]);
    let detail = end.unwrap_err().detail;
    assert!(detail.contains("the rest of the Query event of 37 bytes") && detail.contains("not closed"), "{detail}");
}

#[test]
fn a_flipped_bit_anywhere_is_seen() {
    let whole = file(MYSQL, Some(CRC32), 0, &[QUERY]);
    let (all, _) = read(&whole);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (found, end) = read(&damaged);
        // The mark of an unclosed file is no part of the sum.
        let mark = bit == (4 + 17) * 8;
        let hit = usize::from(bit / 8 >= all[1].0 as usize);
        assert!(found.len() >= hit, "what stands before the damage is read (bit {bit})");
        assert!(mark || end.is_err(), "bit {bit} of byte {}", bit / 8);
    }
}

#[test]
fn servers_without_checksums_are_read() {
    let closed = [(EventType::STOP, &b""[..])];
    for (version, algorithm, summed) in [
        ("5.5.62", None, false),
        ("5.6.0", None, false),
        ("5.6.51-log", Some(0), false),
        ("9.7.0", Some(0), false),
        ("10.11.6-MariaDB-log", Some(0), false),
        ("10.11.6-MariaDB-log", Some(CRC32), true),
    ] {
        let file = file(version, algorithm, 0, &closed);
        let mut reader = FileReader::new();
        reader.push(&file);
        let described = reader.next_event().unwrap().unwrap();
        assert_eq!(FormatDescription::parse(&described.raw[HEADER_LEN..]).unwrap().server_version, version);
        let stop = reader.next_event().unwrap().unwrap();
        assert_eq!((stop.checksummed, stop.raw.len()), (summed, HEADER_LEN), "{version}");
        assert_eq!(reader.finish(), Ok(()));
        assert!(!reader.in_use());
    }
}

#[test]
fn what_is_no_plain_binlog_is_said() {
    let detail = |bytes: &[u8]| {
        let (_, end) = read(bytes);
        let stop = end.unwrap_err();
        (stop.cause, stop.detail)
    };
    let (cause, text) = detail(b"PK\x03\x04 no binlog at all");
    assert!(cause == Cause::Corrupt && text.contains("no binlog file"), "{text}");
    let (cause, text) = detail(b"\xfdbin and an encrypted head");
    assert!(cause == Cause::Undecoded && text.contains("encrypted"), "{text}");
    let (cause, text) = detail(&file("9.7.0", Some(2), 0, &[QUERY]));
    assert!(cause == Cause::Undecoded && text.contains("checksum algorithm"), "{text}");
    let encrypted = file("10.11.6-MariaDB", Some(0), 0, &[(EventType::MARIADB_START_ENCRYPTION, &[0; 17]), QUERY]);
    let (cause, text) = detail(&encrypted);
    assert!(cause == Cause::Undecoded && text.contains("encrypt_binlog"), "{text}");
    let (_, text) = detail(&[&MAGIC[..], &[0; 40]].concat());
    assert!(text.contains("offset 4") && text.contains("zeros"), "{text}");
    let mut headless = MAGIC.to_vec();
    append(&mut headless, EventType::QUERY, b"", 0, false);
    assert!(detail(&headless).1.contains("format description as the first event"));
    let (_, text) = detail(b"");
    assert!(text.contains("offset 0"), "{text}");
}

#[test]
fn a_tail_of_zeros_is_damage_and_not_an_event() {
    let mut file = file(MYSQL, Some(CRC32), 0, &[QUERY]);
    let end = file.len();
    file.extend([0; 100]);
    let (found, stop) = read(&file);
    assert_eq!(found.len(), 2);
    assert!(stop.unwrap_err().detail.starts_with(&format!("at offset {end}")));
}

#[test]
fn a_size_that_no_event_has_is_not_waited_for() {
    let mut file = file(MYSQL, Some(CRC32), 0, &[QUERY]);
    let (found, _) = read(&file);
    let at = found[1].0 as usize + 9;
    file[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let (found, stop) = read(&file);
    assert_eq!(found.len(), 1);
    assert!(stop.unwrap_err().detail.contains(&format!("at offset {at}")), "the size's own place");
}
