//! The order workload on a real MySQL: its operations as SQL, and its rows read back by SELECT.
//!
//! Times go through the server's own functions, so that nothing here shares a conversion with the pipeline.

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::fmt::Write as _;
use towpath_scenarios::workload::{Change, Group, Row, RowOp, Table, Transaction, Value};

/// A session that writes and reads the workload in one database.
pub struct Orders {
    conn: Conn,
    database: String,
}

impl Orders {
    /// Connects; `url` needs the right to create a database.
    pub async fn connect(url: &str, database: &str) -> Result<Self> {
        let mut conn = Conn::new(Opts::from_url(url)?).await.context("connecting to MySQL")?;
        conn.query_drop("SET time_zone = '+00:00'").await?;
        Ok(Self { conn, database: database.to_owned() })
    }

    /// Creates the database and its tables.
    pub async fn create(&mut self) -> Result<()> {
        self.conn.query_drop(format!("CREATE DATABASE IF NOT EXISTS `{}`", self.database)).await?;
        for table in Table::ALL {
            self.conn.query_drop(table.create_sql(&self.database)).await?;
        }
        Ok(())
    }

    /// The GTIDs that the server has executed.
    pub async fn executed(&mut self) -> Result<String> {
        let set: Option<String> = self.conn.query_first("SELECT REPLACE(@@gtid_executed, '\n', '')").await?;
        set.context("the server names no executed GTIDs")
    }

    /// Writes transactions, each committed for itself, in one round trip.
    pub async fn write(&mut self, transactions: &[Transaction]) -> Result<()> {
        let mut sql = String::new();
        for transaction in transactions {
            if !sql.is_empty() {
                sql.push(';');
            }
            transaction_sql(&mut sql, &self.database, transaction);
        }
        self.conn.query_drop(&sql).await.with_context(|| format!("writing {sql}"))
    }

    /// An XA transaction up to its PREPARE. Rows that another one holds are waited for two seconds.
    pub async fn prepare(&mut self, group: &Group) -> Result<()> {
        let name = quote(&group.name);
        let mut sql = format!("SET SESSION innodb_lock_wait_timeout = 2;XA START {name}");
        for op in &group.rows {
            sql.push(';');
            op_sql(&mut sql, &self.database, op);
        }
        let _ = write!(sql, ";XA END {name};XA PREPARE {name}");
        self.conn.query_drop(&sql).await.with_context(|| format!("writing {sql}"))
    }

    /// XA COMMIT or XA ROLLBACK.
    pub async fn end(&mut self, group: &Group) -> Result<()> {
        let sql = format!("XA {} {}", if group.commits { "COMMIT" } else { "ROLLBACK" }, quote(&group.name));
        self.conn.query_drop(&sql).await.with_context(|| format!("writing {sql}"))
    }

    /// All rows of a table, by primary key.
    pub async fn rows(&mut self, table: Table) -> Result<Vec<Row>> {
        let columns: Vec<String> = table.columns().iter().map(|name| readable(name)).collect();
        let key = table.columns().first().copied().unwrap_or_default();
        let sql = format!("SELECT {} FROM `{}`.`{}` ORDER BY {key}", columns.join(", "), self.database, table.name());
        let rows: Vec<mysql_async::Row> = self.conn.query(sql).await?;
        rows.into_iter().map(|row| read_row(table, row)).collect()
    }

    /// Ends the session.
    pub async fn close(self) -> Result<()> {
        Ok(self.conn.disconnect().await?)
    }
}

/// One transaction as SQL. Of an updated row only the columns that change are set, so that what others have written
/// into the rest stays.
pub fn transaction_sql(sql: &mut String, database: &str, transaction: &Transaction) {
    sql.push_str("BEGIN");
    for op in &transaction.ops {
        sql.push(';');
        op_sql(sql, database, op);
    }
    sql.push_str(";COMMIT");
}

fn op_sql(sql: &mut String, database: &str, op: &RowOp) {
    let columns = op.table.columns();
    let table = format!("`{database}`.`{}`", op.table.name());
    let key = columns.first().copied().unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = match &op.change {
        Change::Insert(row) => {
            let values: Vec<String> = columns.iter().zip(row).map(|(_, value)| literal(value)).collect();
            write!(sql, "INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), values.join(", "))
        }
        Change::Update { before, after } => {
            let changed = columns.iter().zip(before.iter().zip(after)).filter(|(_, (before, after))| before != after);
            let mut sets: Vec<String> =
                changed.map(|(name, (_, after))| format!("{name} = {}", literal(after))).collect();
            if sets.is_empty() {
                sets.push(format!("{key} = {key}"));
            }
            let at = before.first().map(literal).unwrap_or_default();
            write!(sql, "UPDATE {table} SET {} WHERE {key} = {at}", sets.join(", "))
        }
        Change::Delete(row) => {
            write!(sql, "DELETE FROM {table} WHERE {key} = {}", row.first().map(literal).unwrap_or_default())
        }
    };
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Cents(cents) => {
            let sign = if *cents < 0 { "-" } else { "" };
            format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
        }
        Value::Text(text) => quote(text),
        Value::Json(value) => quote(&value.to_string()),
        Value::DateTime(ms) => format!("TIMESTAMPADD(MICROSECOND, {ms} * 1000, '1970-01-01 00:00:00')"),
        Value::Timestamp(ms) => format!("FROM_UNIXTIME({}.{:03})", ms.div_euclid(1000), ms.rem_euclid(1000)),
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// How a column is selected so that it arrives as a plain number or text.
fn readable(name: &str) -> String {
    match name {
        "amount" | "price" => format!("CAST({name} * 100 AS SIGNED)"),
        "address" => format!("CAST({name} AS CHAR)"),
        "created_at" => format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {name}) DIV 1000"),
        "updated_at" => format!("CAST(UNIX_TIMESTAMP({name}) * 1000 AS SIGNED)"),
        _ => name.to_owned(),
    }
}

fn read_row(table: Table, row: mysql_async::Row) -> Result<Row> {
    table.columns().iter().zip(row.unwrap()).map(|(name, value)| read_value(name, value)).collect()
}

fn read_value(name: &str, value: mysql_async::Value) -> Result<Value> {
    let text = match value {
        mysql_async::Value::NULL => return Ok(Value::Null),
        mysql_async::Value::Bytes(bytes) => String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))?,
        other => bail!("{name} arrived as {other:?}"),
    };
    let number = || text.parse::<i64>().with_context(|| format!("{name} is {text:?}, not a number"));
    Ok(match name {
        "remark" | "name" => Value::Text(text),
        "address" => Value::Json(serde_json::from_str(&text)?),
        "amount" | "price" => Value::Cents(number()?),
        "created_at" => Value::DateTime(number()?),
        "updated_at" => Value::Timestamp(number()?),
        _ => Value::Int(number()?),
    })
}
