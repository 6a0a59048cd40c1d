//! For tests only, here and in tests/decode_real.rs: rows events applied to tables of texts, and the comparison with
//! what the server's own SELECT printed.
//!
//! An expectation is a line of five fields: table, `id`, column, kind, and the text in hexadecimal or `NULL`. Kinds:
//! `T` compare texts, `B` bytes, `F` the FLOAT it is, `D` the DOUBLE it is (where the server's text has other
//! digits), `G`
//! GeoJSON, `V` a VECTOR with its bytes.

use std::collections::{BTreeMap, BTreeSet};

use towpath_engine::binlog::{Field, RowsEvent, text};
use towpath_engine::schema::{Column, TableSchema};

/// A row's texts by column; `None` is NULL.
pub type Texts = BTreeMap<String, Option<String>>;

/// Tables as the events leave them.
#[derive(Debug, Default)]
pub struct Replay {
    /// Rows by (table, `id`).
    pub rows: BTreeMap<(String, String), Texts>,
    /// How many events had rows that do not tell all their columns.
    pub partial: usize,
    /// The definition of each table that had rows.
    pub schemas: BTreeMap<String, TableSchema>,
}

fn texts(table: &TableSchema, fields: &[Field<'_>]) -> Texts {
    assert!(fields.is_empty() || table.columns.len() == fields.len());
    let text = |column: &Column, field: &Field<'_>| {
        let mut out = vec![b'"'];
        match field {
            Field::Absent | Field::Null => return None,
            Field::Value(raw) => text::write_text(column, raw, &mut out).unwrap(),
            Field::Patched(patched) => text::Text::default().write_patched(column, patched, &mut out).unwrap(),
        }
        out.push(b'"');
        Some(serde_json::from_slice(&out).expect("the text is the content of a JSON string"))
    };
    let pairs = table.columns.iter().zip(fields).filter(|(_, field)| **field != Field::Absent);
    pairs.map(|(column, field)| (column.name.clone(), text(column, field))).collect()
}

impl Replay {
    /// Applies an event's rows. A before image must be of a row that is there; what an image leaves out stays as it
    /// was.
    pub fn apply(&mut self, mut event: RowsEvent<'_>) {
        let table = event.table.clone();
        self.schemas.insert(table.table.clone(), (*table).clone());
        self.partial += usize::from(!event.is_whole());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        while event.read_row(&mut before, &mut after).unwrap() {
            let (old, new) = (texts(&table, &before), texts(&table, &after));
            let mut row = if before.is_empty() { Texts::new() } else { self.take(&table.table, &old) };
            if !after.is_empty() {
                row.extend(new);
                let key = (table.table.clone(), row["id"].clone().expect("an id"));
                assert_eq!(self.rows.insert(key, row), None);
            }
        }
    }

    /// Takes out the row that has these values.
    fn take(&mut self, table: &str, values: &Texts) -> Texts {
        let has = |row: &Texts| values.iter().all(|(column, value)| row.get(column).is_none_or(|known| known == value));
        let found = self.rows.iter().find(|((of, _), row)| of == table && has(row)).map(|(key, _)| key.clone());
        let key = found.unwrap_or_else(|| panic!("{table} has no row {values:?}"));
        self.rows.remove(&key).expect("it was found")
    }

    /// Compares all rows with the expectation; returns the number of values compared, which are all but those that no
    /// image told.
    pub fn compare(&self, expected: &str) -> usize {
        let mut compared = 0;
        let mut unseen: BTreeSet<_> = self.rows.keys().cloned().collect();
        for line in expected.lines() {
            let [table, id, column, kind, hex] = line.split('\t').collect::<Vec<_>>().try_into().expect("five fields");
            let key = (table.to_owned(), id.to_owned());
            unseen.remove(&key);
            let row = self.rows.get(&key).unwrap_or_else(|| panic!("row {key:?} is missing"));
            let Some(ours) = row.get(column) else {
                assert!(self.partial > 0, "{key:?} lacks {column}");
                continue;
            };
            compared += 1;
            let at = format!("{table}.{column} of id {id}");
            match ours {
                Some(ours) => compare_one(ours, kind, hex, &at),
                None => assert_eq!(hex, "NULL", "{at}"),
            }
        }
        assert!(unseen.is_empty(), "rows the server does not have: {unseen:?}");
        compared
    }
}

fn compare_one(ours: &str, kind: &str, hex: &str, at: &str) {
    assert_ne!(hex, "NULL", "{at}");
    let digit = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal");
    let theirs: Vec<u8> = (0..hex.len() / 2).map(digit).collect();
    let number = || String::from_utf8(theirs.clone()).unwrap().parse::<f64>().expect("a number");
    match kind {
        "B" => assert_eq!(ours.chars().map(|c| c as u8).collect::<Vec<_>>(), theirs, "{at}"),
        "F" => {
            let single: f32 = ours.parse().expect("a number");
            assert_eq!(f64::from(single), f64::from(number() as f32), "{at}");
            assert_eq!(digits(ours), digits(&format!("{single:e}")), "{at}: {ours} is not the shortest form");
        }
        "G" => {
            let json = |text: &[u8]| numbers_as_doubles(serde_json::from_slice(text).expect("JSON"));
            assert_eq!(json(ours.as_bytes()), json(&theirs), "{at}");
        }
        "V" => {
            let numbers: Vec<f32> = serde_json::from_str(ours).expect("an array of numbers");
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            assert_eq!(bytes, theirs, "{at}");
        }
        "D" => assert_eq!(ours.parse::<f64>().expect("a number"), number(), "{at}"),
        _ => assert_eq!(ours, String::from_utf8(theirs).unwrap(), "{at}"),
    }
}

/// JSON whose numbers are all doubles: the server writes `1.0` where we write `1`.
fn numbers_as_doubles(json: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match json {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(cells) => cells.into_iter().map(numbers_as_doubles).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, numbers_as_doubles(value))).collect(),
        other => other,
    }
}

/// The significant digits of a number.
fn digits(text: &str) -> String {
    let mantissa = text.split('e').next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}
