//! Orders of their own, far from those of the workload: a large import, a row that no record can hold.

use super::{Change, RowOp, Table, Transaction, Value, order_columns};

/// A new order with a key of its own.
pub fn order(id: i64, remark: String, address: Value) -> RowOp {
    let mut row = vec![Value::Int(0); Table::Orders.columns().len()];
    row[order_columns::ORDER_ID] = Value::Int(id);
    row[order_columns::STATUS] = Value::Int(1);
    row[order_columns::AMOUNT] = Value::Cents(100);
    row[order_columns::REMARK] = Value::Text(remark);
    row[order_columns::ADDRESS] = address;
    row[order_columns::CREATED_AT] = Value::DateTime(1_767_225_600_000);
    row[order_columns::UPDATED_AT] = Value::Timestamp(1_767_225_600_000);
    RowOp { table: Table::Orders, change: Change::Insert(row) }
}

/// One transaction of many rows.
pub fn huge(rows: u32) -> Transaction {
    let one =
        |number: u32| order(500_000_000 + i64::from(number), format!("row {number} of a large import"), Value::Null);
    Transaction { ops: (0..rows).map(one).collect() }
}

/// One row that no record can hold.
pub fn poison(bytes: u32) -> Transaction {
    let address = serde_json::json!({ "note": "x".repeat(bytes as usize) });
    Transaction { ops: vec![order(600_000_000, "far too long".to_owned(), Value::Json(address))] }
}
