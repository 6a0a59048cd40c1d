//! The workload is repeatable, consistent, and rich enough to prove something.

use super::*;
use std::collections::BTreeMap;

fn workload(seed: u64, orders: u64) -> Workload {
    Workload::new(WorkloadConfig { live: 200, ..WorkloadConfig::new(seed, orders) })
}

#[test]
fn one_seed_is_one_workload() {
    let first: Vec<_> = workload(7, 500).collect();
    assert_eq!(first, workload(7, 500).collect::<Vec<_>>());
    assert_ne!(first, workload(8, 500).collect::<Vec<_>>());
}

#[test]
fn every_operation_fits_the_rows_there_are() {
    for seed in 0..5 {
        let mut state = State::default();
        let mut plan = workload(seed, 1_000);
        let mut changes = 0;
        for transaction in plan.by_ref() {
            assert!(!transaction.ops.is_empty());
            for op in &transaction.ops {
                state.apply(op).unwrap();
                changes += 1;
            }
        }
        assert_eq!((plan.counts().orders, plan.counts().changes), (1_000, changes));
        assert!(state.rows(Table::Orders).count() > 500);
    }
}

#[test]
fn what_must_be_carried_occurs() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut state = State::default();
    for transaction in workload(1, 3_000) {
        if transaction.ops.len() > 20 {
            *seen.entry("many rows in a statement").or_default() += 1;
        }
        for op in &transaction.ops {
            let what = match (&op.change, op.table) {
                (Change::Insert(_), Table::Orders) => "order comes",
                (Change::Insert(_), Table::Items) => "item comes",
                (Change::Delete(_), Table::Orders) => "order archived",
                (Change::Delete(_), Table::Items) => "item archived",
                (Change::Update { before, after }, _) if key_of(before) != key_of(after) => "key changes",
                (Change::Update { .. }, _) => "order changes",
            };
            *seen.entry(what).or_default() += 1;
            state.apply(op).unwrap();
        }
    }
    for row in state.rows(Table::Orders) {
        let status = row[order_columns::STATUS].as_int().unwrap();
        *seen
            .entry(["?", "created", "paid", "accepted", "delivering", "done", "cancelled"][status as usize])
            .or_default() += 1;
        for column in [order_columns::REMARK, order_columns::ADDRESS] {
            *seen.entry(if row[column] == Value::Null { "null" } else { "not null" }).or_default() += 1;
        }
        if let Value::Text(text) = &row[order_columns::REMARK] {
            *seen.entry(if text.is_ascii() { "ascii" } else { "beyond ascii" }).or_default() += 1;
            assert!(text.chars().count() <= 200, "longer than its column");
        }
    }
    for what in [
        "order comes",
        "item comes",
        "order archived",
        "item archived",
        "key changes",
        "order changes",
        "created",
        "paid",
        "accepted",
        "delivering",
        "done",
        "cancelled",
        "null",
        "not null",
        "ascii",
        "beyond ascii",
        "many rows in a statement",
    ] {
        assert!(seen.get(what).is_some_and(|&count| count >= 5), "{what}: {seen:?}");
    }
}

#[test]
fn rows_have_the_columns_of_their_table() {
    for table in Table::ALL {
        let schema = table.schema("db");
        assert_eq!(schema.columns.len(), table.columns().len());
        for (column, name) in schema.columns.iter().zip(table.columns()) {
            assert_eq!(column.name, *name);
            assert!(table.create_sql("db").contains(&format!("{name} ")), "{name}");
        }
    }
    for op in workload(3, 50).flat_map(|transaction| transaction.ops) {
        if let Change::Insert(row) = &op.change {
            assert_eq!(row.len(), op.table.columns().len());
        }
    }
}
