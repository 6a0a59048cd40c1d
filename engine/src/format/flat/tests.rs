//! What is written is what is read back, is what Canal's consumers expect, and stays within its limits.

use super::*;
use crate::format::buffer::tests::consumed;
use crate::format::testing::{Raw, Rows, column, row, table, with_event, with_images};
use crate::format::{ChangeKind, ChangeRecord, Field as ReadField, Incoming, Reader, RecordView, RowRef, TypedValue};
use crate::routing::PartitionBy;
use crate::schema::{ColumnType, TableSchema};
use proptest::prelude::*;
use serde_json::Value;

fn config(partitions: u32, mode: RecordMode) -> FlatConfig {
    FlatConfig {
        pipeline: "orders".into(),
        router: Router::new(PartitionBy::Columns(vec!["shop".into()]), partitions),
        mode,
        canal_quirks: false,
        geometry: GeometryText::GeoJson,
        max_record_bytes: 1 << 20,
    }
}

fn context() -> EventContext<'static> {
    EventContext {
        epoch: 3,
        offset: 1_000,
        term: 12,
        gtid: "3e11fa47-71ca-11e1-9e33-c80aa9429562:23",
        server: "3e11fa47-71ca-11e1-9e33-c80aa9429562",
        executed: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23",
        id: 5,
        es_ms: 1_700_000_000_000,
        ts_ms: 1_700_000_000_456,
    }
}

fn write(config: FlatConfig, table: &TableSchema, rows: &Rows) -> RecordBuffer {
    let mut out = RecordBuffer::new();
    let mut writer = FlatWriter::new(config);
    with_event(table, rows, |event| writer.write(event, &context(), &mut out)).unwrap();
    out
}

fn json(out: &RecordBuffer, place: usize) -> Value {
    serde_json::from_slice(out.get(place).unwrap().value).unwrap()
}

fn read(out: &RecordBuffer) -> Vec<(u32, Option<Vec<u8>>, ChangeRecord)> {
    let mut reader = Reader::new();
    let read = |view: RecordView<'_>| match reader.read(&consumed(&view, 0)) {
        Ok(Incoming::Change(change)) => (view.partition, view.key.map(<[u8]>::to_vec), change),
        other => panic!("not a change: {other:?}"),
    };
    out.iter().map(read).collect()
}

#[test]
fn a_message_is_canals() {
    let before = row(1, 7, Some("a"), Some(&[0xff, 0]));
    let after = row(1, 7, Some("b\n"), None);
    let out = write(config(1, RecordMode::Event), &table(), &Rows::Update(vec![(before, after)]));
    assert_eq!(
        std::str::from_utf8(out.get(0).unwrap().value).unwrap(),
        concat!(
            r#"{"data":[{"id":"1","shop":"7","name \"q\"":"b\n","raw":null,"extra":null}],"database":"shop","#,
            r#""es":1700000000000,"gtid":"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23","id":5,"isDdl":false,"#,
            r#""mysqlType":{"id":"bigint unsigned","shop":"int","name \"q\"":"varchar(50)","raw":"varbinary(60)","#,
            r#""extra":"json"},"old":[{"name \"q\"":"a","raw":"ÿ\u0000"}],"pkNames":["id"],"sql":"","#,
            r#""sqlType":{"id":-5,"shop":4,"name \"q\"":12,"raw":2004,"extra":1111},"table":"items","#,
            r#""ts":1700000000456,"type":"UPDATE"}"#
        )
    );
    let names: Vec<_> = out.get(0).unwrap().headers.as_slice().iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "towpath-epoch",
            "towpath-offset",
            "towpath-rows",
            "towpath-term",
            "towpath-gtid",
            "towpath-pipeline",
            "towpath-server"
        ]
    );
}

