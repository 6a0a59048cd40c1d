//! At rest, documents equal rows (protocol §9, oracle 1; guards Rule 1 and Rule 2).
//!
//! Renders what a document should be from the row itself and compares; nothing of the pipeline's conversion is used.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

use crate::calendar::iso;
use crate::workload::{Row, Table, Value, key_of, order_columns, status};

/// A sink as the oracle sees it: a name, and which rows must have a document in it.
#[derive(Debug, Clone, Copy)]
pub struct SinkRule {
    /// The sink's name.
    pub name: &'static str,
    /// Whether the row must have a document.
    pub wanted: fn(&Row) -> bool,
    /// The same as a condition in the configuration (CEL); `None`: every row.
    pub when: Option<&'static str>,
}

/// The three sinks of the mission, fed by `order_main`.
pub const SINKS: [SinkRule; 3] = [
    SinkRule {
        name: "hot",
        wanted: |row| int(row, order_columns::STATUS).is_some_and(|status| status::ACTIVE.contains(&status)),
        when: Some("row.status in [1, 2, 3, 4]"),
    },
    SinkRule { name: "full", wanted: |_| true, when: None },
    SinkRule {
        name: "remind",
        wanted: |row| {
            int(row, order_columns::PROMPT_FLAG) == Some(1) && matches!(int(row, order_columns::STATUS), Some(1 | 2))
        },
        when: Some("row.prompt_flag == 1 && row.status in [1, 2]"),
    },
];

fn int(row: &Row, column: usize) -> Option<i64> {
    row.get(column).and_then(Value::as_int)
}

/// A document as a search returns it.
#[derive(Debug, Clone)]
pub struct Document {
    /// `_id`.
    pub id: String,
    /// `_source`.
    pub source: Json,
}

/// What the comparison found, added up over the sinks.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Verdict {
    /// Rows compared.
    pub rows: u64,
    /// Documents compared.
    pub documents: u64,
    /// Rows that should have a document in a sink and have none.
    pub lost: u64,
    /// Documents that differ from their row.
    pub stale: u64,
    /// Documents beyond one per row and sink, or of a row that should have none.
    pub doubled: u64,
    /// The first differences, for a person.
    pub samples: Vec<String>,
}

const SAMPLES: usize = 10;

impl Verdict {
    /// Nothing lost, stale or doubled, and there was something to compare.
    pub fn good(&self) -> bool {
        self.lost + self.stale + self.doubled == 0 && self.rows > 0 && self.documents > 0
    }

    fn sample(&mut self, text: impl FnOnce() -> String) {
        if self.samples.len() < SAMPLES {
            self.samples.push(text());
        }
    }

    /// Adds the comparison of one sink's documents (all that a search through its alias returns) with all rows.
    pub fn add_sink(&mut self, sink: SinkRule, rows: &BTreeMap<i64, Row>, documents: &[Document]) {
        self.documents += documents.len() as u64;
        let mut seen: BTreeMap<i64, u64> = BTreeMap::new();
        for document in documents {
            let key = document.source.get("order_id").and_then(Json::as_i64);
            match key.and_then(|key| rows.get(&key)) {
                Some(row) if (sink.wanted)(row) => self.add_document(sink, row, document, &mut seen),
                _ => {
                    self.doubled += 1;
                    self.sample(|| {
                        format!("{}: document {} is of no row that should have one", sink.name, document.id)
                    });
                }
            }
        }
        for (key, _) in rows.iter().filter(|(key, row)| (sink.wanted)(row) && !seen.contains_key(key)) {
            self.lost += 1;
            self.sample(|| format!("{}: order {key} has no document", sink.name));
        }
    }

    fn add_document(&mut self, sink: SinkRule, row: &Row, document: &Document, seen: &mut BTreeMap<i64, u64>) {
        let key = key_of(row);
        let count = seen.entry(key).or_default();
        *count += 1;
        if *count > 1 || document.id != key.to_string() {
            self.doubled += 1;
            self.sample(|| format!("{}: a second document {} of order {key}", sink.name, document.id));
        } else if let Some(difference) = difference(row, &document.source) {
            self.stale += 1;
            self.sample(|| format!("{}: order {key}: {difference}", sink.name));
        }
    }
}

