//! Servers that are already there: what must be known of them before they are loaded.

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use towpath_scenarios::workload::Table;

use crate::target::Target;

/// Creates databases and tables that are absent; the first number above all orders there.
///
/// # Errors
/// MySQL cannot be reached, or refuses.
pub async fn first_order(target: &Target) -> Result<i64> {
    let mut conn = Conn::new(Opts::from_url(&target.mysql)?).await.context("connecting to MySQL")?;
    for database in [&target.database, &target.cold_database()] {
        conn.query_drop(format!("CREATE DATABASE IF NOT EXISTS `{database}`")).await?;
        for table in Table::ALL {
            conn.query_drop(table.create_sql(database)).await?;
        }
    }
    let mut first = 1;
    for database in [&target.database, &target.cold_database()] {
        let last: Option<Option<i64>> =
            conn.query_first(format!("SELECT MAX(order_id) FROM `{database}`.order_main")).await?;
        first = first.max(last.flatten().unwrap_or(0) + 1);
    }
    conn.disconnect().await?;
    Ok(first)
}
