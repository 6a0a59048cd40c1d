//! What others see of commits that wait for a semi-synchronous replica.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::source::{RowsWanted, ServerIdentity};
use towpath_engine::position::Position;

use crate::lab::MySqlLab;
use crate::mysql::{WAIT, end, executed, read_from, transactions};

crate::bodies! { MySql:
    "mysql-commit-waits-in-the-binlog" => commit_waits,
    "mysql-commit-waits-at-most-its-time" => commit_waits_no_longer,
}

/// How many rows of the table's first two a read shows, with what it tells.
async fn seen(lab: &dyn MySqlLab, table: &str) -> Result<(usize, GtidSet, GtidSet)> {
    let (columns, keys) = (["id".to_owned()], ["1", "2"].map(|id| vec![id.to_owned()]));
    let read = lab.source().read_rows(RowsWanted { database: "lab", table, columns: &columns, keys: &keys }).await?;
    Ok((read.rows.len(), read.includes, read.may_show))
}

async fn commit_waits(lab: &dyn MySqlLab) -> Result<()> {
    let table = lab.table().await?;
    lab.insert(&table, 1..2, "before").await?;
    let (before, from) = (executed(lab).await?, end(lab).await?);
    lab.wait_for_a_replica(Some(Duration::from_secs(3_000))).await?;
    lab.begin_insert(&table, 2).await?;
    let waited = async {
        let now = until(lab, "it is in the binlog and waits", |now| !now.gtid_owned.is_empty()).await?;
        ensure!(now.gtid_executed == before && now.end.position > from.position, "{now:?}");
        let events = read_from(lab, Position::Gtid(before.clone()), &now.end).await?;
        ensure!(transactions(&events).len() == 1, "a dump shows {} transactions", transactions(&events).len());
        let (rows, includes, may_show) = seen(lab, &table).await?;
        ensure!(rows == 1 && includes == before, "{rows} rows at {includes}");
        ensure!(now.gtid_owned.is_subset(&may_show), "{} is not in {may_show}", now.gtid_owned);
        Ok(now.gtid_owned)
    };
    let waited = waited.await;
    lab.wait_for_a_replica(None).await?;
    let after = before.union(&waited?);
    until(lab, "it is committed", |now| now.gtid_executed == after && now.gtid_owned.is_empty()).await?;
    let (rows, includes, _) = seen(lab, &table).await?;
    ensure!(rows == 2 && includes == after, "{rows} rows at {includes}");
    Ok(())
}

async fn commit_waits_no_longer(lab: &dyn MySqlLab) -> Result<()> {
    let table = lab.table().await?;
    lab.insert(&table, 1..2, "before").await?;
    let before = executed(lab).await?;
    lab.wait_for_a_replica(Some(Duration::from_millis(300))).await?;
    lab.begin_insert(&table, 2).await?;
    let ended = |now: &ServerIdentity| now.gtid_executed != before && now.gtid_owned.is_empty();
    let shown = until(lab, "it waits no longer", ended).await;
    let gone_on = async {
        shown?;
        ensure!(seen(lab, &table).await?.0 == 2, "it has ended and is not there");
        // Nobody waits any more.
        lab.insert(&table, 3..4, "after").await?;
        ensure!(lab.source().identify().await?.gtid_owned.is_empty(), "another one waits");
        Ok(())
    };
    let gone_on = gone_on.await;
    lab.wait_for_a_replica(None).await?;
    gone_on
}

/// Asks who the server is until it is as wanted.
async fn until(lab: &dyn MySqlLab, what: &str, wanted: impl Fn(&ServerIdentity) -> bool) -> Result<ServerIdentity> {
    let waited = async {
        loop {
            let now = lab.source().identify().await?;
            if wanted(&now) {
                return anyhow::Ok(now);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, waited).await.with_context(|| format!("in vain: {what}"))?
}
