//! Tests of the counting: what is counted, where transactions begin and end, places in files over 4 GiB.

use super::*;
use crate::binlog::{Decoder, EventType, FLAG_ARTIFICIAL};

/// An event as a server writes it, checksum cut: `size` counts 4 bytes of checksum.
fn event(kind: EventType, body: &[u8], log_pos: u32, flags: u16) -> Vec<u8> {
    let mut raw = vec![7, 0, 0, 0, kind.0, 1, 0, 0, 0];
    raw.extend_from_slice(&(body.len() as u32 + 19 + 4).to_le_bytes());
    raw.extend_from_slice(&log_pos.to_le_bytes());
    raw.extend_from_slice(&flags.to_le_bytes());
    raw.extend_from_slice(body);
    raw
}

fn query(sql: &str) -> Vec<u8> {
    let mut body = vec![0; 13];
    body.push(0);
    body.extend_from_slice(sql.as_bytes());
    body
}

fn gtid(number: u64) -> Vec<u8> {
    let mut body = vec![0];
    body.extend_from_slice(&[0xab; 16]);
    body.extend_from_slice(&number.to_le_bytes());
    body
}

fn rotate(file: &str, position: u64) -> Vec<u8> {
    [position.to_le_bytes().as_slice(), file.as_bytes()].concat()
}

struct Feed {
    counter: Counter,
    decoder: Decoder,
    position: u64,
}

impl Feed {
    fn new(offset: u64, position: u64) -> Self {
        let mut feed = Self { counter: Counter::new(offset), decoder: Decoder::new(|_, _| true), position };
        let raw = event(EventType::ROTATE, &rotate("b.000001", position), 0, FLAG_ARTIFICIAL);
        feed.raw(&raw).unwrap();
        feed
    }

    fn raw(&mut self, raw: &[u8]) -> Result<Step, Stop> {
        let header = EventHeader::parse(raw).unwrap();
        let event = self.decoder.decode(raw).unwrap();
        self.counter.step(&header, raw, &event)
    }

    fn event(&mut self, kind: EventType, body: &[u8]) -> Result<Step, Stop> {
        self.position += body.len() as u64 + 23;
        self.raw(&event(kind, body, self.position as u32, 0))
    }

    /// A transaction around one statement-like event; gives its end.
    fn transaction(&mut self, number: u64) -> TransactionEnd {
        assert!(matches!(self.event(EventType::GTID, &gtid(number)).unwrap(), Step::Begin));
        assert!(matches!(self.event(EventType::QUERY, &query("BEGIN")).unwrap(), Step::Inside));
        assert!(matches!(self.event(EventType::ROWS_QUERY, b"\x00hello").unwrap(), Step::Inside));
        match self.event(EventType::XID, &9u64.to_le_bytes()).unwrap() {
            Step::End(end) => end,
            other => panic!("not the end: {other:?}"),
        }
    }
}

#[test]
fn counted_are_the_bytes_from_gtid_to_commit_without_annotations_and_checksums() {
    let mut feed = Feed::new(1000, 157);
    let end = feed.transaction(5);
    // GTID 25, BEGIN 19, XID 8 bytes of body, 19 of header each.
    let length = (19 + 25) + (19 + 19) + (19 + 8);
    assert_eq!((end.length, end.offset), (length, 1000 + length));
    assert_eq!((end.start, end.end, &*end.file), (157, feed.position, "b.000001"));
    assert!(end.id.text().ends_with(":5"));
    assert_eq!(end.commit_ms, 7000, "the header's time where the GTID event has none");
    // Between transactions nothing counts.
    let heartbeat = event(EventType::HEARTBEAT, b"b.000001", feed.position as u32, 0);
    assert!(matches!(feed.raw(&heartbeat).unwrap(), Step::Outside));
    assert_eq!(feed.counter.offset(), 1000 + length);
    assert_eq!(feed.transaction(6).offset, 1000 + 2 * length);
}

#[test]
fn the_same_bytes_give_the_same_witness_and_others_do_not() {
    let mut one = Feed::new(0, 157);
    let mut two = Feed::new(77, 157);
    assert_eq!(one.transaction(5).witness(), two.transaction(5).witness());
    assert_ne!(one.transaction(6).crc32, two.transaction(7).crc32);
}

