//! What a leader knows of definitions, ahead of and behind what is carried: changes wait here until the checkpoint
//! passes them, as do the tables whose rows are held.
//!
//! Must not decide what is held: [`super::follow`] does.

use super::config::DeployerConfig;
use super::course::{Course, Failure, Halt};
use super::follow::{Followed, Follower, Found};
use super::leader::Leader;
use super::schema_history::{self, Boundary, Change, History};
use super::stream::StreamEnd;
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::ports::log::LogError;
use crate::ports::source::{BinlogSource, SchemaSnapshot, SourceError};
use crate::schema::catalog::{Catalog, Effect};
use crate::state::{EpochHistory, HistoryRef, PipelineState, Quarantine, SchemaState};

/// Definitions as a leader keeps them.
pub struct Keeper {
    history: History,
    reference: HistoryRef,
    /// As of the last checkpoint.
    catalog: Catalog,
    boundary: Option<Boundary>,
    /// Changes after it, in the history, with the offset after them there.
    changes: Vec<(Change, i64)>,
    /// Tables held since, not yet in the state.
    held: Vec<Quarantine>,
}

impl Keeper {
    /// Begins with a snapshot of this catalog.
    pub async fn begin(
        course: &Course,
        (term, epoch): (i64, u16),
        catalog: Catalog,
        boundary: Option<Boundary>,
    ) -> Result<Self, LogError> {
        let history = History::new(course, term);
        let reference = history.snapshot(epoch, &catalog, boundary.as_ref()).await?;
        Ok(Self { history, reference, catalog, boundary, changes: Vec::new(), held: Vec::new() })
    }

    /// Goes on where the state's checkpoint is. Definitions given by hand from there on take effect by a new snapshot,
    /// to which the state then refers.
    pub async fn resume(course: &Course, term: i64, state: &mut PipelineState) -> Result<Option<Self>, Failure> {
        let (epoch, offset) = (state.epoch.number, state.checkpoint.offset);
        let Some(schemas) = &mut state.schemas else { return Ok(None) };
        let kept = EpochHistory { epoch, offset, history: schemas.history.clone() };
        let (mut catalog, boundary) = schema_history::load(course, &kept, offset).await?;
        let at_once = || schemas.orders.iter().filter(|order| order.transaction.is_none());
        if at_once().next().is_none() {
            let history = History::new(course, term);
            let reference = schemas.history.clone();
            return Ok(Some(Self { history, reference, catalog, boundary, changes: Vec::new(), held: Vec::new() }));
        }
        for order in at_once() {
            catalog.apply(&Effect::Define(order.definition.clone()));
        }
        let keeper = Self::begin(course, (term, epoch), catalog, boundary).await?;
        schemas.orders.retain(|order| order.transaction.is_some());
        schemas.history = keeper.reference.clone();
        Ok(Some(keeper))
    }

    /// What the state says of a catalog that was just begun.
    pub fn state(&self) -> SchemaState {
        SchemaState { history: self.reference.clone(), quarantine: Vec::new(), orders: Vec::new(), earlier: Vec::new() }
    }

    /// Drops what lies at or after an offset: it is read again.
    pub fn rewind(&mut self, offset: u64) {
        if canary::on(Canary::DefinitionsStay) {
            return;
        }
        if self.changes.iter().any(|(change, _)| change.offset >= offset) {
            branch::reached(Branch::DefinitionReadAgain);
        }
        self.changes.retain(|(change, _)| change.offset < offset);
        self.held.retain(|held| held.offset < offset);
    }

    /// What follows statements from here on.
    pub fn follower(&self, course: &Course, state: &SchemaState) -> Follower {
        let mut catalog = self.catalog.clone();
        self.changes.iter().flat_map(|(change, _)| &change.effects).for_each(|effect| catalog.apply(effect));
        let held = state.quarantine.iter().chain(&self.held);
        let held = held.map(|held| (held.database.clone(), held.table.clone())).collect();
        Follower::new(course.config.tables.clone(), catalog, self.boundary.clone(), state.orders.clone(), held)
    }

    /// Moves what lies before an offset into the state: the checkpoint passes it.
    pub fn settle(&mut self, offset: u64, state: &mut SchemaState) {
        for (change, upto) in self.changes.extract_if(.., |(change, _)| change.offset < offset) {
            if change.by_order {
                let transaction = Some(change.transaction.clone());
                state.orders.retain(|order| order.transaction != transaction);
            }
            change.effects.iter().for_each(|effect| self.catalog.apply(effect));
            self.reference.upto = upto;
            self.reference.changes += 1;
        }
        state.history = self.reference.clone();
        state.quarantine.extend(self.held.extract_if(.., |held| held.offset < offset));
    }

