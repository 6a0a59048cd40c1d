//! What a change of a row means for a sink's documents: index, delete, both, or nothing (protocol §7).
//!
//! Must not know offsets, batches or outcomes.

use bytes::{Bytes, BytesMut};
use std::sync::Arc;

use super::condition::Condition;
use super::config::{AdapterConfig, Deletes, OnDelete, SinkConfig};
use super::document::{BadRow, DocumentKey, DocumentPlan};
use super::shape::{Row, Shape};
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::cause::Stop;
use crate::format;
use crate::version::Version;

/// One versioned write or delete of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The document.
    pub key: DocumentKey,
    /// The version of the change, with the source's rank.
    pub version: Version,
    /// The document, or the tombstone; `None` is a hard delete.
    pub source: Option<Bytes>,
    /// What the change was, for the operator: an INSERT that meets a higher rank has moved back.
    pub insert: bool,
}

/// A row's change.
pub struct Change<'a> {
    /// The row before; `None` for an INSERT.
    pub before: Option<&'a dyn Row>,
    /// The row after; `None` for a DELETE.
    pub after: Option<&'a dyn Row>,
    /// Version without the source's rank: epoch and offset.
    pub epoch: u16,
    /// See [`Version`].
    pub offset: u64,
    /// Commit time, milliseconds.
    pub commit_ms: i64,
    /// The index may hold what the before image does not tell of (a replay, a row that was read): a row that does not
    /// match is deleted, whatever it was before.
    pub blind: bool,
    /// A delete is no row's (its image never was, or is another row's now): it counts where deletes are not carried
    /// too.
    pub undone: bool,
}

/// How the rows of one table become operations of one sink.
pub struct TablePlan {
    condition: Option<Condition>,
    document: DocumentPlan,
    rank: u8,
    on_delete: OnDelete,
    deletes: Deletes,
}

impl TablePlan {
    /// Plans a table that feeds a sink; `None` if it does not. Conditions and names are checked here.
    pub fn new(sink: &SinkConfig, shape: &Arc<Shape>) -> Result<Option<Self>, Stop> {
        let Some(source) = sink.source_of(&shape.database, &shape.table) else { return Ok(None) };
        let condition = match &sink.when {
            Some(text) => Some(Condition::new(text, shape, &sink.time_zone).map_err(|stop| {
                Stop::new(stop.cause, format!("sink {}, table {}: {}", sink.name, shape.full_name(), stop.detail))
            })?),
            None => None,
        };
        let document = DocumentPlan::new(sink, Arc::clone(shape))?;
        let rank = if canary::on(Canary::RankIgnored) { 0 } else { source.rank };
        Ok(Some(Self { condition, document, rank, on_delete: source.on_delete, deletes: sink.deletes }))
    }

    /// Appends the operations of a change to `out`. After an error `out` holds what could be made before it (the delete
    /// of the old document of a row whose new one is bad).
    pub fn operations(
        &mut self,
        change: &Change<'_>,
        buffer: &mut BytesMut,
        out: &mut Vec<Operation>,
    ) -> Result<(), BadRow> {
        match (change.before, change.after) {
            (before, Some(after)) => self.upsert(change, before, after, buffer, out),
            (Some(before), None) => {
                let had = change.blind || self.matched(before);
                if (self.on_delete == OnDelete::Delete || change.undone) && had {
                    out.push(self.delete(change, before, buffer)?);
                }
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    fn upsert(
        &mut self,
        change: &Change<'_>,
        before: Option<&dyn Row>,
        after: &dyn Row,
        buffer: &mut BytesMut,
        out: &mut Vec<Operation>,
    ) -> Result<(), BadRow> {
        let matches = match &self.condition {
            Some(condition) => condition.matches(after),
            None => Ok(true),
        };
        let moved = before.is_some_and(|before| !self.document.same_key(before, after));
        let had = change.blind
            || before.is_some_and(|before| match (&self.condition, &matches) {
                (Some(condition), Ok(matches)) if condition.same(before, after) => *matches,
                _ => self.matched(before),
            });
        if let (true, true, Some(before)) = (moved && !canary::on(Canary::KeyAfterChange), had, before) {
            out.push(self.delete(change, before, buffer)?);
        }
        if matches.map_err(BadRow::Condition)? {
            let key = self.document.key(after)?;
            let source = Some(self.document.source(buffer, after)?);
            out.push(Operation {
                key,
                version: self.version(change)?,
                source,
                insert: before.is_none() && !change.blind,
            });
        } else if (had && !moved && !canary::on(Canary::LeftBehind)) || change.blind {
            out.push(self.delete(change, after, buffer)?);
        }
        Ok(())
    }

    /// Whether a row had a document before. Where that cannot be told it may have had one: a delete too many does no
    /// harm.
    fn matched(&self, before: &dyn Row) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.matches(before).unwrap_or(true))
    }

    fn delete(&self, change: &Change<'_>, row: &dyn Row, buffer: &mut BytesMut) -> Result<Operation, BadRow> {
        let source = match self.deletes {
            Deletes::Soft if canary::on(Canary::ForgottenDeletes) => None,
            Deletes::Soft => {
                branch::reached(Branch::Tombstone);
                Some(self.document.tombstone(buffer, change.commit_ms))
            }
            Deletes::Hard => None,
        };
        let version = match self.version(change)? {
            version if canary::on(Canary::UnversionedDelete) => {
                Version::new(self.rank, change.epoch, 0).unwrap_or(version)
            }
            version => version,
        };
        Ok(Operation { key: self.document.key(row)?, version, source, insert: false })
    }

    fn version(&self, change: &Change<'_>) -> Result<Version, BadRow> {
        let fail = || BadRow::Version { epoch: change.epoch, offset: change.offset };
        let offset = if canary::on(Canary::FlatVersions) { 0 } else { change.offset };
        Version::new(self.rank, change.epoch, offset).ok_or_else(fail)
    }

    /// Dates of no calendar met since the last call.
    pub fn take_zero_dates(&mut self) -> u64 {
        self.document.take_zero_dates()
    }
}

/// The plans of one sink for all tables met so far, by the shape that the reader gives.
pub struct SinkPlan {
    sink: Arc<SinkConfig>,
    known: Vec<(Arc<format::Shape>, Option<TablePlan>)>,
}

/// Shapes kept: a table has one but while a statement changes it.
const MAX_SHAPES: usize = 256;

impl SinkPlan {
    /// A sink that has met no table yet.
    pub fn new(sink: Arc<SinkConfig>) -> Self {
        Self { sink, known: Vec::new() }
    }

