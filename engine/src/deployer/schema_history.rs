//! The schema history: a topic of its own that holds a snapshot of the catalog and every change since, so that it can
//! be built again as of any checkpoint.
//!
//! A change is in the topic before the checkpoint passes its statement. Copies that rewinds or deposed leaders leave
//! there do no harm: a change is known by its snapshot and its offset in the epoch, and of one offset all copies are
//! alike. Must not read statements.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::course::{Course, Failure, Halt};
use crate::cause::{Cause, Stop};
use crate::ports::log::{LogError, LogProducer, ProducerMode, Record, TopicInfo};
use crate::position::{FilePosition, Position};
use crate::schema::catalog::{Book, Catalog, Effect, Known, TableDefinition};
use crate::state::{EpochHistory, HistoryRef};

/// What one event did to the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The event's offset in the epoch.
    pub offset: u64,
    /// Its transaction: the GTID, or its place without one.
    pub transaction: String,
    /// The statement's beginning, for a person; empty where there was none.
    pub sql: String,
    /// What it did.
    pub effects: Vec<Effect>,
    /// A definition given by hand took its place.
    pub by_order: bool,
}

/// The point from which on a book that was read holds: the position, and the same place in the server's files.
pub type Boundary = (Position, FilePosition);

/// One record.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    pipeline: String,
    epoch: u16,
    term: i64,
    snapshot: String,
    entry: Body,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    /// A snapshot begins.
    Head {
        databases: BTreeMap<String, u16>,
        fold: bool,
        from_nothing: bool,
        /// A book that was read and holds from later on.
        awaiting: Option<(Boundary, BTreeMap<String, u16>)>,
        /// Records that follow and belong to it.
        records: usize,
    },
    /// A table of the snapshot, or (`awaited`) of the book that holds from later on.
    Table { awaited: bool, definition: TableDefinition },
    /// A table of the snapshot of which nothing more is known.
    Unclear { database: String, table: String, why: String },
    /// A change.
    Change(Change),
}

/// The topic's name.
pub fn topic(course: &Course) -> String {
    format!("{}.schema-history", course.config.topic)
}

/// How long the acknowledgement of what was produced may take.
const DELIVERED_WITHIN: Duration = Duration::from_secs(20);
/// Records asked for at once.
const READ: usize = 1_000;
/// Records produced and not acknowledged.
const OUTSTANDING: usize = 1_000;

/// Writes and reads the topic under one term.
pub struct History {
    course: Course,
    term: i64,
}

impl History {
    /// Nothing is opened before it is needed.
    pub fn new(course: &Course, term: i64) -> Self {
        Self { course: course.clone(), term }
    }

    /// Writes a snapshot and returns the reference to it.
    pub async fn snapshot(
        &self,
        epoch: u16,
        catalog: &Catalog,
        boundary: Option<&Boundary>,
    ) -> Result<HistoryRef, LogError> {
        let info = self.course.ports.log.ensure_history(&topic(&self.course)).await?;
        let end = info.watermarks.first().map_or(0, |&(_, end)| end);
        let name = format!("{epoch}-{}-{end}", self.term);
        let mut bodies = Vec::new();
        for (database, table, known) in catalog.tables() {
            bodies.push(match known {
                Known::Defined(definition) => Body::Table { awaited: false, definition: definition.clone() },
                Known::Unclear(why) => {
                    Body::Unclear { database: database.to_owned(), table: table.to_owned(), why: why.clone() }
                }
            });
        }
        let awaiting = catalog.awaiting().zip(boundary).map(|(book, boundary)| {
            bodies.extend(book.tables.iter().map(|table| Body::Table { awaited: true, definition: table.clone() }));
            (boundary.clone(), book.databases.clone())
        });
        let head = Body::Head {
            databases: catalog.book().databases,
            fold: catalog.folds(),
            from_nothing: catalog.is_from_nothing(),
            awaiting,
            records: bodies.len(),
        };
        bodies.insert(0, head);
        let places = self.produce(epoch, &name, bodies).await?;
        let first = places.first().copied().unwrap_or(end);
        let upto = places.last().map_or(end, |last| last + 1);
        Ok(HistoryRef { topic_id: info.id, snapshot: name, from: first, upto, changes: 0 })
    }

    /// Writes a change and returns the offset after it.
    pub async fn change(&self, epoch: u16, snapshot: &str, change: &Change) -> Result<i64, LogError> {
        let places = self.produce(epoch, snapshot, vec![Body::Change(change.clone())]).await?;
        Ok(places.last().map_or(0, |last| last + 1))
    }

