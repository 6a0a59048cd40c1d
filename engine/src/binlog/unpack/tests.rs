//! Packed events against the plain ones they were made from.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::binlog::recorded_tests::{FULL, events};
use crate::cause::Cause;

fn raw_event(kind: EventType, log_pos: u32, body: &[u8]) -> Vec<u8> {
    let mut raw = vec![1, 0, 0, 0, kind.0, 1, 0, 0, 0];
    raw.extend((HEADER + body.len() as u32).to_le_bytes());
    raw.extend(log_pos.to_le_bytes());
    raw.extend([0, 0]);
    raw.extend(body);
    raw
}

const HEADER: u32 = 19;

fn batch(events: &[Vec<u8>]) -> EventBatch {
    let mut bytes = Vec::new();
    let ends = events.iter().map(|event| {
        bytes.extend_from_slice(event);
        bytes.len() as u32
    });
    EventBatch { ends: ends.collect(), bytes: Bytes::from(bytes.clone()), checksummed: true }
}

/// A payload event in the server's layout; sizes in packed integers of 9 bytes.
fn payload(compression: u8, inner: &[Vec<u8>], level: i32) -> Vec<u8> {
    let plain = cached(inner).concat();
    let packed = if compression == 0 { zstd::bulk::compress(&plain, level).unwrap() } else { plain.clone() };
    let field = |kind: u8, value: u64| [vec![kind, 9, 254], value.to_le_bytes().to_vec()].concat();
    let mut body = [vec![2, if compression == 255 { 3 } else { 1 }], packed_int(compression)].concat();
    body.extend(field(3, plain.len() as u64));
    body.extend(field(1, packed.len() as u64));
    body.push(0);
    body.extend(packed);
    raw_event(EventType::TRANSACTION_PAYLOAD, 9_000, &body)
}

fn packed_int(value: u8) -> Vec<u8> {
    if value > 250 { vec![252, value, 0] } else { vec![value] }
}

/// Plain events as they come out of a payload: without checksum in their size, at the payload's position.
fn nested(count: usize, size: usize) -> Vec<Vec<u8>> {
    (0..count).map(|at| raw_event(EventType::WRITE_ROWS, 9_000, &vec![at as u8; size + at % 7])).collect()
}

/// The same as they lie in it: their positions are places in the server's cache.
fn cached(events: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut events = events.to_vec();
    events.iter_mut().enumerate().for_each(|(at, event)| event[13..17].copy_from_slice(&(at as u32).to_le_bytes()));
    events
}

fn drain(unpacker: &mut Unpacker) -> (Vec<Vec<u8>>, usize) {
    let (mut all, mut batches) = (Vec::new(), 0);
    while let Some(batch) = unpacker.next().unwrap() {
        all.extend(batch.events().map(<[u8]>::to_vec));
        batches += 1;
    }
    (all, batches)
}

#[test]
fn a_payload_becomes_its_events_between_those_around_it() {
    let (before, after) = (raw_event(EventType::GTID, 5, &[1; 40]), raw_event(EventType::GTID, 9_050, &[2; 40]));
    for compression in [0, 255] {
        let inner = nested(5, 100);
        let mut unpacker = Unpacker::default();
        unpacker.push(batch(&[before.clone(), payload(compression, &inner, 3), after.clone()]));
        let (all, _) = drain(&mut unpacker);
        assert_eq!(all, [vec![before.clone()], inner, vec![after.clone()]].concat());
    }
}

#[test]
fn a_large_payload_comes_in_pieces_and_the_same_at_every_reading() {
    let inner = nested(3000, 2000);
    let packed = payload(0, &inner, 1);
    let read = || {
        let mut unpacker = Unpacker::default();
        unpacker.push(batch(std::slice::from_ref(&packed)));
        drain(&mut unpacker)
    };
    let (all, batches) = read();
    assert_eq!(all, inner);
    assert!((5..=7).contains(&batches), "{batches} batches of about a megabyte from 6 MB");
    assert_eq!(read().0, all);
}