#[test]
fn a_statement_alone_is_a_transaction_and_within_one_is_not_its_end() {
    let mut feed = Feed::new(0, 4);
    feed.event(EventType::GTID, &gtid(1)).unwrap();
    assert!(matches!(feed.event(EventType::QUERY, &query("CREATE TABLE t (a INT)")).unwrap(), Step::End(_)));
    feed.event(EventType::GTID, &gtid(2)).unwrap();
    feed.event(EventType::QUERY, &query("BEGIN")).unwrap();
    assert!(matches!(feed.event(EventType::QUERY, &query("SAVEPOINT `a`")).unwrap(), Step::Inside));
    assert!(matches!(feed.event(EventType::QUERY, &query("INSERT INTO t VALUES (1)")).unwrap(), Step::Inside));
    assert!(matches!(feed.event(EventType::QUERY, &query("COMMIT")).unwrap(), Step::End(_)));
    // Without any GTID event: BEGIN opens it.
    assert!(matches!(feed.event(EventType::QUERY, &query("BEGIN")).unwrap(), Step::Begin));
    assert!(matches!(feed.event(EventType::QUERY, &query("ROLLBACK")).unwrap(), Step::End(_)));
}

#[test]
fn places_beyond_4_gib_are_followed() {
    let near = (1u64 << 32) - 60;
    let mut feed = Feed::new(0, near);
    let end = feed.transaction(1);
    assert_eq!((end.start, end.end), (near, feed.position));
    assert!(end.end > 1 << 32);
    assert_eq!(feed.transaction(2).start, end.end);
}

#[test]
fn heartbeats_tell_places_after_gaps_of_more_than_4_gib() {
    let mut feed = Feed::new(0, 1000);
    feed.transaction(1);
    let far = (5u64 << 32) + 7;
    let mut body = vec![1, b"b.000001".len() as u8];
    body.extend(b"b.000001\x02\x09\xfe");
    body.extend(far.to_le_bytes());
    feed.event(EventType::HEARTBEAT_V2, &body).unwrap();
    feed.position = far;
    let end = feed.transaction(2);
    assert_eq!((end.start, end.end), (far, feed.position));
}

#[test]
fn a_transaction_cut_by_the_files_end_or_by_another_is_corrupt() {
    let mut feed = Feed::new(0, 4);
    feed.event(EventType::GTID, &gtid(1)).unwrap();
    assert_eq!(feed.event(EventType::GTID, &gtid(2)).unwrap_err().cause, Cause::Corrupt);
    let mut feed = Feed::new(0, 4);
    feed.event(EventType::GTID, &gtid(1)).unwrap();
    assert_eq!(feed.event(EventType::ROTATE, &rotate("b.000002", 4)).unwrap_err().cause, Cause::Corrupt);
}

#[test]
fn offsets_end_with_their_48_bits() {
    let mut feed = Feed::new(MAX_OFFSET - 50, 4);
    feed.event(EventType::GTID, &gtid(1)).unwrap();
    assert_eq!(feed.event(EventType::QUERY, &query("BEGIN")).unwrap_err().cause, Cause::EpochSpace);
}

#[test]
fn positions_move_past_a_transaction_each_in_its_own_terms() {
    let mut feed = Feed::new(0, 4);
    let end = feed.transaction(3);
    let mut set = Position::Gtid(Default::default());
    assert!(carry(&mut set, &end));
    assert!(matches!(&set, Position::Gtid(set) if set.count() == 1));
    let mut file = Position::File(FilePosition::new("b.000001", 4));
    assert!(carry(&mut file, &end));
    assert_eq!(file, Position::File(FilePosition::new("b.000001", feed.position)));
    let mut list = Position::MariaDb("0-1-7,2-1-9".into());
    assert!(!carry(&mut list, &end), "a MySQL transaction has no place in MariaDB's list");
    let maria = TransactionEnd { id: TransactionId::MariaDb { domain: 2, server: 5, sequence: 10 }, ..end.clone() };
    assert!(carry(&mut list, &maria));
    assert_eq!(list, Position::MariaDb("0-1-7,2-5-10".into()));
    assert!(!carry(&mut set, &TransactionEnd { id: TransactionId::Anonymous, ..end }));
    assert_eq!(mariadb_with("", 3, 1, 1), "3-1-1");
}

#[test]
fn a_place_at_the_end_of_all_numbers_does_not_overflow() {
    assert_eq!(whole_place(5 << 32 | 7, 3), 6 << 32 | 3);
    assert_eq!(whole_place(u64::MAX, 3), u64::MAX);
}
