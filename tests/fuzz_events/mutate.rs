//! Damaged streams: recorded transactions, packed now and then, with bytes and events changed.

use crate::random::Random;

/// Binlogs recorded from MySQL 9.7: all types named and unnamed, changes within JSON, an order workload.
const RECORDED: [&[u8]; 4] = [
    include_bytes!("../../engine/src/binlog/testdata/types_full.binlog"),
    include_bytes!("../../engine/src/binlog/testdata/types_minimal.binlog"),
    include_bytes!("../../engine/src/binlog/testdata/patches.binlog"),
    include_bytes!("../../engine/src/binlog/testdata/orders.binlog"),
];

const HEADER: usize = 19;
const QUERY: u8 = 2;
const FORMAT_DESCRIPTION: u8 = 15;
const XID: u8 = 16;
const WRITE_ROWS: u8 = 30;
const GTID: u8 = 33;
const TRANSACTION_PAYLOAD: u8 = 40;
const MARIADB_WRITE_ROWS_COMPRESSED: u8 = 169;
/// What lengths, counts and numbers are read wrongly at.
const EDGES: [u8; 12] = [0, 1, 2, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, 19];

/// The recorded transactions, each a list of events without checksums.
pub fn recorded() -> Vec<Vec<Vec<u8>>> {
    let mut all: Vec<Vec<Vec<u8>>> = Vec::new();
    for file in RECORDED {
        let mut rest = &file[4..];
        let mut open = false;
        while rest.len() >= HEADER {
            let size = u32::from_le_bytes([rest[9], rest[10], rest[11], rest[12]]) as usize;
            let (event, next) = rest.split_at(size);
            rest = next;
            let event = event[..size - 4].to_vec();
            if event[4] == GTID {
                all.push(Vec::new());
                open = true;
            }
            if let Some(last) = all.last_mut().filter(|_| open) {
                last.push(event);
            }
        }
    }
    all
}

/// One or a few transactions, damaged.
pub fn stream(recorded: &[Vec<Vec<u8>>], random: &mut Random) -> Vec<Vec<u8>> {
    let mut events: Vec<Vec<u8>> = Vec::new();
    for _ in 0..random.between(1, 3) {
        events.extend(random.pick(recorded).iter().cloned());
    }
    // Damage before packing lies within; after it, in the packing itself.
    if random.once_in(2) {
        damage(&mut events, random);
    }
    match random.below(4) {
        0 => events = packed(&events, random.once_in(2)),
        1 => events.iter_mut().for_each(compress_rows),
        _ => {}
    }
    if random.once_in(2) {
        damage(&mut events, random);
    }
    events
}

/// A file without checksums that holds a damaged stream, itself damaged now and then.
pub fn file(recorded: &[Vec<Vec<u8>>], random: &mut Random) -> Vec<u8> {
    let mut description = vec![4, 0];
    description.extend(b"5.5.40".iter().chain(std::iter::repeat(&0)).take(50));
    description.extend([0, 0, 0, 0, 19]);
    let mut file = b"\xfebin".to_vec();
    file.extend(event(FORMAT_DESCRIPTION, &description));
    stream(recorded, random).into_iter().for_each(|event| file.extend(event));
    if random.once_in(2) {
        bytes(&mut file, random);
    }
    file
}

fn event(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut event = vec![1, 0, 0, 0, kind, 1, 0, 0, 0];
    event.extend(((HEADER + body.len()) as u32).to_le_bytes());
    event.extend([0; 6]);
    event.extend(body);
    event
}

fn damage(events: &mut Vec<Vec<u8>>, random: &mut Random) {
    for _ in 0..random.between(1, 6) {
        if events.is_empty() {
            return;
        }
        let at = random.below(events.len() as u64) as usize;
        match random.below(12) {
            0 if events.len() > 1 => drop(events.remove(at)),
            1 => events.insert(at, events[at].clone()),
            2 => {
                let end = events.len().min(at + 4);
                random.shuffle(&mut events[at..end]);
            }
            3 => {
                // Another body under this header.
                let other = random.pick(events.as_slice()).get(HEADER..).unwrap_or_default().to_vec();
                events[at].truncate(HEADER);
                events[at].extend(other);
            }
            4 => {
                if let Some(kind) = events[at].get_mut(4) {
                    *kind = *random.pick(&[
                        QUERY,
                        XID,
                        WRITE_ROWS,
                        GTID,
                        TRANSACTION_PAYLOAD,
                        19,
                        31,
                        32,
                        38,
                        39,
                        42,
                        166,
                        170,
                    ]);
                }
            }
            _ => bytes(&mut events[at], random),
        }
        if !random.once_in(4) {
            let last = at.min(events.len() - 1);
            set_size(&mut events[last]);
        }
    }
}

