//! For tests only, here and in tests/decode_real.rs: rows events applied to tables of texts, and the comparison with
//! what the server's own SELECT printed.
//!
//! An expectation is a line of five fields: table, `id`, column, kind, and the text in hexadecimal or `NULL`. Kinds:
//! `T` compare texts, `B` bytes, `F` the FLOAT it is, `D` the DOUBLE it is (where the server's text has other digits).

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
    /// The definition of each table that had rows.
    pub schemas: BTreeMap<String, TableSchema>,
}

fn texts(table: &TableSchema, fields: &[Field<'_>]) -> Texts {
    assert_eq!(table.columns.len(), fields.len());
    let text = |column: &Column, field: &Field<'_>| match *field {
        Field::Absent => panic!("a full image holds every column"),
        Field::Null => None,
        Field::Value(raw) => {
            let mut out = vec![b'"'];
            text::write_text(column, raw, &mut out).unwrap();
            out.push(b'"');
            Some(serde_json::from_slice(&out).expect("the text is the content of a JSON string"))
        }
    };
    let pairs = table.columns.iter().zip(fields);
    pairs.map(|(column, field)| (column.name.clone(), text(column, field))).collect()
}

impl Replay {
    /// Applies an event's rows. Both ways through it must say the same; a before image must be the row that is there.
    pub fn apply(&mut self, mut event: RowsEvent<'_>) {
        let table = event.table.clone();
        self.schemas.insert(table.table.clone(), (*table).clone());
        let mut images = event.clone();
        let (mut before, mut after, mut split) = (Vec::new(), Vec::new(), Vec::new());
        let key = |row: &Texts| (table.table.clone(), row["id"].clone().expect("an id"));
        while event.read_row(&mut before, &mut after).unwrap() {
            let row = images.next().expect("as many rows").unwrap();
            for (image, fields) in [(&row.before, &before), (&row.after, &after)] {
                match image {
                    Some(image) => image.split(&mut split),
                    None => split.clear(),
                }
                assert_eq!(&split, fields);
            }
            if !before.is_empty() {
                let old = texts(&table, &before);
                assert_eq!(self.rows.remove(&key(&old)), Some(old));
            }
            if !after.is_empty() {
                let new = texts(&table, &after);
                assert_eq!(self.rows.insert(key(&new), new), None);
            }
        }
        assert!(images.next().is_none());
    }

    /// Compares all rows with the expectation; returns the number of values compared.
    pub fn compare(&self, expected: &str) -> usize {
        let mut unseen: BTreeSet<_> = self.rows.keys().cloned().collect();
        for line in expected.lines() {
            let [table, id, column, kind, hex] = line.split('\t').collect::<Vec<_>>().try_into().expect("five fields");
            let key = (table.to_owned(), id.to_owned());
            unseen.remove(&key);
            let ours = &self.rows.get(&key).unwrap_or_else(|| panic!("row {key:?} is missing"))[column];
            let at = format!("{table}.{column} of id {id}");
            match ours {
                Some(ours) => compare_one(ours, kind, hex, &at),
                None => assert_eq!(hex, "NULL", "{at}"),
            }
        }
        assert!(unseen.is_empty(), "rows the server does not have: {unseen:?}");
        expected.lines().count()
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
        "D" => assert_eq!(ours.parse::<f64>().expect("a number"), number(), "{at}"),
        _ => assert_eq!(ours, String::from_utf8(theirs).unwrap(), "{at}"),
    }
}

/// The significant digits of a number.
fn digits(text: &str) -> String {
    let mantissa = text.split('e').next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}