    /// Produces in order and waits; returns the records' offsets.
    async fn produce(&self, epoch: u16, snapshot: &str, bodies: Vec<Body>) -> Result<Vec<i64>, LogError> {
        // Statements are rare: a producer is opened for each.
        let id = format!("{}.schemas", self.course.config.transactional_id());
        let mut producer = self.course.ports.log.producer(&topic(&self.course), ProducerMode::Idempotent, &id).await?;
        let mut places = Vec::with_capacity(bodies.len());
        let count = bodies.len();
        for (tag, body) in bodies.into_iter().enumerate() {
            let entry = Entry {
                pipeline: self.course.config.pipeline.clone(),
                epoch,
                term: self.term,
                snapshot: snapshot.to_owned(),
                entry: body,
            };
            let value = serde_json::to_vec(&entry).map_err(|error| LogError::Failed(error.to_string()))?;
            let record = Record {
                partition: 0,
                key: None,
                value: &value,
                headers: &[],
                timestamp_ms: self.course.env.wall_ms() as i64,
                tag: tag as u64,
            };
            producer.produce(&record)?;
            // One at a time would be slow, all at once could fill the queue.
            while tag - places.len() >= OUTSTANDING {
                delivered(producer.as_mut(), &mut places).await?;
            }
        }
        while places.len() < count {
            delivered(producer.as_mut(), &mut places).await?;
        }
        Ok(places)
    }
}

/// Waits for deliveries and adds their offsets; one partition delivers in order.
async fn delivered(producer: &mut dyn LogProducer, places: &mut Vec<i64>) -> Result<(), LogError> {
    let mut out = Vec::new();
    let until = Instant::now() + DELIVERED_WITHIN;
    match tokio::time::timeout_at(until, producer.deliveries(&mut out)).await {
        Ok(result) => result?,
        Err(_) => return Err(LogError::Unavailable(format!("no acknowledgement within {DELIVERED_WITHIN:?}"))),
    }
    for delivery in out {
        places.push(delivery.result.map_err(LogError::Failed)?.1);
    }
    Ok(())
}

fn lost(what: String) -> Failure {
    Failure::Halt(Halt::Stop(Stop::new(Cause::SchemaHistoryLost, what)))
}

/// The catalog as of the offset `at`, which lies not after what the history reaches to.
pub async fn load(course: &Course, kept: &EpochHistory, at: u64) -> Result<(Catalog, Option<Boundary>), Failure> {
    let EpochHistory { epoch, offset, history: reference } = kept;
    let (log, name) = (course.ports.log.as_ref(), topic(course));
    let info: TopicInfo = match log.topic(&name).await {
        Err(LogError::Topic(why)) => return Err(lost(format!("topic {name}: {why}"))),
        info => info?,
    };
    if info.id != reference.topic_id && !info.id.is_empty() && !reference.topic_id.is_empty() {
        return Err(lost(format!("topic {name} was made anew (id {}, before {})", info.id, reference.topic_id)));
    }
    let (first, end) = info.watermarks.first().copied().unwrap_or_default();
    if first > reference.from || end < reference.upto {
        return Err(lost(format!(
            "topic {name} holds offsets {first} to {end}, needed are {} to {}",
            reference.from, reference.upto
        )));
    }
    let mut entries = Vec::new();
    let mut place = reference.from;
    while place < reference.upto {
        let (records, next) = log.read(&name, 0, place, reference.upto, READ).await?;
        for record in records {
            let value = record.value.unwrap_or_default();
            let entry: Entry = serde_json::from_slice(&value)
                .map_err(|error| lost(format!("the record at {} of topic {name}: {error}", record.offset)))?;
            let ours = entry.snapshot == reference.snapshot && entry.pipeline == course.config.pipeline;
            if ours && entry.epoch == *epoch {
                entries.push(entry.entry);
            }
        }
        if next <= place {
            break;
        }
        place = next;
    }
    build(entries, (reference.changes, *offset), at)
        .ok_or_else(|| lost(format!("topic {name} does not hold snapshot {} as a whole", reference.snapshot)))
}

/// The catalog as of an offset, from the records of a snapshot; `None` if they are not whole: so many changes lie
/// before the second offset.
fn build(entries: Vec<Body>, (changes, offset): (u64, u64), at: u64) -> Option<(Catalog, Option<Boundary>)> {
    let mut entries = entries.into_iter();
    let Some(Body::Head { databases, fold, from_nothing, awaiting, records }) = entries.next() else { return None };
    let mut now = Vec::new();
    let (mut awaited, mut later) = (Vec::new(), BTreeMap::new());
    for entry in entries {
        match entry {
            Body::Head { .. } => return None,
            Body::Table { awaited: true, definition } => awaited.push(definition),
            Body::Table { definition, .. } => now.push(Effect::Define(definition)),
            Body::Unclear { database, table, why } => now.push(Effect::Unclear { database, table, why }),
            Body::Change(change) => drop(later.insert(change.offset, change)),
        }
    }
    if now.len() + awaited.len() != records {
        return None;
    }
    let (mut catalog, boundary) = match awaiting {
        Some((boundary, databases)) => {
            let book = Book { databases, tables: awaited };
            (Catalog::before(book, fold, from_nothing), Some(boundary))
        }
        None => (Catalog::at(Book::default(), fold), None),
    };
    let databases = databases.into_iter().map(|(name, collation)| Effect::Database { name, collation });
    databases.chain(now).for_each(|effect| catalog.apply(&effect));
    if later.range(..offset).count() as u64 != changes {
        return None;
    }
    later.range(..at).flat_map(|(_, change)| &change.effects).for_each(|effect| catalog.apply(effect));
    Some((catalog, boundary))
}