/// The header's size as it is.
fn set_size(event: &mut [u8]) {
    let size = (event.len() as u32).to_le_bytes();
    if let Some(place) = event.get_mut(9..13) {
        place.copy_from_slice(&size);
    }
}

/// Changes some bytes, mostly behind a header.
fn bytes(target: &mut Vec<u8>, random: &mut Random) {
    if target.is_empty() {
        return;
    }
    let first = if target.len() > HEADER && !random.once_in(8) { HEADER } else { 0 };
    let at = random.between(first as u64, target.len() as u64 - 1) as usize;
    let length = random.between(1, 16).min((target.len() - at) as u64) as usize;
    match random.below(8) {
        0 => target[at] = random.next() as u8,
        1 => target[at] ^= 1 << random.below(8),
        2 => target[at..at + length].fill(*random.pick(&EDGES)),
        3 => target.truncate(at),
        4 => drop(target.drain(at..at + length)),
        5 => {
            let again = target[at..at + length].to_vec();
            drop(target.splice(at..at, again));
        }
        6 => target.extend((0..length).map(|_| random.next() as u8)),
        _ => target[at] = *random.pick(&EDGES),
    }
}

/// The events behind each GTID as one payload: `zstd` in a frame of raw blocks, else as they are.
fn packed(events: &[Vec<u8>], zstd: bool) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut within: Vec<u8> = Vec::new();
    let close = |within: &mut Vec<u8>, out: &mut Vec<Vec<u8>>| {
        if !within.is_empty() {
            out.push(payload(&std::mem::take(within), zstd));
        }
    };
    for event in events {
        if event.get(4) == Some(&GTID) {
            close(&mut within, &mut out);
            out.push(event.clone());
        } else {
            within.extend_from_slice(event);
        }
    }
    close(&mut within, &mut out);
    out
}

fn payload(plain: &[u8], zstd: bool) -> Vec<u8> {
    // A length in packed form: 0xfd and three bytes.
    let packed = |number: usize| [&[0xfd][..], &(number as u32).to_le_bytes()[..3]].concat();
    let size = packed(plain.len());
    let mut body = vec![2];
    body.extend(if zstd { vec![1, 0] } else { vec![3, 0xfc, 255, 0] });
    body.extend([3, size.len() as u8]);
    body.extend(&size);
    body.push(0);
    if zstd {
        // RFC 8878: magic number, no options, a window of 2 MiB, raw blocks of up to 128 KiB.
        body.extend([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]);
        let blocks = plain.len().div_ceil(128 << 10);
        for (number, block) in plain.chunks(128 << 10).enumerate() {
            let last = u32::from(number + 1 == blocks);
            body.extend(&((block.len() as u32) << 3 | last).to_le_bytes()[..3]);
            body.extend(block);
        }
    } else {
        body.extend(plain);
    }
    event(TRANSACTION_PAYLOAD, &body)
}

/// An inserting event as MariaDB compresses it, in a stored block of zlib (RFC 1950, 1951).
fn compress_rows(raw: &mut Vec<u8>) {
    if raw.get(4) != Some(&WRITE_ROWS) || raw.len() < HEADER + 12 || raw[HEADER + 10] > 250 {
        return;
    }
    let kept = HEADER + 11 + usize::from(raw[HEADER + 10]).div_ceil(8);
    let Some((head, rows)) = raw.split_at_checked(kept).filter(|(_, rows)| rows.len() < 1 << 16) else { return };
    let length = rows.len() as u16;
    let mut packed = head.to_vec();
    packed.push(0x82);
    packed.extend(length.to_be_bytes());
    packed.extend([0x78, 0x01, 0x01]);
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(rows);
    packed.extend(adler32(rows).to_be_bytes());
    packed[4] = MARIADB_WRITE_ROWS_COMPRESSED;
    *raw = packed;
    set_size(raw);
}

fn adler32(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}
