//! Columns that move while rows flow: `ALTER TABLE` on both tables, and rows in whatever order the table has now.
//!
//! A row that is read by another definition than the one it was written under lands in the wrong columns: then its
//! document differs from it.

use anyhow::{Context, Result};
use std::time::Duration;
use towpath_engine::env::Rng;
use towpath_engine::schema::{Column, ColumnType, TableSchema};
use towpath_models::mysql::{MySql, RowOp, Value, column_sql};
use towpath_scenarios::workload::{DATABASE, Table};

/// Statements now and then.
pub struct Columns {
    every: Duration,
    rng: Rng,
    next: Duration,
    count: u32,
}

impl Columns {
    /// One each `every`; none if that is zero.
    pub fn new(every: Duration, seed: u64) -> Self {
        Self { every, rng: Rng::new(seed ^ 0x0063_6f6c_756d_6e73), next: every, count: 0 }
    }

    /// Alters a table when it is due.
    ///
    /// # Errors
    /// The source refuses what it should take.
    pub fn work(&mut self, now: Duration, source: &MySql) -> Result<()> {
        if self.every.is_zero() || now < self.next {
            return Ok(());
        }
        // Not in a rhythm with anything else.
        self.next = now + self.every / 2 + self.every.mul_f64(self.rng.below(1_000) as f64 / 1_000.0);
        self.count += 1;
        if self.rng.below(3) == 0 { self.add_or_drop(source) } else { self.shift(source) }
    }

    /// A column of `order_main` moves to another place.
    fn shift(&mut self, source: &MySql) -> Result<()> {
        let before = definition(source, Table::Orders)?;
        let mut columns = before.columns.clone();
        let column = columns.remove(self.rng.below(columns.len() as u64) as usize);
        let place = self.rng.below(columns.len() as u64 + 1) as usize;
        let sql = format!("ALTER TABLE order_main MODIFY COLUMN {} {}", column_sql(&column), after(&columns, place));
        columns.insert(place, column);
        alter(source, &before, columns, &sql)
    }

    /// `order_item` gets a column, or loses the one it got.
    fn add_or_drop(&mut self, source: &MySql) -> Result<()> {
        let before = definition(source, Table::Items)?;
        let mut columns = before.columns.clone();
        let extra = columns.iter().position(|column| !Table::Items.columns().contains(&column.name.as_str()));
        let sql = if let Some(extra) = extra {
            let column = columns.remove(extra);
            format!("ALTER TABLE order_item DROP COLUMN `{}`", column.name)
        } else {
            let name = format!("extra_{}", self.count);
            let column = Column { name, kind: ColumnType::BigInt, unsigned: false, nullable: true, collation: None };
            let place = self.rng.below(columns.len() as u64 + 1) as usize;
            let sql = format!("ALTER TABLE order_item ADD COLUMN {} {}", column_sql(&column), after(&columns, place));
            columns.insert(place, column);
            sql
        };
        alter(source, &before, columns, &sql)
    }
}

fn definition(source: &MySql, table: Table) -> Result<TableSchema> {
    source.schema(DATABASE, table.name()).with_context(|| format!("the source has no {}", table.name()))
}

/// Where a column comes to stand among the others.
fn after(columns: &[Column], place: usize) -> String {
    match place.checked_sub(1).and_then(|before| columns.get(before)) {
        Some(column) => format!("AFTER `{}`", column.name),
        None => "FIRST".to_owned(),
    }
}

fn alter(source: &MySql, before: &TableSchema, columns: Vec<Column>, sql: &str) -> Result<()> {
    let keys = before.primary_key.iter().filter_map(|&key| before.columns.get(key));
    let primary_key =
        keys.filter_map(|key| columns.iter().position(|column| column.name == key.name)).collect::<Vec<_>>();
    let altered = TableSchema { columns, primary_key, ..before.clone() };
    let from: Vec<Option<usize>> = altered
        .columns
        .iter()
        .map(|column| before.columns.iter().position(|known| known.name == column.name))
        .collect();
    tracing::info!(sql, "the source alters a table");
    source.alter_table(altered, sql, &|row| picked(&row, &from))?;
    Ok(())
}

fn picked(row: &[Value], from: &[Option<usize>]) -> Vec<Value> {
    from.iter().map(|place| place.and_then(|place| row.get(place).cloned()).unwrap_or(Value::Null)).collect()
}

/// Operations in the order of the columns that the tables have now; columns that the workload does not know are NULL.
pub fn arranged(mut operations: Vec<RowOp>, source: &MySql) -> Vec<RowOp> {
    let places = Table::ALL.map(|table| (table, to_columns(source, table)));
    for operation in &mut operations {
        if let RowOp::Insert { table, row } | RowOp::Update { table, row, .. } = operation
            && table.database == DATABASE
            && let Some((_, Some(from))) = places.iter().find(|(known, _)| known.name() == table.table)
        {
            *row = picked(row, from);
        }
    }
    operations
}

/// The places in the workload's rows of a table's columns; `None` while the table is as the workload knows it.
fn to_columns(source: &MySql, table: Table) -> Option<Vec<Option<usize>>> {
    let schema = source.schema(DATABASE, table.name())?;
    let known = table.columns();
    let names = schema.columns.iter().map(|column| known.iter().position(|name| *name == column.name));
    let from: Vec<Option<usize>> = names.collect();
    (from.iter().copied().ne((0..known.len()).map(Some))).then_some(from)
}

/// The rows of a table, columns in the order of the workload's plan; none if there is no such table.
pub fn planned(source: &MySql, database: &str, table: Table) -> Vec<Vec<Value>> {
    let Some(schema) = source.schema(database, table.name()) else { return Vec::new() };
    let place = |name: &&str| schema.columns.iter().position(|column| column.name == **name);
    let from: Vec<Option<usize>> = table.columns().iter().map(place).collect();
    source.rows(database, table.name()).iter().map(|row| picked(row, &from)).collect()
}