#[test]
fn an_event_larger_than_a_batch_comes_whole() {
    let inner = vec![raw_event(EventType::WRITE_ROWS, 9_000, &vec![7; 3 << 20])];
    let mut unpacker = Unpacker::default();
    unpacker.push(batch(&[payload(0, &inner, 1)]));
    assert_eq!(drain(&mut unpacker).0, inner);
}

#[test]
fn a_batch_without_packed_events_is_handed_on_as_it_is() {
    let plain = batch(&nested(3, 10));
    let mut unpacker = Unpacker::default();
    unpacker.push(plain.clone());
    let out = unpacker.next().unwrap().unwrap();
    assert_eq!((out.bytes.as_ptr(), out.ends, out.checksummed), (plain.bytes.as_ptr(), plain.ends, true));
    assert!(unpacker.next().unwrap().is_none());
}

fn first_error(event: Vec<u8>) -> Option<Stop> {
    let mut unpacker = Unpacker::default();
    unpacker.push(batch(&[event]));
    loop {
        match unpacker.next() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(stop) => return Some(stop),
        }
    }
}

#[test]
fn what_is_cut_or_says_a_wrong_size_is_corrupt() {
    let good = payload(0, &nested(5, 100), 3);
    for cut in [1, 10, 30] {
        assert_eq!(first_error(good[..good.len() - cut].to_vec()).unwrap().cause, Cause::Corrupt, "{cut}");
    }
    let mut inner = nested(2, 50);
    inner[1].pop();
    assert_eq!(first_error(payload(255, &inner, 3)).unwrap().cause, Cause::Corrupt, "ends within an event");
    let mut unknown = payload(0, &nested(1, 5), 3);
    unknown[21] = 7;
    assert_eq!(first_error(unknown).unwrap().cause, Cause::Undecoded);
}

/// MariaDB's form of a recorded event.
fn mariadb_packed(event: &[u8], head: usize, kind: EventType) -> Vec<u8> {
    use std::io::Write;
    let (head, rest) = event.split_at(head);
    let mut packed = head.to_vec();
    packed[4] = kind.0;
    packed.push(0x84);
    packed.extend((rest.len() as u32).to_be_bytes());
    let mut encoder = flate2::write::ZlibEncoder::new(packed, flate2::Compression::fast());
    encoder.write_all(rest).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn mariadbs_compressed_events_become_the_plain_ones() {
    let mut seen = 0;
    for event in events(FULL) {
        let header = EventHeader::parse(event).unwrap();
        let columns = |at: usize| usize::from(event[at]).div_ceil(8);
        let (head, kind) = match header.event_type {
            EventType::WRITE_ROWS => (19 + 10 + 1 + columns(29), EventType::MARIADB_WRITE_ROWS_COMPRESSED),
            EventType::UPDATE_ROWS => (19 + 10 + 1 + 2 * columns(29), EventType::MARIADB_UPDATE_ROWS_COMPRESSED),
            EventType::DELETE_ROWS => (19 + 10 + 1 + columns(29), EventType::MARIADB_DELETE_ROWS_COMPRESSED),
            EventType::QUERY => {
                let status = usize::from(u16::from_le_bytes([event[30], event[31]]));
                (19 + 13 + status + usize::from(event[27]) + 1, EventType::MARIADB_QUERY_COMPRESSED)
            }
            _ => continue,
        };
        let mut unpacker = Unpacker::default();
        unpacker.push(batch(&[mariadb_packed(event, head, kind)]));
        assert_eq!(drain(&mut unpacker).0, [event.to_vec()]);
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn damaged_payloads_end_without_a_panic(
        compression in prop_oneof![Just(0u8), Just(255)],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut event = payload(compression, &nested(20, 60), 1);
        for (at, value) in changes {
            let at = at.index(event.len());
            event[at] = value;
        }
        first_error(event);
    }

    #[test]
    fn damaged_compressed_events_end_without_a_panic(
        kind in 165u8..=171,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        first_error(raw_event(EventType(kind), 1, &body));
    }
}
