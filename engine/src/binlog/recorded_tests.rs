//! Decodes binlogs recorded from MySQL 9.7 (`testdata/types.sql` and `types_mysql.sql`, under both settings of
//! `binlog_row_metadata`) and compares every value of the tables they leave behind with what the server's own SELECT
//! printed (`testdata/types_expected.tsv`). tests/decode_real.rs records them.

use super::*;
use crate::cause::Cause;
use crate::schema::{ColumnType, TableSchema};
use replay::Replay;

#[path = "testdata/replay.rs"]
mod replay;

pub(super) const FULL: &[u8] = include_bytes!("testdata/types_full.binlog");
pub(super) const MINIMAL: &[u8] = include_bytes!("testdata/types_minimal.binlog");
const EXPECTED: &str = include_str!("testdata/types_expected.tsv");
/// `testdata/patches_mysql.sql` under `binlog_row_value_options=PARTIAL_JSON`.
pub(super) const PATCHES: &[u8] = include_bytes!("testdata/patches.binlog");
const PATCHES_EXPECTED: &str = include_str!("testdata/patches_expected.tsv");

/// The events of a binlog file with checksums, cut as a source delivers them.
pub(super) fn events(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = file.strip_prefix(b"\xfebin").expect("a binlog starts with its magic number");
    let mut events = Vec::new();
    while !rest.is_empty() {
        let size = EventHeader::parse(rest).unwrap().size as usize;
        let (event, next) = rest.split_at(size);
        events.push(&event[..size - 4]);
        rest = next;
    }
    events
}

/// Replays a binlog into tables.
fn replay(file: &[u8], decoder: &mut Decoder) -> Replay {
    let mut replay = Replay::default();
    for event in events(file) {
        if let Event::Rows(event) = decoder.decode(event).unwrap() {
            replay.apply(event);
        }
    }
    replay
}

fn full() -> Replay {
    replay(FULL, &mut Decoder::new(|_, _| true))
}

#[test]
fn full_metadata_gives_what_select_gives() {
    let compared = full().compare(EXPECTED);
    assert!(compared > 480, "only {compared} values compared");
}

#[test]
fn changes_within_json_give_the_whole_documents() {
    let partial = events(PATCHES).iter().filter(|raw| raw[4] == EventType::PARTIAL_UPDATE_ROWS.0).count();
    assert!(partial > 12, "{partial} events hold changes");
    let compared = replay(PATCHES, &mut Decoder::new(|_, _| true)).compare(PATCHES_EXPECTED);
    assert_eq!(compared, 20);
}

#[test]
fn minimal_metadata_with_known_schemas_gives_the_same() {
    let mut decoder = Decoder::new(|_, _| true);
    decoder.set_schemas(full().schemas.into_values());
    let replayed = replay(MINIMAL, &mut decoder);
    replayed.compare(EXPECTED);
    assert_eq!(replayed.schemas, full().schemas);
}

#[test]
fn minimal_metadata_without_schemas_stops_at_the_first_rows() {
    let mut decoder = Decoder::new(|_, _| true);
    let stop = events(MINIMAL).into_iter().find_map(|event| decoder.decode(event).err()).unwrap();
    assert_eq!(stop.cause, Cause::SchemaMismatch);
    assert!(stop.detail.contains("`types`.`integers`"), "{}", stop.detail);
}

#[test]
fn columns_that_nothing_names_are_called_by_their_place_on_demand() {
    let mut decoder = Decoder::new(|_, _| true).naming_by_place();
    let mut tables = 0;
    for event in events(MINIMAL) {
        let Event::Rows(mut event) = decoder.decode(event).unwrap() else { continue };
        let names: Vec<&str> = event.table.columns.iter().map(|column| column.name.as_str()).collect();
        let expected: Vec<String> = (1..=names.len()).map(|place| format!("@{place}")).collect();
        assert_eq!(names, expected);
        assert!(event.table.primary_key.is_empty());
        assert!(event.read_row(&mut Vec::new(), &mut Vec::new()).unwrap());
        tables += 1;
    }
    assert!(tables > 10);
    let mut decoder = Decoder::new(|_, _| true).naming_by_place();
    let full = events(FULL).into_iter().find_map(|event| match decoder.decode(event).unwrap() {
        Event::Rows(event) => Some(event.table.clone()),
        _ => None,
    });
    assert_eq!(full.unwrap().columns[0].name, "id", "names in the binlog win");
}

