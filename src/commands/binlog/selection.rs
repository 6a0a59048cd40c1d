//! Which events are shown: by table, time and GTID. Pure.

use towpath_engine::binlog::{Event, EventHeader};
use towpath_engine::deployer::TableFilter;
use towpath_engine::deployer::count::TransactionId;
use towpath_engine::gtid::GtidSet;

use crate::cli::BinlogArgs;
use crate::commands::time::seconds;
use crate::exit::Failure;

/// What passes. Without a filter all does.
#[derive(Debug, Default)]
pub(super) struct Selection {
    tables: Option<TableFilter>,
    /// Seconds since the Unix epoch; the end is not included.
    since: Option<i64>,
    until: Option<i64>,
    gtids: Option<GtidSet>,
}

impl Selection {
    /// As the arguments say.
    pub fn new(args: &BinlogArgs) -> Result<Self, Failure> {
        let tables = (!args.tables.is_empty()).then(|| TableFilter::new(args.tables.clone())).transpose();
        let tables = tables.map_err(|stop| Failure::Usage(format!("--tables: {}", stop.detail)))?;
        let gtids = args.gtids.as_deref().map(str::parse::<GtidSet>).transpose();
        Ok(Self {
            tables,
            since: args.since.as_deref().map(|text| seconds("--since", text)).transpose()?,
            until: args.until.as_deref().map(|text| seconds("--until", text)).transpose()?,
            gtids: gtids.map_err(|error| Failure::Usage(format!("--gtids: {error}")))?,
        })
    }

    /// The tables' part, for the decoder.
    pub fn tables(&self) -> impl Fn(&str, &str) -> bool + Send + Sync + 'static {
        let tables = self.tables.clone();
        move |database, table| tables.as_ref().is_none_or(|tables| tables.accepts(database, table))
    }

    /// Whether a transaction is shown; `None` stands for what lies between transactions.
    pub fn transaction(&self, id: Option<&TransactionId>) -> bool {
        match (&self.gtids, id) {
            (None, _) => true,
            (Some(gtids), Some(TransactionId::Gtid(gtid))) => gtids.contains(gtid),
            (Some(_), _) => false,
        }
    }

    /// Whether an event's time is within the bounds. Events that the server made up for a connection have none.
    pub fn time(&self, header: &EventHeader) -> bool {
        let at = i64::from(header.timestamp);
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    /// Whether an event is of a table that is shown, or of none.
    pub fn table(event: &Event<'_>) -> bool {
        match event {
            Event::FilteredRows { .. } => false,
            Event::TableMap(map) => map.captured,
            _ => true,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_time_is_not_included() {
        let header = |timestamp| EventHeader {
            timestamp,
            event_type: towpath_engine::binlog::EventType::XID,
            server_id: 1,
            size: 31,
            log_pos: 0,
            flags: 0,
        };
        let selection = Selection { since: Some(10), until: Some(20), ..Selection::default() };
        assert_eq!([9, 10, 19, 20].map(|at| selection.time(&header(at))), [false, true, true, false]);
    }
}
