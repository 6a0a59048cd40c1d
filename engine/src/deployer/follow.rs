//! Follows statements through a stream: which definition each captured table has, and whose rows cannot be read.
//!
//! Pure: changes and held tables are handed on, to be kept by [`super::schemas`]. Must not stop the pipeline for a
//! table of which nothing is known: its rows are held; only before the first definitions hold does it stop, by the
//! named cause.

use std::collections::BTreeSet;

use super::config::TableFilter;
use super::count::TransactionId;
use super::schema_history::{Boundary, Change};
use crate::binlog::{Decoder, Query, TableMapEvent};
use crate::cause::{Cause, Stop};
use crate::position::{FilePosition, Position};
use crate::schema::TableSchema;
use crate::schema::catalog::{Catalog, Effect, Known, Setting};
use crate::schema::ddl::{self, Dialect};
use crate::state::SchemaOrder;

/// Characters of a statement that are kept for people.
const SHOWN: usize = 2_000;

/// Where in the stream something happens.
pub struct Place {
    /// The event's offset.
    pub offset: u64,
    /// The open transaction; `None` outside.
    pub id: Option<TransactionId>,
    /// The transaction's first byte.
    pub start: FilePosition,
}

impl Place {
    /// The transaction's GTID, or its place without one.
    fn transaction(&self) -> String {
        match self.id.as_ref().map(TransactionId::text) {
            Some(gtid) if !gtid.is_empty() => gtid,
            _ => self.start.to_string(),
        }
    }
}

/// A table whose rows are held from here on.
pub struct Found {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The named cause, and what is wrong.
    pub stop: Stop,
    /// The event's offset.
    pub offset: u64,
    /// The transaction.
    pub transaction: String,
}

/// What is handed on.
#[derive(Default)]
pub struct Followed {
    /// Changes of definitions.
    pub changes: Vec<Change>,
    /// Tables whose rows are held.
    pub found: Vec<Found>,
}

/// Follows one stream.
pub struct Follower {
    filter: TableFilter,
    catalog: Catalog,
    boundary: Option<Boundary>,
    orders: Vec<SchemaOrder>,
    held: BTreeSet<(String, String)>,
    /// Definitions given by hand that are in force in the open transaction.
    in_force: Vec<SchemaOrder>,
    mariadb: bool,
    version: u32,
    out: Followed,
}

impl Follower {
    /// From a point at which the catalog holds.
    pub fn new(
        filter: TableFilter,
        catalog: Catalog,
        boundary: Option<Boundary>,
        orders: Vec<SchemaOrder>,
        held: BTreeSet<(String, String)>,
    ) -> Self {
        let out = Followed::default();
        Self { filter, catalog, boundary, orders, held, in_force: Vec::new(), mariadb: false, version: 0, out }
    }

    /// Tells a new decoder what is known.
    pub fn prepare(&self, decoder: &mut Decoder) {
        decoder.set_schemas(self.captured());
        for (database, table) in &self.held {
            decoder.hold(database, table);
        }
    }

    fn captured(&self) -> Vec<TableSchema> {
        let definitions = self.catalog.definitions().map(|definition| &definition.schema);
        definitions.filter(|schema| self.filter.accepts(&schema.database, &schema.table)).cloned().collect()
    }

    /// What is known now.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Takes what was found since it was last asked; `None` if nothing was.
    pub fn take(&mut self) -> Option<Followed> {
        let nothing = self.out.changes.is_empty() && self.out.found.is_empty();
        (!nothing).then(|| std::mem::take(&mut self.out))
    }

    /// The server that wrote the events to come.
    pub fn server(&mut self, version: &str) {
        self.mariadb = version.contains("MariaDB");
        self.version = number(version);
    }

    /// A transaction begins.
    pub fn begin(&mut self, place: &Place, decoder: &mut Decoder) {
        self.in_force.clear();
        if self.boundary.is_none() && self.orders.is_empty() {
            return;
        }
        let mut effects = Vec::new();
        if self.boundary.as_ref().is_some_and(|boundary| !is_before(boundary, place)) {
            self.boundary = None;
            effects.push(Effect::Adopt);
        }
        let transaction = Some(place.transaction());
        self.in_force = self.orders.iter().filter(|order| order.transaction == transaction).cloned().collect();
        effects.extend(self.in_force.iter().map(|order| Effect::Define(order.definition.clone())));
        self.apply(effects, "", place, decoder);
    }