#[test]
fn changes_within_json_are_documents_in_records_and_changed_only_where_they_change() {
    let mut rest = &include_bytes!("../../binlog/testdata/patches.binlog")[4..];
    let mut decoder = crate::binlog::Decoder::new(|_, _| true);
    let mut writer = FlatWriter::new(by_key(1));
    let mut out = RecordBuffer::new();
    while !rest.is_empty() {
        let size = crate::binlog::EventHeader::parse(rest).unwrap().size as usize;
        let (event, next) = rest.split_at(size);
        rest = next;
        if let crate::binlog::Event::Rows(rows) = decoder.decode(&event[..size - 4]).unwrap() {
            writer.write(rows, &context(), &mut out).unwrap();
        }
    }
    // The script's last statements: `j` and `n` of rows 1 and 2, then `n` of all rows, then `j` of row 5.
    let messages: Vec<Value> = (out.len() - 3..out.len()).map(|place| json(&out, place)).collect();
    let first = &messages[0]["data"][0];
    assert_eq!(first["j"], r#"{"a": 1, "bc": ["replaced", null, 0], "new": {"z": 1, "aa": []}}"#);
    assert_eq!(messages[0]["sqlType"]["j"], 12);
    let changed =
        |message: &Value, row: usize| message["old"][row].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(changed(&messages[0], 0), ["j"]);
    assert_eq!((messages[1]["old"].as_array().unwrap().len(), changed(&messages[1], 0)), (4, vec!["n".to_owned()]));
    assert_eq!(messages[1]["data"][0]["j"], first["j"]);
    assert_eq!((&messages[2]["data"][0]["j"], &messages[2]["old"][0]["j"]), (&Value::Null, &"8".into()));
}

fn write_held(config: FlatConfig, rows: &Rows, held: [u8; 2]) -> Result<RecordBuffer, Stop> {
    let mut out = RecordBuffer::new();
    let mut writer = FlatWriter::new(config);
    with_images(&table(), rows, held, |event| writer.write(event, &context(), &mut out)).map(|()| out)
}

fn by_key(partitions: u32) -> FlatConfig {
    FlatConfig { router: Router::new(PartitionBy::PrimaryKey, partitions), ..config(partitions, RecordMode::Event) }
}

#[test]
fn what_a_partial_row_does_not_tell_is_in_no_map_and_the_record_says_so() {
    // The key before; `name` and `raw` after.
    let update = Rows::Update(vec![(row(1, 7, None, None), row(1, 7, Some("b"), None))]);
    let out = write_held(by_key(4), &update, [0b00001, 0b01100]).unwrap();
    let message = json(&out, 0);
    assert_eq!(message["data"], serde_json::json!([{"id": "1", "name \"q\"": "b", "raw": null}]));
    assert_eq!(message["old"], serde_json::json!([{}]));
    let names = |map: &Value| map.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&message["mysqlType"]), ["id", "name \"q\"", "raw"]);
    assert_eq!(names(&message["sqlType"]), ["id", "name \"q\"", "raw"]);
    assert_eq!(message["pkNames"], serde_json::json!(["id"]));
    let (partition, _, change) = &read(&out)[0];
    assert!(change.headers.partial);
    let whole = write(by_key(4), &table(), &Rows::Insert(vec![row(1, 7, None, None)]));
    assert_eq!(*partition, read(&whole)[0].0, "the partition of the whole row");
    assert!(!read(&whole)[0].2.headers.partial);

    // A delete that tells its key, an insert that leaves a column out.
    let delete = write_held(by_key(4), &Rows::Delete(vec![row(1, 7, None, None)]), [0b00001, 0]).unwrap();
    assert_eq!(json(&delete, 0)["data"], serde_json::json!([{"id": "1"}]));
    let insert = write_held(by_key(4), &Rows::Insert(vec![row(1, 7, None, None)]), [0b00011, 0]).unwrap();
    assert_eq!(json(&insert, 0)["data"], serde_json::json!([{"id": "1", "shop": "7"}]));
    assert!(read(&delete)[0].2.headers.partial && read(&insert)[0].2.headers.partial);
}

