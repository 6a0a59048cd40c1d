//! The model's bytes against those of a real server, and what happens to history.

use super::encode;
use super::{MySql, MySqlConfig, RowOp, Value};
use serde_json::json;
use towpath_engine::env::Env;
use towpath_engine::schema::{Column, ColumnType, TableSchema};

const FIXTURE: &str = include_str!("../../fixtures/mysql-9.7-rows.txt");

fn column(name: &str, kind: ColumnType) -> Column {
    Column { name: name.into(), kind, unsigned: false, nullable: true, collation: None }
}

fn text(name: &str, kind: ColumnType, collation: u16) -> Column {
    Column { collation: Some(collation), ..column(name, kind) }
}

fn unsigned(name: &str, kind: ColumnType) -> Column {
    Column { unsigned: true, ..column(name, kind) }
}

fn members(names: &str) -> Vec<String> {
    names.chars().map(String::from).collect()
}

/// The fixture's widest table: every type.
fn every_type() -> TableSchema {
    use ColumnType::*;
    let columns = vec![
        Column { nullable: false, ..column("a", TinyInt) },
        unsigned("b", SmallInt),
        column("c", MediumInt),
        unsigned("d", Int),
        column("e", BigInt),
        column("f", Float),
        column("g", Double),
        column("h", Decimal { precision: 12, scale: 2 }),
        column("i", Decimal { precision: 65, scale: 30 }),
        column("j", Bit { bits: 1 }),
        column("k", Bit { bits: 20 }),
        column("l", Year),
        column("m", Date),
        column("n", Time { fsp: 0 }),
        column("o", Time { fsp: 3 }),
        column("p", Time { fsp: 6 }),
        column("q", DateTime { fsp: 0 }),
        column("r", DateTime { fsp: 3 }),
        column("s", Timestamp { fsp: 0 }),
        column("t", Timestamp { fsp: 6 }),
        column("t1", Timestamp { fsp: 1 }),
        text("u", Char { max_bytes: 40 }, 255),
        text("v", Char { max_bytes: 10 }, 63),
        text("w", VarChar { max_bytes: 800 }, 255),
        text("x", VarChar { max_bytes: 300 }, 63),
        text("y", Blob { length_bytes: 2 }, 255),
        text("z", Blob { length_bytes: 4 }, 63),
        text("aa", Enum { members: members("xyz") }, 255),
        text("ab", Set { members: members("abcdefghi") }, 255),
        column("ac", Json),
        text("ad", Char { max_bytes: 800 }, 255),
        text("ae", VarChar { max_bytes: 20 }, 8),
        text("af", Blob { length_bytes: 1 }, 63),
        column("ah", Geometry),
        unsigned("aj", Int),
        column("al", Decimal { precision: 5, scale: 5 }),
        unsigned("am", Decimal { precision: 10, scale: 0 }),
    ];
    TableSchema { database: "d".into(), table: "t4".into(), columns, primary_key: vec![0] }
}

fn small_tables() -> [TableSchema; 5] {
    use ColumnType::*;
    let table = |name: &str, columns: Vec<Column>, primary_key: Vec<usize>| {
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(index, column)| Column { nullable: !primary_key.contains(&index), ..column })
            .collect();
        TableSchema { database: "d".into(), table: name.into(), columns, primary_key }
    };
    let id = || column("id", Int);
    let latin1 = |name: &str, bytes| text(name, VarChar { max_bytes: bytes }, 8);
    let utf8 = |name: &str, bytes| text(name, VarChar { max_bytes: bytes }, 255);
    let blob = |collation| text("e", Blob { length_bytes: 2 }, collation);
    [
        table("t2", vec![id(), utf8("v", 1600)], vec![0]),
        table("t3", vec![unsigned("id", BigInt), latin1("k2", 30), latin1("n", 10)], vec![0, 1]),
        table("t5", vec![id(), latin1("a", 10), utf8("b", 40), utf8("c", 40), blob(255)], vec![0]),
        table("t6", vec![id(), latin1("a", 10), utf8("b", 40), utf8("c", 40), blob(8)], vec![0]),
        table("t7", vec![id(), latin1("a", 10), utf8("b", 40), utf8("c", 40)], vec![0]),
    ]
}

