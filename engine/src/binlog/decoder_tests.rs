//! The decoder's memory and its refusals, on small events made by hand.

use super::*;
use crate::cause::Cause;

fn raw(kind: EventType, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut raw = vec![1, 0, 0, 0, kind.0, 1, 0, 0, 0];
    raw.extend((19 + body.len() as u32).to_le_bytes());
    raw.extend(500u32.to_le_bytes());
    raw.extend(flags.to_le_bytes());
    raw.extend(body);
    raw
}

/// A table map of INT columns that are named, for a table of database `d`.
fn table_map(id: u8, table: &str, columns: &[&str]) -> Vec<u8> {
    let count = columns.len() as u8;
    let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, table.len() as u8];
    body.extend(table.as_bytes());
    body.extend([0, count]);
    body.extend(vec![3; columns.len()]);
    body.extend([0, 0xff]);
    let names: Vec<u8> = columns.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
    body.extend([4, names.len() as u8]);
    body.extend(names);
    raw(EventType::TABLE_MAP, 0, &body)
}

/// One inserted row of INT values.
fn insert(id: u8, end: bool, values: &[u32]) -> Vec<u8> {
    let mut body = vec![id, 0, 0, 0, 0, 0, u8::from(end), 0, 2, 0, values.len() as u8, 0xff, 0];
    body.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    raw(EventType::WRITE_ROWS, 0, &body)
}

fn decoder() -> Decoder {
    Decoder::new(|_, table| table != "skipped")
}

fn row_of(decoder: &mut Decoder, event: &[u8]) -> Vec<(String, String)> {
    let Event::Rows(mut rows) = decoder.decode(event).unwrap() else { panic!("not rows of a captured table") };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    assert!(rows.read_row(&mut before, &mut after).unwrap());
    let columns = rows.table.columns.iter().zip(&after);
    let text = |(column, field): (&crate::schema::Column, &Field<'_>)| {
        let Field::Value(raw) = field else { panic!("a value") };
        let mut out = Vec::new();
        text::write_text(column, raw, &mut out).unwrap();
        (format!("{}.{}", rows.table.table, column.name), String::from_utf8(out).unwrap())
    };
    columns.map(text).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn cause_of(decoder: &mut Decoder, event: &[u8]) -> Cause {
    decoder.decode(event).unwrap_err().cause
}

#[test]
fn a_table_id_means_what_its_last_map_said() {
    let mut decoder = decoder();
    decoder.decode(&table_map(7, "a", &["x"])).unwrap();
    assert_eq!(row_of(&mut decoder, &insert(7, true, &[5])), [pair("a.x", "5")]);
    decoder.decode(&table_map(7, "b", &["y", "z"])).unwrap();
    assert_eq!(row_of(&mut decoder, &insert(7, false, &[1, 2])), [pair("b.y", "1"), pair("b.z", "2")]);
    // Within one statement too: the same id, another definition.
    decoder.decode(&table_map(7, "b", &["z", "y"])).unwrap();
    assert_eq!(row_of(&mut decoder, &insert(7, true, &[1, 2])), [pair("b.z", "1"), pair("b.y", "2")]);
}

#[test]
fn a_map_holds_until_its_statement_ends_and_the_same_bytes_bring_it_back() {
    let mut decoder = decoder();
    let map = table_map(7, "a", &["x"]);
    decoder.decode(&map).unwrap();
    let event = insert(7, false, &[1]);
    let Event::Rows(first) = decoder.decode(&event).unwrap() else { panic!() };
    assert_eq!(row_of(&mut decoder, &insert(7, true, &[2])), [pair("a.x", "2")]);
    assert_eq!(cause_of(&mut decoder, &insert(7, true, &[3])), Cause::Corrupt, "rows without a table map");
    decoder.decode(&map).unwrap();
    let later = insert(7, true, &[4]);
    let Event::Rows(second) = decoder.decode(&later).unwrap() else { panic!() };
    assert!(std::sync::Arc::ptr_eq(&first.table, &second.table), "the schema is not made anew");
    decoder.decode(&map).unwrap();
    let rotate = raw(EventType::ROTATE, 0, b"\x04\0\0\0\0\0\0\0binlog.000002");
    assert!(matches!(decoder.decode(&rotate), Ok(Event::Rotate { file: "binlog.000002", position: 4 })));
    assert_eq!(cause_of(&mut decoder, &insert(7, true, &[5])), Cause::Corrupt, "ids end with their file");
}

#[test]
fn the_server_ends_a_statement_by_an_event_of_no_table() {
    let mut decoder = decoder();
    decoder.decode(&table_map(7, "a", &["x"])).unwrap();
    let dummy = raw(EventType::DELETE_ROWS, 0, &[0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 2, 0, 0]);
    assert!(matches!(decoder.decode(&dummy), Ok(Event::Ignored(EventType::DELETE_ROWS))));
    assert_eq!(cause_of(&mut decoder, &insert(7, true, &[5])), Cause::Corrupt);
}

#[test]
fn rows_of_other_tables_are_passed_over_with_any_columns() {
    let mut decoder = decoder();
    let mut map = table_map(7, "skipped", &["x"]);
    // Even a type that is not decoded does not matter.
    let types = map.len() - (1 + 2 + 2 + 2);
    map[types] = 99;
    assert!(matches!(decoder.decode(&map), Ok(Event::TableMap(TableMapEvent { captured: false, .. }))));
    let rows = insert(7, true, &[1]);
    assert!(matches!(decoder.decode(&rows), Ok(Event::FilteredRows { kind: RowsKind::Insert })));
}

#[test]
fn a_row_image_tells_absent_from_null() {
    let mut decoder = decoder();
    decoder.decode(&table_map(7, "a", &["x", "y", "z"])).unwrap();
    // An update whose before image has x only, and whose after image has y (NULL) and z.
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0b001, 0b110, 0];
    body.extend(9u32.to_le_bytes());
    body.push(0b01);
    body.extend(8u32.to_le_bytes());
    let event = raw(EventType::UPDATE_ROWS, 0, &body);
    let Event::Rows(mut rows) = decoder.decode(&event).unwrap() else { panic!() };
    assert!(!rows.is_full() && rows.has_column(0, true) && !rows.has_column(0, false));
    let (mut before, mut after) = (Vec::new(), Vec::new());
    assert!(rows.read_row(&mut before, &mut after).unwrap());
    assert_eq!(before, [Field::Value(&[9, 0, 0, 0]), Field::Absent, Field::Absent]);
    assert_eq!(after, [Field::Absent, Field::Null, Field::Value(&[8, 0, 0, 0])]);
    assert!(!rows.read_row(&mut before, &mut after).unwrap());
}