#[test]
fn after_images_that_leave_out_only_what_the_before_images_hold_are_whole() {
    let rows = Rows::Update(vec![(row(1, 7, Some("a"), Some(b"r")), row(1, 7, Some("b"), Some(b"r")))]);
    let out = write_held(by_key(4), &rows, [0b11111, 0b00100]).unwrap();
    let full = write(by_key(4), &table(), &rows);
    assert_eq!(json(&out, 0), json(&full, 0));
    assert!(!read(&out)[0].2.headers.partial);
}

#[test]
fn a_row_that_does_not_tell_its_partition_is_never_put_into_a_guessed_one() {
    let rows = || Rows::Update(vec![(row(1, 7, None, None), row(1, 8, Some("b"), None))]);
    for held in [
        // Neither image has the routing column; only the after image has it: the old partition is unknown.
        [0b00001, 0b00100],
        [0b00001, 0b00110],
    ] {
        let stop = write_held(config(4, RecordMode::Event), &rows(), held).unwrap_err();
        assert_eq!(stop.cause, Cause::PartialRow, "{stop}");
        assert!(stop.detail.contains("\"shop\""), "{stop}");
    }
    let stop = write_held(config(1, RecordMode::Row), &rows(), [0b00010, 0b00100]).unwrap_err();
    assert_eq!(stop.cause, Cause::PartialRow, "without its primary key: {stop}");
    // Both images have it: the row moves, and leaves its copy.
    let records = read(&write_held(config(4, RecordMode::Event), &rows(), [0b00011, 0b00110]).unwrap());
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].2.headers.copy, Some(records[0].0));
}

#[test]
fn inserts_and_deletes_have_no_old_and_the_right_image() {
    for (rows, kind) in [
        (Rows::Insert(vec![row(1, 1, None, None)]), ChangeKind::Insert),
        (Rows::Delete(vec![row(1, 1, None, None)]), ChangeKind::Delete),
    ] {
        let out = write(config(1, RecordMode::Event), &table(), &rows);
        assert_eq!(json(&out, 0)["old"], Value::Null);
        let change = &read(&out)[0].2;
        assert_eq!(change.kind, kind);
        assert_eq!(change.row(0).unwrap().data(0), ReadField::Text("1"));
    }
}

#[test]
fn sql_type_is_the_last_rows() {
    let usual = |last: u64| {
        let rows = Rows::Insert(vec![row(1, 1, None, None), row(last, 1, None, None)]);
        json(&write(config(1, RecordMode::Event), &table(), &rows), 0)["sqlType"]["id"].clone()
    };
    assert_eq!(usual(2), -5);
    assert_eq!(usual(1 << 63), 3);
}