    /// A statement was run.
    pub fn statement(&mut self, query: &Query<'_>, place: &Place, decoder: &mut Decoder) {
        if query.status.without_effect {
            return;
        }
        let status = &query.status;
        let base = if self.mariadb { Dialect::mariadb(self.version) } else { Dialect::mysql(self.version) };
        let dialect = Dialect {
            server_collation: status.server,
            utf8mb4_collation: status.utf8mb4,
            nullable_timestamps: status.explicit_timestamps.unwrap_or(true),
            ..base.with_mode(status.sql_mode.unwrap_or(0))
        };
        let filter = &self.filter;
        let follows = |database: &str| filter.touches(database);
        let setting = Setting { database: query.database, dialect: &dialect, follows: &follows };
        let mut effects = match ddl::parse(&query.sql, &dialect) {
            Ok(Some(ddl)) => self.catalog.plan(&ddl, &setting),
            Ok(None) => return,
            Err(why) => self.catalog.plan_unread(&ddl::targets(&query.sql, &dialect), &why.0, &setting),
        };
        // A definition given by hand stands for whatever the statement says of its table.
        for order in &self.in_force {
            let schema = &order.definition.schema;
            let before = effects.len();
            effects.retain(|effect| target(effect) != Some((&schema.database, &schema.table)));
            if effects.len() < before {
                effects.push(Effect::Define(order.definition.clone()));
            }
        }
        self.apply(effects, &query.sql, place, decoder);
    }

    fn apply(&mut self, effects: Vec<Effect>, sql: &str, place: &Place, decoder: &mut Decoder) {
        if effects.is_empty() {
            return;
        }
        for effect in &effects {
            match effect {
                Effect::Define(definition) => {
                    let TableSchema { database, table, .. } = &definition.schema;
                    if self.filter.accepts(database, table) {
                        decoder.set_schema(database, table, Some(definition.schema.clone()));
                    }
                }
                Effect::Forget { database, table } => decoder.set_schema(database, table, None),
                Effect::Unclear { database, table, why } => {
                    decoder.set_schema(database, table, None);
                    if self.filter.accepts(database, table) {
                        let shown: String = sql.chars().take(200).collect();
                        let detail = format!("a statement on it was not understood: {why}: {shown}");
                        self.hold(database, table, Stop::new(Cause::SchemaChanged, detail), place, decoder);
                    }
                }
                Effect::ForgetDatabase { name } => {
                    for schema in self.captured().iter().filter(|schema| schema.database == *name) {
                        decoder.set_schema(&schema.database, &schema.table, None);
                    }
                }
                Effect::Database { .. } | Effect::Adopt => {}
            }
            self.catalog.apply(effect);
            if *effect == Effect::Adopt {
                decoder.set_schemas(self.captured());
            }
        }
        self.out.changes.push(Change {
            offset: place.offset,
            transaction: place.transaction(),
            sql: sql.chars().take(SHOWN).collect(),
            effects,
            by_order: !self.in_force.is_empty(),
        });
    }

    /// A captured table's columns are not known.
    ///
    /// # Errors
    /// `schema-mismatch` before the first definitions hold.
    pub fn unknown(&mut self, map: &TableMapEvent<'_>, place: &Place, decoder: &mut Decoder) -> Result<(), Stop> {
        let (database, table) = (map.database, map.table);
        let Some(problem) = decoder.problem(map.table_id).filter(|stop| stop.cause == Cause::SchemaMismatch).cloned()
        else {
            return Ok(());
        };
        let known = self.catalog.table(database, table);
        if known.is_none() && self.boundary.is_some() {
            let detail = format!(
                "rows of {database}.{table} were written before its definition was read, and the binlog does not hold \
                 its CREATE TABLE: without binlog_row_metadata=FULL only `start = \"now\"` is possible"
            );
            return Err(Stop::new(Cause::SchemaMismatch, detail));
        }
        let stop = match known {
            Some(Known::Defined(_)) => problem,
            Some(Known::Unclear(why)) => {
                Stop::new(Cause::SchemaMismatch, format!("its definition is not known: {why}"))
            }
            None => Stop::new(
                Cause::SchemaMismatch,
                "its definition is not known: the source's user may lack SELECT on it, or one of its columns has a type \
                 that cannot be captured",
            ),
        };
        self.hold(database, table, stop, place, decoder);
        Ok(())
    }

    /// Whether the table's rows are held.
    pub fn holds(&self, database: &str, table: &str) -> bool {
        !self.held.is_empty() && self.held.contains(&(database.to_owned(), table.to_owned()))
    }

    fn hold(&mut self, database: &str, table: &str, stop: Stop, place: &Place, decoder: &mut Decoder) {
        decoder.hold(database, table);
        if self.held.insert((database.to_owned(), table.to_owned())) {
            self.out.found.push(Found {
                database: database.to_owned(),
                table: table.to_owned(),
                stop,
                offset: place.offset,
                transaction: place.transaction(),
            });
        }
    }
}

/// The table that an effect is about.
fn target(effect: &Effect) -> Option<(&String, &String)> {
    match effect {
        Effect::Define(definition) => Some((&definition.schema.database, &definition.schema.table)),
        Effect::Unclear { database, table, .. } | Effect::Forget { database, table } => Some((database, table)),
        _ => None,
    }
}

/// Whether a transaction lies before the point from which on the definitions that were read hold.
fn is_before((position, file): &Boundary, place: &Place) -> bool {
    match (position, place.id) {
        (Position::Gtid(set), Some(TransactionId::Gtid(gtid))) => set.contains(&gtid),
        _ => (place.start.file_number(), place.start.position) < (file.file_number(), file.position),
    }
}

/// `9.7.0-log` is 90700.
fn number(version: &str) -> u32 {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0).min(99);
    part() * 10_000 + part() * 100 + part()
}
