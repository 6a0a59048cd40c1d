//! The bench's workload: orders, items and updates in the proportions of docs/performance.md, written by SQL.
//!
//! Of `rows` row changes two sevenths are order inserts, four sevenths item inserts, one seventh order updates. The
//! first tenth of the orders goes one a transaction, the rest a thousand; a fifth of the updates one row a statement
//! and twenty a transaction, the rest five hundred rows a statement. Content depends on the order's number alone. A
//! plan of one transaction has the same statements, and one COMMIT.

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::fmt::Write as _;

/// What the workload amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// `order_main` inserts; `order_item` has twice as many.
    pub orders: u64,
    /// `order_main` rows updated once.
    pub updates: u64,
    /// All of it in one transaction.
    pub one_transaction: bool,
}

impl Plan {
    /// The plan with at least `rows` row changes, in many transactions.
    pub fn for_rows(rows: u64) -> Self {
        let orders = rows.saturating_mul(2).div_ceil(7).max(1);
        Self { orders, updates: orders / 2, one_transaction: false }
    }

    /// Row changes in all.
    pub fn rows(self) -> u64 {
        self.orders * 3 + self.updates
    }

    /// Row changes of `order_main`: what a sink of that table takes in.
    pub fn order_rows(self) -> u64 {
        self.orders + self.updates
    }
}

const SINGLE: u64 = 10;
const BATCH: u64 = 1000;
const STATEMENT: u64 = 250;

/// Writes the plan into the tables that [`create`] made. `progress` hears of rows written.
pub async fn load(conn: &mut Conn, plan: Plan, progress: &dyn Fn(u64)) -> Result<()> {
    if plan.one_transaction {
        run(conn, "BEGIN").await?;
    }
    insert(conn, plan, progress).await?;
    update(conn, plan, progress).await?;
    if plan.one_transaction {
        run(conn, "COMMIT").await?;
    }
    Ok(())
}

async fn insert(conn: &mut Conn, plan: Plan, progress: &dyn Fn(u64)) -> Result<()> {
    let single = plan.orders / SINGLE;
    let mut sql = String::with_capacity(1 << 20);
    for order in 0..single {
        begin(&mut sql, plan);
        orders(&mut sql, order, order + 1);
        sql.push(';');
        items(&mut sql, order, order + 1);
        commit(conn, &mut sql, plan).await?;
        progress(3);
    }
    let mut first = single;
    while first < plan.orders {
        let end = (first + BATCH).min(plan.orders);
        begin(&mut sql, plan);
        for from in (first..end).step_by(STATEMENT as usize) {
            let to = (from + STATEMENT).min(end);
            orders(&mut sql, from, to);
            sql.push(';');
            items(&mut sql, from, to);
            sql.push(';');
        }
        sql.pop();
        commit(conn, &mut sql, plan).await?;
        progress((end - first) * 3);
        first = end;
    }
    Ok(())
}

/// Begins the statements of a transaction, where it is one of its own.
fn begin(sql: &mut String, plan: Plan) {
    sql.clear();
    if !plan.one_transaction {
        sql.push_str("BEGIN;");
    }
}

/// Runs the statements, and ends what [`begin`] began.
async fn commit(conn: &mut Conn, sql: &mut String, plan: Plan) -> Result<()> {
    if !plan.one_transaction {
        sql.push_str(";COMMIT");
    }
    run(conn, sql).await
}

/// Creates the two tables in `database`, which is the session's from then on. Returns the executed GTID set.
pub async fn create(conn: &mut Conn, database: &str) -> Result<String> {
    let statements = [
        format!("CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4"),
        format!("USE {database}"),
        "CREATE TABLE order_main (order_id BIGINT PRIMARY KEY, merchant_id BIGINT, store_id INT, user_id BIGINT, \
         status TINYINT, order_type SMALLINT, amount DECIMAL(12,2), remark VARCHAR(200) NULL, address JSON NULL, \
         prompt_flag TINYINT DEFAULT 0, created_at DATETIME(3), updated_at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3) \
         ON UPDATE CURRENT_TIMESTAMP(3), KEY (merchant_id, status))"
            .to_owned(),
        "CREATE TABLE order_item (id BIGINT AUTO_INCREMENT PRIMARY KEY, order_id BIGINT, sku_id BIGINT, \
         name VARCHAR(120), qty INT, price DECIMAL(10,2))"
            .to_owned(),
    ];
    for statement in statements {
        run(conn, &statement).await?;
    }
    let executed: Option<String> = conn.query_first("SELECT REPLACE(@@gtid_executed, '\n', '')").await?;
    executed.context("the server names no executed GTIDs")
}