#[test]
fn rows_are_split_by_partition_in_order_with_their_indices() {
    let rows: Vec<_> = (0..40).map(|n| row(n, (n % 5) as i32, Some("x"), None)).collect();
    let out = write(config(3, RecordMode::Event), &table(), &Rows::Insert(rows));
    let records = read(&out);
    assert!(records.len() > 1 && records.len() <= 3);
    let mut seen = Vec::new();
    for (partition, key, change) in &records {
        assert_eq!(*key, None);
        let mut last = None;
        for row in change.rows() {
            let id: u64 = row.data(0).text().unwrap().parse().unwrap();
            assert_eq!(u64::from(row.index()), id);
            assert_eq!(row.offset(), 1_000 + id);
            assert!(last < Some(id));
            last = Some(id);
            // Canal: hash(database) ^ hash(value), absolute, modulo.
            let hash =
                crate::routing::java_hash(b"shop") ^ crate::routing::java_hash(row.data(1).text().unwrap().as_bytes());
            assert_eq!(*partition, crate::routing::partition_of(hash, 3));
            seen.push(id);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_changed_routing_key_leaves_a_marked_copy_behind_in_order() {
    // Shops 0 and 1 lie in different partitions of 2.
    let out = write(
        config(2, RecordMode::Event),
        &table(),
        &Rows::Update(vec![
            (row(1, 0, Some("a"), None), row(1, 0, Some("b"), None)),
            (row(2, 0, Some("a"), None), row(2, 1, Some("a"), None)),
            (row(3, 0, Some("a"), None), row(3, 0, Some("b"), None)),
        ]),
    );
    let records = read(&out);
    let of = |partition| records.iter().filter(move |record| record.0 == partition).map(|record| &record.2);
    let (stayed, moved_to) = (records[0].0, 1 - records[0].0);
    let old: Vec<_> = of(stayed).map(|change| (change.headers.rows.to_string(), change.headers.copy)).collect();
    assert_eq!(old, [("0".into(), None), ("1".into(), Some(moved_to)), ("2".into(), None)]);
    let new: Vec<_> = of(moved_to).map(|change| (change.headers.rows.to_string(), change.headers.copy)).collect();
    assert_eq!(new, [("1".into(), None)]);
    let copy = of(stayed).nth(1).unwrap();
    assert_eq!(copy.row(0).unwrap().offset(), of(moved_to).next().unwrap().row(0).unwrap().offset());
    assert_eq!((copy.kind, copy.row(0).unwrap().before(1)), (ChangeKind::Update, ReadField::Text("0")));
}

#[test]
fn one_row_a_record_is_keyed_and_a_changed_key_is_told_to_both() {
    let rows = Rows::Update(vec![
        (row(1, 0, Some("a"), None), row(1, 0, Some("b"), None)),
        (row(2, 0, Some("a"), None), row(9, 0, Some("a"), None)),
    ]);
    let keys: Vec<_> = read(&write(config(2, RecordMode::Row), &table(), &rows))
        .into_iter()
        .map(|(_, key, change)| (String::from_utf8(key.unwrap()).unwrap(), change.len(), change.headers.copy.is_some()))
        .collect();
    assert_eq!(keys, [("1".into(), 1, false), ("9".into(), 1, false), ("2".into(), 1, true)]);
    let mut wide = table();
    wide.primary_key = vec![2, 0];
    let out = write(config(2, RecordMode::Row), &wide, &Rows::Insert(vec![row(1, 0, Some("a\"b"), None)]));
    assert_eq!(out.get(0).unwrap().key, Some(br#"["a\"b","1"]"#.as_slice()));
    wide.primary_key = vec![2];
    let out = write(config(2, RecordMode::Row), &wide, &Rows::Insert(vec![row(1, 0, Some("a\"b"), None)]));
    assert_eq!(out.get(0).unwrap().key, Some(b"a\"b".as_slice()));
}

#[test]
fn records_stay_below_the_limit_and_a_single_row_that_cannot_is_reported() {
    let mut table = table();
    table.columns.push(column("body", ColumnType::Blob { length_bytes: 2 }, false, Some(255)));
    let wide = |id: u64, bytes: usize| -> Vec<Raw> {
        let mut row = row(id, 1, None, None);
        row.push(Some(vec![b'x'; bytes]));
        row
    };
    let limit = 4_000;
    let mut small = config(2, RecordMode::Event);
    small.max_record_bytes = limit;
    let rows = vec![wide(0, 1_000), wide(1, 1_000), wide(2, 9_000), wide(3, 1_000), wide(4, 10), wide(5, 2_000)];
    let out = write(small, &table, &Rows::Insert(rows));
    let mut seen = Vec::new();
    for ((_, _, change), view) in read(&out).iter().zip(out.iter()) {
        let headers: usize = view.headers.as_slice().iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(view.value.len() + headers <= limit, "{} bytes", view.value.len());
        seen.extend(change.rows().map(|row| row.index()));
    }
    assert_eq!(seen, [0, 1, 3, 4, 5]);
    assert!(out.len() >= 2);
    let dead = out.dead();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].row, dead[0].offset, dead[0].key.as_str()), (2, 1_002, "2"));
    assert_eq!((dead[0].database.as_str(), dead[0].table.as_str()), ("shop", "items"));
    assert!(dead[0].bytes > 9_000);
}

#[test]
fn an_event_that_cannot_be_read_to_its_end_leaves_nothing() {
    let bad = vec![row(1, 1, Some("a"), None), vec![Some(vec![0; 8]), Some(vec![0; 4]), Some(vec![0xff]), None, None]];
    let mut writer = FlatWriter::new(config(3, RecordMode::Event));
    let mut out = RecordBuffer::new();
    let good = Rows::Insert(vec![row(7, 1, Some("a"), None)]);
    with_event(&table(), &good, |event| writer.write(event, &context(), &mut out)).unwrap();
    let before = (out.len(), out.bytes());
    let stop = with_event(&table(), &Rows::Insert(bad), |event| writer.write(event, &context(), &mut out)).unwrap_err();
    assert_eq!(stop.cause, Cause::Corrupt);
    assert_eq!((out.len(), out.bytes()), before);
    with_event(&table(), &good, |event| writer.write(event, &context(), &mut out)).unwrap();
    assert_eq!(out.get(1).unwrap().value, out.get(0).unwrap().value);
}

#[test]
fn a_changed_definition_is_taken_up() {
    let mut writer = FlatWriter::new(config(1, RecordMode::Event));
    let mut out = RecordBuffer::new();
    let rows = Rows::Insert(vec![row(7, 1, Some("a"), None)]);
    with_event(&table(), &rows, |event| writer.write(event, &context(), &mut out)).unwrap();
    let mut renamed = table();
    renamed.columns[2].name = "title".into();
    with_event(&renamed, &rows, |event| writer.write(event, &context(), &mut out)).unwrap();
    assert_eq!(json(&out, 1)["data"][0]["title"], "a");
    assert_eq!(json(&out, 1)["mysqlType"]["title"], "varchar(50)");
    assert_eq!(writer.tables.len(), 1);
}

type Plain = (u64, i32, Option<String>, Option<Vec<u8>>);

fn plain() -> impl Strategy<Value = Plain> {
    let name = proptest::option::of("[\\PC\"\\\\\n\u{0}\u{1f}]{0,12}");
    (any::<u64>(), -3i32..4, name, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)))
}