#[test]
fn a_schema_that_contradicts_the_rows_is_refused() {
    let schemas = full().schemas;
    let stop_with = |change: &dyn Fn(&mut TableSchema)| {
        let mut known = schemas["integers"].clone();
        change(&mut known);
        let mut decoder = Decoder::new(|_, table| table == "integers");
        decoder.set_schemas([known]);
        events(MINIMAL).into_iter().find_map(|event| decoder.decode(event).err())
    };
    assert_eq!(stop_with(&|_| {}), None);
    for change in [
        &(|known: &mut TableSchema| drop(known.columns.pop())) as &dyn Fn(&mut TableSchema),
        &|known: &mut TableSchema| known.columns[1].unsigned = true,
        &|known: &mut TableSchema| known.columns.swap(1, 3),
        &|known: &mut TableSchema| known.columns[1].kind = ColumnType::Year,
    ] {
        assert_eq!(stop_with(change).unwrap().cause, Cause::SchemaMismatch);
    }
}

#[test]
fn tables_that_are_not_captured_are_not_looked_into() {
    let mut decoder = Decoder::new(|database, table| database == "types" && table == "keyed");
    let (mut filtered, mut captured) = (0, 0);
    for event in events(MINIMAL) {
        match decoder.decode(event) {
            Ok(Event::FilteredRows { .. }) => filtered += 1,
            Ok(Event::TableMap(map)) if map.captured => captured += 1,
            // Its columns have no names here: the only reason to stop.
            Err(stop) => assert_eq!(stop.cause, Cause::SchemaMismatch),
            Ok(_) => {}
        }
    }
    assert!(filtered > 10 && captured == 2, "{filtered} {captured}");
}

#[test]
fn keys_and_types_come_from_full_metadata() {
    let schemas = full().schemas;
    let key = |table: &str| {
        let schema = &schemas[table];
        schema.primary_key.iter().map(|&index| schema.columns[index].name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(key("keyed"), ["first", "second"]);
    assert_eq!(key("prefixed"), ["id", "t"]);
    let type_of = |table: &str, column: &str| {
        let schema = &schemas[table];
        schema.columns[schema.column_index(column).unwrap()].mysql_type()
    };
    assert_eq!(type_of("integers", "bu"), "bigint unsigned");
    assert_eq!(type_of("decimals", "b"), "decimal(12,2)");
    assert_eq!(type_of("texts", "v"), "varchar(200)");
    assert_eq!(type_of("texts", "v1"), "varchar(60)");
    assert_eq!(type_of("texts", "cl"), "char(255)");
    assert_eq!(type_of("texts", "bl"), "binary(255)");
    assert_eq!(type_of("texts", "lt"), "longtext");
    assert_eq!(type_of("times", "dt3"), "datetime(3)");
    assert_eq!(type_of("members", "e"), "enum('new','it''s paid','ship,ped','')");
    assert_eq!(type_of("members", "b13"), "bit(13)");
    assert_eq!(type_of("vectors", "v"), "vector");
}

#[test]
fn a_transaction_is_marked_from_gtid_to_commit() {
    let mut decoder = Decoder::new(|_, _| true);
    let (mut gtids, mut begins, mut commits, mut ddl) = (0, 0, 0, 0);
    let mut length = None;
    let mut bytes = 0;
    for raw in events(FULL) {
        let header = EventHeader::parse(raw).unwrap();
        match decoder.decode(raw).unwrap() {
            Event::Gtid(gtid) => {
                if let Some(length) = length {
                    assert_eq!(bytes, length, "the transaction before {gtid}");
                }
                (length, bytes) = (Some(gtid.transaction_length), 0);
                assert!(gtid.original_commit_us > 1_700_000_000_000_000 && gtid.number > 0);
                gtids += 1;
            }
            Event::Query(query) if query.kind() == QueryKind::Begin => begins += 1,
            Event::Query(_) => ddl += 1,
            Event::Xid(_) => commits += 1,
            _ => {}
        }
        if header.counts() {
            bytes += u64::from(header.size);
        }
    }
    assert_eq!(begins, commits);
    assert_eq!(gtids, begins + ddl);
    assert!(begins > 10 && ddl > 10, "{begins} {ddl}");
}