fn t(text: &str) -> Value {
    Value::Text(text.into())
}

fn dec(text: &str) -> Value {
    Value::Decimal(text.into())
}

fn time(negative: bool, (hours, minutes, seconds): (u16, u8, u8), micros: u32) -> Value {
    Value::Time { negative, hours, minutes, seconds, micros }
}

fn at(year: u16, (month, day): (u8, u8), (hour, minute, second): (u8, u8, u8), micros: u32) -> Value {
    Value::DateTime { year, month, day, hour, minute, second, micros }
}

fn stamp(seconds: u32, micros: u32) -> Value {
    Value::Timestamp { seconds, micros }
}

fn first_row() -> Vec<Value> {
    let mut point = vec![0, 0, 0, 0, 1, 1, 0, 0, 0];
    point.extend_from_slice(&1f64.to_le_bytes());
    point.extend_from_slice(&2f64.to_le_bytes());
    vec![
        Value::Int(-1),
        Value::Int(65535),
        Value::Int(-8_388_608),
        Value::Int(4_294_967_295),
        Value::Int(i64::MIN),
        Value::Float(1.5),
        Value::Double(-2.25),
        dec("-1234567890.12"),
        dec("12345678901234567890123456789012345.123456789012345678901234567890"),
        Value::UInt(1),
        Value::UInt(0b1010_1010_1010_1010_1010),
        Value::Int(2026),
        Value::Date { year: 2026, month: 11, day: 23 },
        time(true, (838, 59, 59), 0),
        time(true, (0, 0, 1), 100_000),
        time(false, (12, 34, 56), 789_012),
        at(2026, (11, 23), (1, 2, 3), 0),
        at(2026, (11, 23), (1, 2, 3), 456_000),
        stamp(1_795_395_723, 0),
        stamp(1_795_395_723, 123_456),
        stamp(1_795_395_723, 100_000),
        t("abc  "),
        Value::Bytes(b"abc".to_vec()),
        t("héllo"),
        Value::Bytes(vec![0, 1, 2]),
        t("text"),
        Value::Bytes(vec![0, 255]),
        Value::Enum(2),
        Value::Set(0b1_0000_0101),
        Value::Json(
            json!({"bb": 1, "a": [1, 2.5, -3, null, true, false, "str", 70000, 5_000_000_000_i64, u64::MAX, -40000],
            "c": {"d": {}}}),
        ),
        t("wide"),
        t("café"),
        Value::Bytes(b"tb".to_vec()),
        Value::Bytes(point),
        Value::Int(5),
        dec("-0.12345"),
        dec("99"),
    ]
}

fn second_row() -> Vec<Value> {
    vec![
        Value::Int(2),
        Value::Int(0),
        Value::Int(8_388_607),
        Value::Int(0),
        Value::Int(i64::MAX),
        Value::Float(-0.1),
        Value::Double(1e300),
        dec("0.01"),
        dec("-0.000000000000000000000000000001"),
        Value::UInt(0),
        Value::UInt(0),
        Value::Int(0),
        Value::Date { year: 0, month: 0, day: 0 },
        time(false, (0, 0, 0), 0),
        time(true, (838, 59, 59), 0),
        time(true, (0, 0, 0), 1),
        at(0, (0, 0), (0, 0, 0), 0),
        at(9999, (12, 31), (23, 59, 59), 999_000),
        stamp(0, 0),
        stamp(1, 0),
        stamp(i32::MAX as u32, 0),
        t(""),
        Value::Bytes(vec![]),
        t(""),
        Value::Bytes(vec![]),
        t(""),
        Value::Bytes(vec![]),
        Value::Enum(3),
        Value::Set(0),
        Value::Json(json!([])),
        t(""),
        t(""),
        Value::Bytes(vec![]),
        Value::Null,
        Value::Int(0),
        dec("0.99999"),
        dec("9999999999"),
    ]
}

