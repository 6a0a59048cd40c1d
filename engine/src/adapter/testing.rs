//! A table, rows, records and an index for the adapter's unit tests.

use bytes::Bytes;
use std::collections::BTreeMap;

use super::shape::{Row, Shape, ShapeColumn};
use crate::format::{Field, TypeKind, headers};
use crate::ports::index::{BulkOp, ItemResult};
use crate::ports::log::ConsumedRecord;
use crate::version::Version;

/// The example's `order_main`, with a column of each kind that matters.
pub fn orders_shape() -> Shape {
    let column = |name: &str, kind: TypeKind| ShapeColumn { name: name.into(), kind };
    Shape {
        database: "orders".into(),
        table: "order_main".into(),
        columns: vec![
            column("order_id", TypeKind::Int),
            column("status", TypeKind::Int),
            column("amount", TypeKind::Decimal),
            column("remark", TypeKind::Text),
            column("address", TypeKind::Json),
            column("created_at", TypeKind::DateTime),
        ],
        primary_key: vec![0],
    }
}

/// A row of [`orders_shape`]: cells by column index; what is not named is NULL.
#[derive(Debug, Clone)]
pub struct TestRow(BTreeMap<usize, String>);

impl Row for TestRow {
    fn cell(&self, column: usize) -> Field<'_> {
        self.0.get(&column).map_or(Field::Null, |text| Field::Text(text))
    }
}

/// A row from (column, text) pairs.
pub fn row(cells: &[(&str, &str)]) -> TestRow {
    let shape = orders_shape();
    TestRow(cells.iter().map(|(name, text)| (shape.index_of(name).unwrap(), (*text).to_owned())).collect())
}

/// A change as the log holds it: `+id:status`, `id:status>id:status`, `-id:status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestChange {
    /// (order_id, status) before.
    pub before: Option<(u32, u32)>,
    /// (order_id, status) after.
    pub after: Option<(u32, u32)>,
}

/// Headers and place of a test record.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// Its partition.
    pub partition: u32,
    /// Its offset in the log.
    pub offset: i64,
    /// The change's epoch.
    pub epoch: u16,
    /// The change's offset in the epoch.
    pub version: u64,
    /// The writer's term.
    pub term: u64,
}

/// A record of `orders.order_main` with `order_id` and `status` only.
pub fn record(at: At, change: &TestChange) -> ConsumedRecord {
    let image = |(id, status): (u32, u32)| format!(r#"{{"order_id":"{id}","status":"{status}"}}"#);
    let (kind, data, old) = match (change.before, change.after) {
        (None, Some(after)) => ("INSERT", image(after), "null".to_owned()),
        (Some(before), Some(after)) => ("UPDATE", image(after), format!("[{}]", image(before))),
        (Some(before), None) => ("DELETE", image(before), "null".to_owned()),
        (None, None) => panic!("a change has an image"),
    };
    let value = format!(
        r#"{{"data":[{data}],"database":"orders","es":1000,"gtid":"","id":1,"isDdl":false,
        "mysqlType":{{"order_id":"bigint(20)","status":"tinyint(4)"}},"old":{old},"pkNames":["order_id"],"sql":"",
        "sqlType":null,"table":"order_main","ts":1500,"type":"{kind}"}}"#
    );
    with_headers(
        at,
        Some(value.into_bytes()),
        &[(headers::OFFSET, at.version.to_string()), (headers::ROWS, "0".into())],
    )
}

/// A fence.
pub fn fence(at: At) -> ConsumedRecord {
    with_headers(at, Some(b"{}".to_vec()), &[(headers::CONTROL, "fence".into())])
}

fn with_headers(at: At, value: Option<Vec<u8>>, more: &[(&str, String)]) -> ConsumedRecord {
    let mut all = vec![
        (headers::EPOCH.to_owned(), at.epoch.to_string().into_bytes()),
        (headers::TERM.to_owned(), at.term.to_string().into_bytes()),
        (headers::PIPELINE.to_owned(), b"orders".to_vec()),
    ];
    all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())));
    ConsumedRecord { partition: at.partition, offset: at.offset, key: None, value, headers: all, timestamp_ms: 1500 }
}

/// A strict index in memory: external_gte, tombstones of hard deletes forgotten at once.
#[derive(Debug, Default)]
pub struct TestIndex {
    /// Version and source by (id, routing).
    pub documents: BTreeMap<(String, Option<String>), (Version, Bytes)>,
}

impl TestIndex {
    /// Applies one operation and answers as Elasticsearch does.
    pub fn apply(&mut self, op: &BulkOp) -> ItemResult {
        let key = (op.id.clone(), op.routing.clone());
        let answer = |status: u16, error: Option<(&str, String)>| ItemResult {
            status,
            error_type: error.as_ref().map(|(name, _)| (*name).to_owned()),
            reason: error.map(|(_, reason)| reason),
        };
        if let Some((current, _)) = self.documents.get(&key).filter(|(current, _)| *current > op.version) {
            let reason =
                format!("[{}]: version conflict, current version [{current}] is higher than the one provided", op.id);
            return answer(409, Some(("version_conflict_engine_exception", reason)));
        }
        match &op.source {
            Some(source) => {
                self.documents.insert(key, (op.version, source.clone()));
                answer(201, None)
            }
            None if self.documents.remove(&key).is_some() => answer(200, None),
            None => answer(404, None),
        }
    }

    /// What the alias shows: (id, status) of all documents that are not tombstones.
    pub fn visible(&self) -> BTreeMap<String, u64> {
        let parsed = self.documents.iter().map(|((id, _), (_, source))| {
            let value: serde_json::Value = serde_json::from_slice(source).unwrap();
            (id.clone(), value.get("status").and_then(serde_json::Value::as_u64))
        });
        parsed.filter_map(|(id, status)| Some((id, status?))).collect()
    }
}