#[test]
fn a_row_that_ends_early_is_corrupt_after_the_whole_ones() {
    let mut decoder = decoder();
    decoder.decode(&table_map(7, "a", &["x"])).unwrap();
    let mut event = insert(7, true, &[5]);
    event.extend([0, 1, 2]);
    let Event::Rows(mut rows) = decoder.decode(&event).unwrap() else { panic!() };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    assert!(rows.read_row(&mut before, &mut after).unwrap());
    let stop = rows.read_row(&mut before, &mut after).unwrap_err();
    assert_eq!(stop.cause, Cause::Corrupt);
    assert!(stop.detail.contains("`d`.`a`") && stop.detail.contains("expected"), "{}", stop.detail);
    assert!(!rows.read_row(&mut before, &mut after).unwrap(), "an error ends the event");
}

#[test]
fn what_is_not_decoded_stops_by_name() {
    for (event, words) in [
        (raw(EventType::TRANSACTION_PAYLOAD, 0, &[0]), "binlog_transaction_compression"),
        (raw(EventType::MARIADB_START_ENCRYPTION, 0, &[0; 17]), "encrypt_binlog"),
        (raw(EventType::MARIADB_QUERY_COMPRESSED, 0, &[0; 20]), "log_bin_compress"),
        (raw(EventType::PRE_GA_WRITE_ROWS, 0, &[0; 20]), "before MySQL 5.1"),
    ] {
        let stop = decoder().decode(&event).unwrap_err();
        assert_eq!(stop.cause, Cause::Undecoded, "{stop}");
        assert!(stop.detail.contains(words) && stop.detail.contains("position 500"), "{stop}");
    }
}