fn server(config: MySqlConfig) -> MySql {
    MySql::new(config, Env::new(|| 1_795_420_000_123, 1))
}

/// What the fixture's statements did, on the model.
fn write_the_fixture(server: &MySql) {
    server.create_table(every_type()).unwrap();
    for table in small_tables() {
        server.create_table(table).unwrap();
    }
    let filler = |id| RowOp::insert("d", "t2", vec![Value::Int(id), t(&"a".repeat(400))]);
    server.commit(&[RowOp::insert("d", "t4", first_row())]).unwrap();
    server.commit(&[RowOp::insert("d", "t4", second_row())]).unwrap();
    let mut row = second_row();
    row[14] = time(false, (12, 0, 0), 500_000);
    row[15] = time(true, (12, 34, 56), 500_000);
    row[29] = Value::Json(json!({"k": "x".repeat(300)}));
    server.commit(&[RowOp::update("d", "t4", vec![Value::Int(2)], row.clone())]).unwrap();
    row[29] = Value::Json(json!({"big": "y".repeat(70000), "n": -5, "m": 70000}));
    server.commit(&[RowOp::update("d", "t4", vec![Value::Int(2)], row)]).unwrap();
    server.commit(&[RowOp::delete("d", "t4", vec![Value::Int(-1)])]).unwrap();
    server.commit(&(104..=125).map(filler).collect::<Vec<_>>()).unwrap();
    let pair = |id: i64, key: &str, n| RowOp::insert("d", "t3", vec![Value::Int(id), t(key), n]);
    server
        .commit(&[
            pair(21, "a", Value::Null),
            pair(22, "b", t("x")),
            RowOp::update("d", "t2", vec![Value::Int(104)], vec![Value::Int(104), t("q")]),
            RowOp::delete("d", "t3", vec![Value::Int(22), t("b")]),
        ])
        .unwrap();
    for table in ["t5", "t6"] {
        server.commit(&[RowOp::insert("d", table, vec![Value::Int(1), t("a"), t("b"), t("c"), t("e")])]).unwrap();
    }
    server.commit(&[RowOp::insert("d", "t7", vec![Value::Int(1), t("a"), t("b"), t("c")])]).unwrap();
}