    /// The plan of a record's table; `None` if the table does not feed this sink.
    pub fn of(&mut self, shape: &Arc<format::Shape>) -> Result<Option<&mut TablePlan>, Stop> {
        let place = match self.known.iter().position(|(known, _)| Arc::ptr_eq(known, shape)) {
            Some(place) => place,
            None => {
                let plan = TablePlan::new(&self.sink, &Arc::new(Shape::of_record(shape)))?;
                if self.known.len() >= MAX_SHAPES {
                    self.known.remove(0);
                }
                self.known.push((Arc::clone(shape), plan));
                self.known.len() - 1
            }
        };
        Ok(self.known[place].1.as_mut())
    }
}

/// Checks every sink against the tables that are known when the configuration is loaded: conditions, id, routing,
/// fields; and that each source names at least one of them, if any are known.
pub fn check(config: &AdapterConfig) -> Result<(), Stop> {
    let shapes: Vec<Arc<Shape>> = config.tables.iter().map(|table| Arc::new(Shape::of_schema(table))).collect();
    for sink in &config.sinks {
        if let Some(when) = &sink.when {
            super::condition::parse(when)?;
        }
        for shape in &shapes {
            TablePlan::new(sink, shape)?;
        }
        for source in &sink.sources {
            if shapes.is_empty() || shapes.iter().any(|shape| source.table.matches(&shape.database, &shape.table)) {
                continue;
            }
            let wanted = source.table.to_string();
            let names: Vec<String> = shapes.iter().map(|shape| shape.full_name()).collect();
            let near = super::shape::nearest(&wanted, names.iter().map(String::as_str));
            let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            return Err(Stop::new(
                crate::cause::Cause::Config,
                format!("sink {}: no captured table is named {wanted}{hint}", sink.name),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::testing::{TestRow, orders_shape, row};

    fn plan(change: impl FnOnce(&mut SinkConfig)) -> TablePlan {
        let mut sink = SinkConfig::new("hot", "hot", "orders.order_main", "orders");
        sink.when = Some("row.status in [1, 2]".into());
        change(&mut sink);
        TablePlan::new(&sink, &Arc::new(orders_shape())).unwrap().unwrap()
    }

    fn order(id: &str, status: &str) -> TestRow {
        row(&[("order_id", id), ("status", status)])
    }

    /// Operations as text: `+id` an index operation, `-id` a delete, both with `@routing` if any.
    fn run(plan: &mut TablePlan, before: Option<TestRow>, after: Option<TestRow>, blind: bool) -> Vec<String> {
        let change = Change {
            before: before.as_ref().map(|row| row as &dyn Row),
            after: after.as_ref().map(|row| row as &dyn Row),
            epoch: 3,
            offset: 77,
            commit_ms: 0,
            blind,
            undone: false,
        };
        let mut out = Vec::new();
        plan.operations(&change, &mut BytesMut::new(), &mut out).unwrap();
        let text = |op: &Operation| {
            let deletes = op.source.as_ref().is_none_or(|source| source.starts_with(b"{\"_towpath_deleted"));
            let routing = op.key.routing.as_ref().map_or(String::new(), |routing| format!("@{routing}"));
            format!("{}{}{routing}", if deletes { '-' } else { '+' }, op.key.id)
        };
        out.iter().map(text).collect()
    }

    #[test]
    fn matching_before_and_after_decides() {
        let mut plan = plan(|_| {});
        let (on, off) = (|| Some(order("7", "1")), || Some(order("7", "9")));
        for (before, after, streamed, blind) in [
            (None, on(), "+7", "+7"),
            (None, off(), "", "-7"),
            (on(), on(), "+7", "+7"),
            (on(), off(), "-7", "-7"),
            (off(), on(), "+7", "+7"),
            (off(), off(), "", "-7"),
            (on(), None, "-7", "-7"),
            (off(), None, "", "-7"),
        ] {
            let what = format!("{before:?} -> {after:?}");
            assert_eq!(run(&mut plan, before.clone(), after.clone(), false).join(","), streamed, "{what}");
            assert_eq!(run(&mut plan, before, after, true).join(","), blind, "blind: {what}");
        }
    }

    #[test]
    fn a_changed_id_or_routing_deletes_the_old_document() {
        let mut by_id = plan(|_| {});
        let moved = |plan: &mut TablePlan, a: TestRow, b: TestRow| run(plan, Some(a), Some(b), false);
        assert_eq!(moved(&mut by_id, order("7", "1"), order("8", "1")), ["-7", "+8"]);
        assert_eq!(moved(&mut by_id, order("7", "1"), order("8", "9")), ["-7"]);
        assert_eq!(moved(&mut by_id, order("7", "9"), order("8", "1")), ["+8"]);
        assert_eq!(moved(&mut by_id, order("7", "9"), order("8", "9")), [""; 0]);
        let mut routed = plan(|sink| sink.routing = Some("status".into()));
        assert_eq!(moved(&mut routed, order("7", "1"), order("7", "2")), ["-7@1", "+7@2"]);
        assert_eq!(run(&mut routed, Some(order("7", "1")), Some(order("8", "9")), true), ["-7@1", "-8@9"]);
    }

    #[test]
    fn keep_keeps_the_document_of_a_deleted_row_only() {
        let mut plan = plan(|sink| sink.sources[0].on_delete = OnDelete::Keep);
        assert!(run(&mut plan, Some(order("7", "1")), None, false).is_empty());
        assert!(run(&mut plan, Some(order("7", "1")), None, true).is_empty());
        assert_eq!(run(&mut plan, Some(order("7", "1")), Some(order("7", "9")), false), ["-7"]);
        assert_eq!(run(&mut plan, Some(order("7", "1")), Some(order("8", "1")), false), ["-7", "+8"]);
    }

    /// What only lost transactions had written goes, also where deletes are not carried.
    #[test]
    fn keep_does_not_keep_what_never_was() {
        let mut plan = plan(|sink| sink.sources[0].on_delete = OnDelete::Keep);
        let row = order("7", "1");
        for (undone, expected) in [(false, 0), (true, 1)] {
            let (epoch, offset, commit_ms, blind) = (3, 77, 0, true);
            let change = Change { before: Some(&row), after: None, epoch, offset, commit_ms, blind, undone };
            let mut out = Vec::new();
            plan.operations(&change, &mut BytesMut::new(), &mut out).unwrap();
            assert_eq!(out.len(), expected);
        }
    }

    #[test]
    fn versions_carry_the_rank_and_deletes_their_kind() {
        let mut cold = plan(|sink| {
            sink.sources[0].rank = 1;
            sink.deletes = Deletes::Hard;
        });
        let (before, mut out) = (order("7", "1"), Vec::new());
        let (epoch, offset, commit_ms, blind, undone) = (3, 77, 0, false, false);
        let change = Change { before: Some(&before), after: None, epoch, offset, commit_ms, blind, undone };
        cold.operations(&change, &mut BytesMut::new(), &mut out).unwrap();
        assert_eq!((out[0].version, &out[0].source), (Version::new(1, 3, 77).unwrap(), &None));
    }

    #[test]
    fn a_bad_new_document_does_not_keep_the_old_one() {
        let mut plan = plan(|_| {});
        let (before, after) = (order("7", "1"), row(&[("order_id", "8"), ("status", "1"), ("amount", "x")]));
        let (epoch, offset, commit_ms, blind, undone) = (1, 1, 0, false, false);
        let change = Change { before: Some(&before), after: Some(&after), epoch, offset, commit_ms, blind, undone };
        let mut out = Vec::new();
        assert!(plan.operations(&change, &mut BytesMut::new(), &mut out).is_err());
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].key.id, "7");
    }
}
