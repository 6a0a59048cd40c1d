//! Versions strictly rise, whatever the stream of events: an event that cannot be there is refused, not counted twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use towpath_engine::binlog::{Decoder, Event, EventHeader, EventType, RowsKind};
use towpath_engine::deployer::count::Counter;

/// An event as a source delivers it.
fn raw(event_type: EventType, body: &[u8], log_pos: u32) -> Vec<u8> {
    let mut raw = vec![7, 0, 0, 0, event_type.0, 1, 0, 0, 0];
    raw.extend_from_slice(&(body.len() as u32 + 19).to_le_bytes());
    raw.extend_from_slice(&log_pos.to_le_bytes());
    raw.extend_from_slice(&[0, 0]);
    raw.extend_from_slice(body);
    raw
}

fn query(sql: &str) -> Vec<u8> {
    [&[0; 14], sql.as_bytes()].concat()
}

fn gtid(number: u64) -> Vec<u8> {
    [[0xab; 17].as_slice(), &number.to_le_bytes()].concat()
}

/// Kinds of events, those that a transaction is made of more often.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Gtid,
    Begin,
    Commit,
    Xid,
    Annotation,
    Heartbeat,
    Rows,
}

fn stream() -> impl Strategy<Value = Vec<(Kind, u8)>> {
    let kind = prop_oneof![
        2 => Just(Kind::Gtid),
        2 => Just(Kind::Begin),
        1 => Just(Kind::Commit),
        2 => Just(Kind::Xid),
        1 => Just(Kind::Annotation),
        1 => Just(Kind::Heartbeat),
        4 => Just(Kind::Rows),
    ];
    proptest::collection::vec((kind, any::<u8>()), 0..200)
}

/// The versions' offsets of all rows of a stream up to its end, or to the event that is refused.
fn offsets(stream: &[(Kind, u8)], start: u64) -> Vec<u64> {
    let (mut counter, mut decoder) = (Counter::new(start), Decoder::new(|_, _| true));
    let mut all = Vec::new();
    for (number, &(kind, size)) in stream.iter().enumerate() {
        let (event_type, body) = match kind {
            Kind::Gtid => (EventType::GTID, gtid(number as u64 + 1)),
            Kind::Begin => (EventType::QUERY, query("BEGIN")),
            Kind::Commit => (EventType::QUERY, query("COMMIT")),
            Kind::Xid => (EventType::XID, vec![0; 8]),
            Kind::Annotation => (EventType::ROWS_QUERY, vec![b'x'; usize::from(size) + 1]),
            Kind::Heartbeat => (EventType::HEARTBEAT, b"b.000001".to_vec()),
            Kind::Rows => (EventType::WRITE_ROWS, vec![0; usize::from(size)]),
        };
        let raw = raw(event_type, &body, 4 + 300 * number as u32);
        let event = match kind {
            Kind::Rows => Event::FilteredRows { kind: RowsKind::Insert },
            _ => decoder.decode(&raw).unwrap(),
        };
        if counter.step(&EventHeader::parse(&raw).unwrap(), &raw, &event).is_err() {
            break;
        }
        // A row takes at least a byte of the body: this is the most an event can have.
        if let Kind::Rows = kind {
            all.extend((0..u64::from(size)).map(|row| counter.event_offset() + row));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn versions_strictly_rise_over_any_stream(stream in stream(), start in 0u64..1 << 40) {
        let offsets = offsets(&stream, start);
        prop_assert!(offsets.is_sorted_by(|one, next| one < next), "{offsets:?}");
    }
}

#[test]
fn rows_outside_a_transaction_are_refused() {
    assert!(offsets(&[(Kind::Rows, 2), (Kind::Rows, 2)], 0).is_empty());
    let whole =
        [(Kind::Gtid, 0), (Kind::Begin, 0), (Kind::Rows, 2), (Kind::Annotation, 9), (Kind::Rows, 1), (Kind::Xid, 0)];
    assert_eq!(offsets(&whole, 0).len(), 3);
}