fn raw((id, shop, name, bytes): &Plain) -> Vec<Raw> {
    row(*id, *shop, name.as_deref(), bytes.as_deref())
}

fn check<'a>(row: RowRef<'a>, expected: &Plain, field: fn(RowRef<'a>, usize) -> ReadField<'a>) {
    let (id, shop, name, bytes) = expected;
    let typed = |column| row.typed(column, field(row, column)).unwrap().unwrap();
    assert_eq!(typed(0), TypedValue::UInt(*id));
    assert_eq!(typed(1), TypedValue::Int(i64::from(*shop)));
    assert_eq!(typed(2), name.as_deref().map_or(TypedValue::Null, TypedValue::Text));
    let expected = bytes.as_deref().map_or(TypedValue::Null, |bytes| TypedValue::Bytes(bytes.into()));
    assert_eq!(typed(3), expected);
    assert_eq!(typed(4), TypedValue::Null);
}

proptest! {
    #[test]
    fn updates_round_trip(
        rows in proptest::collection::vec((plain(), plain()), 1..12),
        partitions in 1u32..5,
        by_row in any::<bool>(),
        limit in prop_oneof![Just(1usize << 20), 1_200usize..3_000],
    ) {
        let mode = if by_row { RecordMode::Row } else { RecordMode::Event };
        let mut config = config(partitions, mode);
        config.max_record_bytes = limit;
        let pairs = rows.iter().map(|(before, after)| (raw(before), raw(after))).collect();
        let out = write(config, &table(), &Rows::Update(pairs));
        let mut seen = Vec::new();
        for (_, _, change) in read(&out) {
            for row in change.rows() {
                let (before, after) = &rows[row.index() as usize];
                check(row, after, RowRef::data);
                check(row, before, RowRef::before);
                if change.headers.copy.is_none() {
                    seen.push(row.index());
                }
            }
        }
        seen.extend(out.dead().iter().map(|dead| dead.row));
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..rows.len() as u32).collect::<Vec<_>>());
    }
}
