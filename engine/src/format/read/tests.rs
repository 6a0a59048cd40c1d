//! The reader on records as they are, and as they must not be.

use super::*;
use crate::format::headers;

const VALUE: &str = r#"{"data":[{"id":"1","name":"caf\u00e9 \"x\"","note":null},{"id":"2","name":"b","note":"n"}],
"database":"shop","es":1700000000000,"gtid":"","id":3,"isDdl":false,
"mysqlType":{"id":"bigint unsigned","name":"varchar(20)","note":"varchar(9)"},
"old":[{"name":"a"},{"note":null,"id":"7"}],"pkNames":["id"],"sql":"","sqlType":{"id":-5,"name":12,"note":12},
"table":"items","ts":1700000000123,"type":"UPDATE"}"#;

fn record(value: &str) -> ConsumedRecord {
    let all = [(headers::EPOCH, "1"), (headers::OFFSET, "500"), (headers::ROWS, "4,6"), (headers::TERM, "2")];
    ConsumedRecord {
        partition: 3,
        offset: 42,
        key: None,
        value: Some(value.as_bytes().to_vec()),
        headers: all.iter().map(|(name, value)| ((*name).into(), value.as_bytes().to_vec())).collect(),
        timestamp_ms: 0,
    }
}

fn read(value: &str) -> Result<ChangeRecord, String> {
    match Reader::new().read(&record(value)) {
        Ok(Incoming::Change(change)) => Ok(change),
        Ok(other) => panic!("not a change: {other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_change_is_read_with_its_rows() {
    let change = read(VALUE).unwrap();
    assert_eq!(change.kind, ChangeKind::Update);
    assert_eq!((change.shape.database.as_str(), change.shape.table.as_str()), ("shop", "items"));
    assert_eq!(change.shape.primary_key, [0]);
    assert_eq!((change.es_ms, change.ts_ms), (1_700_000_000_000, 1_700_000_000_123));
    let first = change.row(0).unwrap();
    assert_eq!((first.index(), first.offset()), (4, 504));
    assert_eq!(first.data(1), Field::Text("café \"x\""));
    assert_eq!((first.before(1), first.before(0)), (Field::Text("a"), Field::Text("1")));
    assert_eq!((first.data(2), first.old(2)), (Field::Null, Field::Absent));
    let second = change.row(1).unwrap();
    assert_eq!(second.offset(), 506);
    assert_eq!((second.before(0), second.before(2)), (Field::Text("7"), Field::Null));
    assert_eq!(second.changed().collect::<Vec<_>>(), [2, 0]);
    assert_eq!(second.typed(0, second.data(0)), Ok(Some(TypedValue::UInt(2))));
    assert_eq!(change.rows().count(), 2);
}

#[test]
fn other_orders_of_keys_and_columns_are_read() {
    let value = r#"{"type":"INSERT","mysqlType":{"a":"int","b":"json"},"pkNames":["b"],"table":"t","database":"d",
        "ts":1,"es":2,"future":{"x":[1]},"data":[{"b":"{}","a":"1"},{"c":"9","a":"2"}]}"#;
    let change = read(value).unwrap();
    let names: Vec<_> = change.shape.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let row = change.row(0).unwrap();
    assert_eq!((row.data(0), row.data(1), row.data(2)), (Field::Text("1"), Field::Text("{}"), Field::Absent));
    let row = change.row(1).unwrap();
    assert_eq!((row.data(0), row.data(1), row.data(2)), (Field::Text("2"), Field::Absent, Field::Text("9")));
}

#[test]
fn a_shape_is_kept_and_replaced_when_the_table_changes() {
    let mut reader = Reader::new();
    let mut shape_of = |value: &str| match reader.read(&record(value)).unwrap() {
        Incoming::Change(change) => change.shape,
        other => panic!("not a change: {other:?}"),
    };
    let first = shape_of(VALUE);
    assert!(Arc::ptr_eq(&first, &shape_of(VALUE)));
    let widened = shape_of(&VALUE.replace("varchar(20)", "varbinary(20)"));
    assert_eq!(widened.columns[1].kind, TypeKind::Bytes);
    assert_eq!(shape_of(VALUE).columns[1].kind, TypeKind::Text);
}

#[test]
fn what_is_malformed_is_named_with_its_place() {
    for (from, to, wanted) in [
        (r#""b","note":"n"}"#, r#""b""#, "offset 42"),
        (r#""id":"1","name""#, r#""id":1,"name""#, "a text or null is missing at byte 15"),
        ("UPDATE", "ALTER", "its type is \"ALTER\""),
        (r#"[{"name":"a"},"#, "[", "2 rows but 1 before images"),
        (r#"["id"]"#, r#"["nope"]"#, "names \"nope\""),
        (r#""table":"items","#, "", "`database` or `table` is missing"),
        (r#""es":1700000000000,"#, "", "`es` is missing"),
        (r#"caf\u00e9"#, r#"caf\u00g9"#, "a valid escape"),
        ("\"UPDATE\"}", "\"UPDATE\"} x", "the end of the record"),
        ("\"isDdl\":false", "\"isDdl\":true", "no rows"),
        (r#""pkNames":["id"]"#, r#""pkNames":7"#, "`pkNames` is malformed"),
    ] {
        let broken = VALUE.replacen(from, to, 1);
        assert_ne!(broken, VALUE, "{from}");
        let error = read(&broken).unwrap_err();
        assert!(error.contains(wanted) && error.contains("partition 3"), "{wanted}: {error}");
    }
    let mut fewer = record(VALUE);
    fewer.headers[2].1 = b"4".to_vec();
    assert!(Reader::new().read(&fewer).unwrap_err().reason.contains("2 rows, its headers announce 1"));
    let mut tombstone = record(VALUE);
    tombstone.value = None;
    assert!(Reader::new().read(&tombstone).unwrap_err().reason.contains("no value"));
    let mut binary = record(VALUE);
    binary.value = Some(vec![b'{', 0xff]);
    assert!(Reader::new().read(&binary).unwrap_err().reason.contains("not UTF-8 at byte 1"));
}

#[test]
fn a_record_of_another_writer_is_foreign() {
    let mut foreign = record(VALUE);
    foreign.headers.clear();
    assert!(matches!(Reader::new().read(&foreign), Ok(Incoming::Foreign(_))));
}

proptest::proptest! {
    #[test]
    fn no_value_makes_the_reader_panic(cut in 0usize..600, at in 0usize..600, byte in 0u8..128) {
        let mut value = VALUE.as_bytes().to_vec();
        if at < value.len() {
            value[at] = byte;
        }
        value.truncate(cut.max(at + 1));
        let mut damaged = record("");
        damaged.value = Some(value);
        let _ = Reader::new().read(&damaged);
    }
}