/// All events of a file as (type, body without checksum).
fn events(file: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut at, mut out) = (4, Vec::new());
    while at < file.len() {
        let size = u32::from_le_bytes(file[at + 9..at + 13].try_into().unwrap()) as usize;
        let event = &file[at..at + size];
        let crc = u32::from_le_bytes(event[size - 4..].try_into().unwrap());
        assert_eq!(crc32fast::hash(&event[..size - 4]), crc);
        assert_eq!(u32::from_le_bytes(event[13..17].try_into().unwrap()) as usize, at + size);
        out.push((event[4], event[19..size - 4].to_vec()));
        at += size;
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn rows_and_table_maps_are_the_real_server_s_byte_for_byte() {
    let server = server(MySqlConfig::default());
    write_the_fixture(&server);
    let named = |kind| match kind {
        encode::TABLE_MAP_EVENT => Some("TABLE_MAP"),
        encode::WRITE_ROWS_EVENT => Some("WRITE_ROWS"),
        encode::UPDATE_ROWS_EVENT => Some("UPDATE_ROWS"),
        encode::DELETE_ROWS_EVENT => Some("DELETE_ROWS"),
        _ => None,
    };
    // Behind the table's id, which counts what the server opened before.
    let ours: Vec<String> = events(&server.binlog_files()[0].1)
        .iter()
        .filter_map(|(kind, body)| Some((named(*kind)?, &body[6..])))
        .map(|(kind, body)| match body.len() {
            0..=1994 => format!("{kind} {}", hex(body)),
            length => format!("{kind} {length}:{:08x}", crc32fast::hash(body)),
        })
        .collect();
    let theirs: Vec<String> = FIXTURE
        .lines()
        .filter(|line| line.starts_with("TABLE_MAP") || line.contains("_ROWS"))
        .map(|line| line.split_once(' ').unwrap())
        .map(
            |(kind, body)| {
                if body.contains(':') { format!("{kind} {body}") } else { format!("{kind} {}", &body[12..]) }
            },
        )
        .collect();
    assert_eq!(theirs.len(), 25);
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "event {index}");
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn heads_and_ends_are_the_real_server_s_byte_for_byte() {
    let config = MySqlConfig {
        server_uuid: "96a951e8-e710-11f1-a7b6-02fc00000001".into(),
        version: "9.7.4-2".into(),
        ..MySqlConfig::default()
    };
    let server = server(config);
    server.create_table(every_type()).unwrap();
    for _ in 0..12 {
        server.statement("d", "SELECT 1");
    }
    server.rotate();
    server.commit(&[RowOp::insert("d", "t4", first_row())]).unwrap();
    server.rotate();
    let ours = events(&server.binlog_files()[1].1);
    let line = |kind: &str| FIXTURE.lines().find_map(|line| line.strip_prefix(kind)).unwrap().trim();
    assert_eq!(hex(&ours[0].1), line("FORMAT_DESCRIPTION "));
    assert_eq!(
        hex(&ours[1].1).replace("0f00000000000000", "N"),
        line("PREVIOUS_GTIDS ").replace("0f00000000000000", "N")
    );
    // GTID: flag, uuid and number; the logical clock; then length and version behind the 7 bytes of the commit's time.
    let (gtid, theirs) = (hex(&ours[2].1), line("GTID "));
    assert_eq!(gtid[..84], theirs[..84]);
    assert_eq!(gtid[98..], theirs[98..]);
    // QUERY behind the thread's id.
    assert_eq!(hex(&ours[3].1)[8..], line("QUERY ")[8..]);
    assert_eq!(ours.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [15, 35, 33, 2, 19, 30, 16, 4]);
    assert_eq!(hex(&ours[7].1)[16..], hex(b"binlog.000003"));
}

#[test]
fn a_prepared_transaction_holds_the_definition_of_its_tables() {
    let server = server(MySqlConfig::default());
    server.create_table(every_type()).unwrap();
    server.xa_prepare("g", &[RowOp::insert("d", "t4", first_row())]).unwrap();
    let alter = || server.alter_table(every_type(), "ALTER TABLE t4 COMMENT 'x'", &|row| row);
    assert!(alter().unwrap_err().0.contains("holds the definition"));
    server.xa_rollback("g").unwrap();
    alter().unwrap();
}

#[test]
fn a_crash_takes_definitions_back_with_their_rows() {
    let server = server(MySqlConfig::default());
    server.create_table(every_type()).unwrap();
    server.commit(&[RowOp::insert("d", "t4", first_row())]).unwrap();
    let now = || (server.schema("d", "t4"), server.rows("d", "t4"));
    let before = now();
    let mut added = before.0.clone().unwrap();
    added.columns.push(column("added", ColumnType::BigInt));
    let append = |row: Vec<Value>| [row, vec![Value::Int(7)]].concat();
    let alter = || server.alter_table(added.clone(), "ALTER TABLE t4 ADD COLUMN added BIGINT", &append).unwrap();

    alter();
    server.commit(&[RowOp::insert("d", "t4", append(second_row()))]).unwrap();
    let altered = now();
    server.drop_table("d", "t4").unwrap();
    server.crash(1);
    assert_eq!(now(), altered, "dropped, and back");
    // A crash forgets how what came before it is taken back.
    server.drop_table("d", "t4").unwrap();
    server.create_table(added.clone()).unwrap();
    // With its database, of which it is the only table.
    server.crash(3);
    assert_eq!(now(), altered, "dropped and made anew, and back");

    let other = self::server(MySqlConfig::default());
    other.create_table(every_type()).unwrap();
    other.commit(&[RowOp::insert("d", "t4", first_row())]).unwrap();
    other.alter_table(added, "ALTER TABLE t4 ADD COLUMN added BIGINT", &append).unwrap();
    other.commit(&[RowOp::insert("d", "t4", append(second_row()))]).unwrap();
    other.crash(2);
    assert_eq!((other.schema("d", "t4"), other.rows("d", "t4")), before, "altered, and as it was");
}