#[test]
fn unknown_events_stop_unless_flagged_ignorable() {
    let unknown = EventType(150);
    assert_eq!(cause_of(&mut decoder(), &raw(unknown, 0, &[1])), Cause::UnknownEvent);
    assert!(matches!(decoder().decode(&raw(unknown, FLAG_IGNORABLE, &[1])), Ok(Event::Ignored(EventType(150)))));
}

/// What becomes of each of the 256 types, by what a body that says nothing gives.
#[test]
fn every_type_has_an_outcome_and_only_unnamed_ones_ask_for_the_flag() {
    const WITHOUT_EFFECT: &[u8] = &[0, 3, 5, 9, 11, 13, 14, 17, 28, 36, 37, 161];
    // Whose bodies are looked into: an empty one contradicts itself, but for texts and the end of a file.
    const LOOKED_INTO: &[(u8, u8)] =
        &[(2, 2), (4, 4), (15, 16), (18, 19), (22, 27), (29, 35), (38, 39), (42, 42), (162, 163)];
    const TEXTS: &[u8] = &[3, 27, 41, 160];
    const BEFORE_5_1: &[(u8, u8)] = &[(1, 1), (6, 8), (10, 10), (12, 12), (20, 22)];
    const PACKED: &[(u8, u8)] = &[(40, 40), (164, 171)];
    let within = |ranges: &[(u8, u8)], kind: u8| ranges.iter().any(|(first, last)| (*first..=*last).contains(&kind));
    for kind in 0..=u8::MAX {
        let outcome = |flags| match decoder().decode(&raw(EventType(kind), flags, &[])) {
            Ok(Event::Ignored(_)) => "ignored".to_owned(),
            Ok(_) => "decoded".to_owned(),
            Err(stop) => stop.cause.name().to_owned(),
        };
        let expected = if TEXTS.contains(&kind) {
            "decoded"
        } else if WITHOUT_EFFECT.contains(&kind) {
            "ignored"
        } else if within(BEFORE_5_1, kind) || within(PACKED, kind) {
            "undecoded"
        } else if within(LOOKED_INTO, kind) {
            "corrupt"
        } else {
            assert_eq!(outcome(FLAG_IGNORABLE), "ignored", "type {kind}, flagged");
            assert!(EventType(kind).is_padding(), "type {kind}");
            assert_eq!(outcome(0), "unknown-event", "type {kind}");
            continue;
        };
        // A type that is known means what it means, flagged or not.
        assert_eq!((outcome(0).as_str(), outcome(FLAG_IGNORABLE).as_str()), (expected, expected), "type {kind}");
    }
}

#[test]
fn an_incident_stops_with_the_servers_words() {
    let stop = decoder().decode(&raw(EventType::INCIDENT, 0, b"\x01\0\x0bLOST_EVENTS")).unwrap_err();
    assert_eq!(stop.cause, Cause::Incident);
    assert!(stop.detail.contains("LOST_EVENTS"), "{stop}");
}

#[test]
fn heartbeats_say_how_far_the_server_is() {
    let old = raw(EventType::HEARTBEAT, 0, b"binlog.000003");
    assert!(matches!(decoder().decode(&old), Ok(Event::Heartbeat { file: "binlog.000003", position: 500 })));
    let new = raw(EventType::HEARTBEAT_V2, 0, b"\x01\x0dbinlog.000003\x02\x09\xfe\0\0\0\0\x02\0\0\0\0");
    let far = 2 << 32;
    assert!(matches!(decoder().decode(&new), Ok(Event::Heartbeat { position, .. }) if position == far));
}

#[test]
fn a_statement_keeps_its_database_and_error() {
    let mut body = vec![0; 8];
    body.extend([2, 5, 0, 3, 0, 1, 2, 3]);
    body.extend(b"db\0CREATE TABLE t (a INT)");
    let event = raw(EventType::QUERY, 0, &body);
    let Ok(Event::Query(query)) = decoder().decode(&event) else { panic!() };
    assert_eq!((query.database, &*query.sql, query.error), ("db", "CREATE TABLE t (a INT)", 5));
    assert_eq!(query.kind(), QueryKind::Statement);
}
