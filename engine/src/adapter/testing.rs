//! A table and rows for the adapter's unit tests.

use std::collections::BTreeMap;

use super::shape::{Row, Shape, ShapeColumn};
use crate::format::{Field, TypeKind};

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