    /// Tables held, those in the state included.
    pub fn held<'a>(&'a self, state: &'a SchemaState) -> impl Iterator<Item = &'a Quarantine> {
        state.quarantine.iter().chain(&self.held)
    }
}

/// How often definitions are read again until two readings agree: then none was half changed.
const READS: usize = 5;

/// The definitions of the captured tables on a server. Where the binlog does not name columns (`named`), also of those
/// that can be renamed to captured ones.
pub async fn read_definitions(
    source: &dyn BinlogSource,
    config: &DeployerConfig,
    named: bool,
) -> Result<SchemaSnapshot, SourceError> {
    let accept = |database: &str, table: &str| {
        config.tables.accepts(database, table) || !named && config.tables.touches(database)
    };
    let mut read = source.table_schemas(&accept).await?;
    for _ in 0..if named { 0 } else { READS } {
        let again = source.table_schemas(&accept).await?;
        if again.book() == read.book() {
            break;
        }
        read = again;
    }
    Ok(read)
}

impl Leader {
    /// Goes back to the definitions as of a kept point (`None`: the epoch's anchor), for the new epoch that begins
    /// there. What is held stays held.
    pub async fn roll_back(&mut self, number: u16, point: Option<(u16, u64)>) -> Result<(), Failure> {
        let Some(before) = self.state.schemas.clone() else { return Ok(()) };
        let (epoch, offset) = (self.state.epoch.number, self.state.checkpoint.offset);
        let mut kept = before.earlier.clone();
        kept.push(EpochHistory { epoch, offset, history: before.history.clone() });
        let point = point.unwrap_or((epoch, 0));
        let keeper = self.rolled_back(number, &kept, point).await?;
        let oldest = self.state.ring.oldest().map_or(epoch, |entry| entry.epoch);
        kept.retain(|history| history.epoch >= oldest);
        self.state.schemas = Some(SchemaState { history: keeper.reference.clone(), earlier: kept, ..before });
        self.schemas = Some(keeper);
        Ok(())
    }

    async fn rolled_back(&self, number: u16, kept: &[EpochHistory], point: (u16, u64)) -> Result<Keeper, Failure> {
        let (epoch, offset) = point;
        let Some(history) = kept.iter().find(|history| history.epoch == epoch) else {
            let detail = format!("the definitions of epoch {epoch} are not kept any more");
            return Err(Failure::Halt(Halt::Stop(Stop::new(Cause::SchemaHistoryLost, detail))));
        };
        let (mut catalog, mut boundary) = schema_history::load(&self.course, history, offset).await?;
        if boundary.is_some() {
            // What was read on the server before may have been lost with it.
            let read = read_definitions(self.source().as_ref(), &self.course.config, false).await?;
            catalog.await_book(read.book());
            boundary = Some((read.after, read.end));
        }
        Ok(Keeper::begin(&self.course, (self.term, number), catalog, boundary).await?)
    }

    /// Puts changes into the history, and keeps from where held tables are to be read again.
    pub async fn keep(&mut self, followed: Followed) -> Result<(), StreamEnd> {
        let (Some(keeper), Some(state)) = (&mut self.schemas, &self.state.schemas) else { return Ok(()) };
        let epoch = self.state.epoch.number;
        for change in followed.changes {
            branch::reached(Branch::DefinitionChanges);
            let upto = keeper.history.change(epoch, &keeper.reference.snapshot, &change).await?;
            keeper.changes.push((change, upto));
        }
        for Found { database, table, stop, offset, transaction } in followed.found {
            tracing::error!(
                database,
                table,
                cause = stop.cause.name(),
                "the table's rows are held from transaction {transaction} on: {} \
                 (`towpath schema show` says what to do)",
                stop.detail
            );
            keeper.held.push(Quarantine {
                database,
                table,
                cause: stop.cause,
                detail: stop.detail,
                epoch,
                offset,
                transaction,
                since_ms: self.course.env.wall_ms(),
                resume: self.state.checkpoint.clone(),
                history: state.history.clone(),
                prepared: self.state.prepared.clone(),
            });
        }
        self.show_held();
        Ok(())
    }

    /// Shows the tables whose rows are held.
    pub fn show_held(&self) {
        let (Some(keeper), Some(state)) = (&self.schemas, &self.state.schemas) else { return };
        let held: Vec<_> = keeper
            .held(state)
            .map(|held| Stop::new(held.cause, format!("{}.{}: {}", held.database, held.table, held.detail)))
            .collect();
        self.course.meters.tables_held.set(held.len() as i64);
        self.course.status.update(|status| status.held = held);
    }
}