async fn update(conn: &mut Conn, plan: Plan, progress: &dyn Fn(u64)) -> Result<()> {
    let single = plan.updates / 5;
    let mut sql = String::new();
    for first in (0..single).step_by(20) {
        begin(&mut sql, plan);
        let end = (first + 20).min(single);
        for order in first..end {
            write!(sql, "UPDATE order_main SET status = status + 1, prompt_flag = 0 WHERE order_id = {};", id(order))?;
        }
        sql.pop();
        commit(conn, &mut sql, plan).await?;
        progress(end - first);
    }
    for first in (single..plan.updates).step_by(500) {
        let end = (first + 500).min(plan.updates);
        sql.clear();
        write!(
            sql,
            "UPDATE order_main SET status = status + 1, prompt_flag = 0 WHERE order_id BETWEEN {} AND {}",
            id(first),
            id(end - 1)
        )?;
        run(conn, &sql).await?;
        progress(end - first);
    }
    Ok(())
}

fn id(order: u64) -> u64 {
    1_000_000_000 + order
}

/// A number that looks like nothing, from an order's number (the finaliser of SplitMix64).
fn mix(order: u64, salt: u64) -> u64 {
    let mut z = order.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn orders(sql: &mut String, from: u64, to: u64) {
    const REMARKS: [&str; 4] = ["", "no onions, please", "ring twice; third floor", "请放门口,谢谢"];
    sql.push_str(
        "INSERT INTO order_main (order_id, merchant_id, store_id, user_id, status, order_type, amount, remark, \
         address, prompt_flag, created_at) VALUES ",
    );
    for order in from..to {
        let a = mix(order, 1);
        let remark = match a % 4 {
            0 => "NULL".to_owned(),
            n => format!("'{}'", REMARKS[n as usize]),
        };
        let comma = if order == from { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(
            sql,
            "{comma}({},{},{},{},1,{},{}.{:02},{remark},'{{\"city\": \"Shanghai\", \"street\": \"Nanjing Road {}\", \
             \"geo\": [31.{:04}, 121.{:04}]}}',1,'2026-11-23 08:{:02}:{:02}.{:03}')",
            id(order),
            a % 20_000,
            a % 60_000,
            mix(order, 2) % 5_000_000,
            a % 5,
            10 + a % 300,
            a % 100,
            a % 2000,
            a % 10_000,
            mix(order, 3) % 10_000,
            order / 60_000 % 60,
            order / 1000 % 60,
            order % 1000,
        );
    }
}

fn items(sql: &mut String, from: u64, to: u64) {
    sql.push_str("INSERT INTO order_item (order_id, sku_id, name, qty, price) VALUES ");
    for order in from..to {
        for item in 0..2 {
            let a = mix(order, 10 + item);
            let comma = if order == from && item == 0 { "" } else { "," };
            let _ = write!(
                sql,
                "{comma}({},{},'dish number {} of the day, large',{},{}.{:02})",
                id(order),
                a % 1_000_000,
                a % 1_000_000,
                1 + a % 4,
                1 + a % 90,
                a % 100
            );
        }
    }
}

async fn run(conn: &mut Conn, sql: &str) -> Result<()> {
    conn.query_drop(sql).await.with_context(|| format!("MySQL refuses: {}…", sql.chars().take(160).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_has_the_stated_proportions() {
        let plan = Plan::for_rows(3_500_000);
        assert_eq!(plan, Plan { orders: 1_000_000, updates: 500_000, one_transaction: false });
        assert_eq!((plan.rows(), plan.order_rows()), (3_500_000, 1_500_000));
        assert!(Plan::for_rows(100).rows() >= 100);
    }
}