/// Compares all sinks: rows of `order_main`, and documents by sink name.
pub fn compare(rows: impl IntoIterator<Item = Row>, documents: &BTreeMap<&str, Vec<Document>>) -> Verdict {
    let rows: BTreeMap<i64, Row> = rows.into_iter().map(|row| (key_of(&row), row)).collect();
    let mut verdict = Verdict { rows: rows.len() as u64, ..Verdict::default() };
    for sink in SINKS {
        verdict.add_sink(sink, &rows, documents.get(sink.name).map_or(&[], Vec::as_slice));
    }
    verdict
}

/// The first field in which a document differs from its row. A field that is absent counts as null.
fn difference(row: &Row, source: &Json) -> Option<String> {
    let expected = expected(row);
    let Some(fields) = source.as_object() else { return Some("the document is no object".to_owned()) };
    for (name, want) in &expected {
        let got = fields.get(*name).unwrap_or(&Json::Null);
        if !same(want, got) {
            return Some(format!("{name} is {got}, the row has {want}"));
        }
    }
    fields.keys().find(|name| !expected.contains_key(name.as_str())).map(|name| format!("unknown field {name}"))
}

fn expected(row: &Row) -> BTreeMap<&'static str, Json> {
    Table::Orders.columns().iter().zip(row).map(|(name, value)| (*name, field(value))).collect()
}

fn field(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(number) => Json::from(*number),
        Value::Cents(cents) => Json::from(*cents as f64 / 100.0),
        Value::Text(text) => Json::from(text.as_str()),
        Value::Json(json) => json.clone(),
        Value::DateTime(ms) | Value::Timestamp(ms) => Json::from(iso(*ms)),
    }
}

/// Equality by value: `12.50` equals `12.5`, and the order of an object's keys does not count.
fn same(want: &Json, got: &Json) -> bool {
    match (want, got) {
        (Json::Number(a), Json::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => want == got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{State, Workload, WorkloadConfig};

    fn world() -> (Vec<Row>, BTreeMap<&'static str, Vec<Document>>) {
        let mut state = State::default();
        // Not to the end, so that every sink holds something.
        for transaction in Workload::new(WorkloadConfig::new(3, 80)).take(150) {
            for op in &transaction.ops {
                state.apply(op).unwrap();
            }
        }
        let rows: Vec<Row> = state.rows(Table::Orders).cloned().collect();
        let document = |row: &Row| Document {
            id: key_of(row).to_string(),
            source: expected(row).into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        };
        let of = |sink: SinkRule| rows.iter().filter(|row| (sink.wanted)(row)).map(document).collect();
        let documents = SINKS.map(|sink| (sink.name, of(sink))).into();
        (rows, documents)
    }

    #[test]
    fn equal_is_good() {
        let (rows, documents) = world();
        let verdict = compare(rows, &documents);
        assert!(verdict.good(), "{verdict:?}");
        assert!(documents.values().all(|found| !found.is_empty()), "every sink has something to compare");
    }

    #[test]
    fn nothing_to_compare_is_not_good() {
        assert!(!compare(Vec::new(), &BTreeMap::new()).good());
    }

    #[test]
    fn a_missing_document_is_lost() {
        let (rows, mut documents) = world();
        documents.get_mut("full").unwrap().pop();
        assert_eq!(compare(rows, &documents).lost, 1);
    }

    #[test]
    fn another_value_or_field_is_stale() {
        let (rows, mut documents) = world();
        let hot = documents.get_mut("hot").unwrap();
        hot[0].source["amount"] = Json::from(0.01);
        hot[1].source["surprise"] = Json::from(1);
        assert_eq!(compare(rows, &documents).stale, 2);
    }

    #[test]
    fn a_second_id_or_an_unwanted_row_is_doubled() {
        let (rows, mut documents) = world();
        let full = documents.get_mut("full").unwrap();
        let mut copy = full[0].clone();
        copy.id.push_str("-copy");
        full.push(copy);
        let unwanted = full.iter().find(|document| document.source["prompt_flag"] == 0).cloned().unwrap();
        documents.get_mut("remind").unwrap().push(unwanted);
        let verdict = compare(rows, &documents);
        assert_eq!((verdict.lost, verdict.stale, verdict.doubled), (0, 0, 2));
    }
}
