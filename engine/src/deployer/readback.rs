//! Rows read again by the keys that the log has of them, as records at a transaction boundary (protocol §5).
//!
//! Keys and images are gathered from records; each key's row is read; what it is now, and which images are gone,
//! becomes records. Must not deliver them, nor decide when this is done.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::config::DeployerConfig;
use crate::binlog::text::Text;
use crate::branch::{self, Branch};
use crate::cause::{Cause, Stop};
use crate::format::{
    ChangeKind, ChangeRecord, EventContext, Field, FlatConfig, FlatWriter, Gone, ImageField, Incoming, ReadKind,
    Reader, RecordBuffer, RecordMode, Shape, TypeKind, unescape, write_gone,
};
use crate::gtid::{Gtid, GtidSet};
use crate::ports::log::ConsumedRecord;
use crate::ports::source::RowsRead;
use crate::routing::Router;
use crate::schema::TableSchema;

/// A row's image as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Image {
    shape: Arc<Shape>,
    partition: u32,
    fields: Vec<ImageField>,
}

/// What the log tells of one key.
#[derive(Debug, Default)]
struct KeyFacts {
    images: Vec<Image>,
    inserted_by_lost: bool,
    inserted_by_kept: bool,
}

/// One table's keys, by the texts of their columns.
#[derive(Debug, Default)]
struct TableKeys {
    columns: Vec<String>,
    keys: BTreeMap<Vec<String>, KeyFacts>,
}

/// The keys of one table that are to be read in one call.
#[derive(Debug)]
pub struct Batch {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The key's columns.
    pub columns: Vec<String>,
    /// The keys.
    pub keys: Vec<Vec<String>>,
    facts: Vec<KeyFacts>,
}

/// The most keys of a batch.
const BATCH: usize = 500;
/// So many images are remembered, 16 bytes each; the key of one beyond them may be read more than once.
const KNOWN: usize = 1 << 19;

/// Gathers keys and writes records.
pub struct ReadBack {
    pipeline: String,
    mode: RecordMode,
    text: Text,
    reader: Reader,
    writer: FlatWriter,
    tables: BTreeMap<(String, String), TableKeys>,
    /// Images that were gathered before, by their sums: journals of several sinks, and the log, have the same ones.
    known: BTreeSet<u128>,
}

impl ReadBack {
    /// For a pipeline's records.
    pub fn new(config: &DeployerConfig) -> Self {
        let writer = FlatWriter::new(FlatConfig {
            pipeline: config.pipeline.clone(),
            router: Router::new(config.partition_by.clone(), config.partitions),
            mode: config.record,
            canal_quirks: config.canal_quirks,
            geometry: config.geometry,
            max_record_bytes: config.max_record_bytes,
        });
        Self {
            pipeline: config.pipeline.clone(),
            mode: config.record,
            text: Text { canal_quirks: config.canal_quirks, geometry: config.geometry },
            reader: Reader::new(),
            writer,
            tables: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    /// Takes in the keys of a record; those that are not changes of this pipeline are passed over, and images that this
    /// has had already: what they need is read. `kept`: the transactions that are not lost.
    pub fn gather(&mut self, record: &ConsumedRecord, kept: &GtidSet) -> Result<(), Stop> {
        let change = match self.reader.read(record) {
            Ok(Incoming::Change(change)) => change,
            Ok(Incoming::Control(_) | Incoming::Foreign(_)) => return Ok(()),
            Err(error) => return Err(Stop::new(Cause::Corrupt, error.to_string())),
        };
        let foreign = !change.headers.pipeline.is_empty() && change.headers.pipeline != self.pipeline;
        // A copy repeats what the original has.
        if foreign || change.headers.copy.is_some() {
            return Ok(());
        }
        self.key_is_readable(&change.shape)?;
        let gtid = change.headers.gtid.as_ref().and_then(|text| text.parse::<Gtid>().ok());
        let lost = gtid.is_some_and(|gtid| !kept.contains(&gtid));
        let names: Vec<String> =
            change.shape.primary_key.iter().map(|&index| change.shape.columns[index].name.clone()).collect();
        for row in change.rows() {
            let columns = 0..change.shape.columns.len();
            let after: Vec<Field<'_>> = columns.clone().map(|column| row.data(column)).collect();
            self.image(&change, record.partition, &names, &after, Some(lost))?;
            if change.kind == ChangeKind::Update {
                let before: Vec<Field<'_>> = columns.map(|column| row.before(column)).collect();
                self.image(&change, record.partition, &names, &before, None)?;
            }
        }
        Ok(())
    }

    /// Under Canal's rendering an ENUM is a number in the log: no text to find it by.
    fn key_is_readable(&self, shape: &Shape) -> Result<(), Stop> {
        let coded = |&index: &usize| matches!(shape.columns[index].kind, TypeKind::Enum(_) | TypeKind::Set(_));
        if self.text.canal_quirks && shape.primary_key.iter().any(coded) {
            let detail = format!(
                "rows of {}.{} cannot be read again: with canal_quirks the log has its ENUM or SET key as a number",
                shape.database, shape.table
            );
            return Err(Stop::new(Cause::Undecoded, detail));
        }
        Ok(())
    }

    fn image(
        &mut self,
        change: &ChangeRecord,
        partition: u32,
        names: &[String],
        fields: &[Field<'_>],
        lost: Option<bool>,
    ) -> Result<(), Stop> {
        let shape = &change.shape;
        let inserted_by_lost = lost.filter(|_| change.kind == ChangeKind::Insert && change.headers.read.is_none());
        let own = |field: &Field<'_>| match field {
            Field::Absent => ImageField::Absent,
            Field::Null => ImageField::Null,
            Field::Text(text) => ImageField::Text((*text).to_owned()),
        };
        let image = Image { shape: Arc::clone(shape), partition, fields: fields.iter().map(own).collect() };
        if !self.is_new(&image, inserted_by_lost) {
            return Ok(());
        }
        let key: Option<Vec<String>> =
            shape.primary_key.iter().map(|&index| fields[index].text().map(str::to_owned)).collect();
        let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
            let detail = format!("a record of {}.{} has a row without its key", shape.database, shape.table);
            Stop::new(Cause::NoPrimaryKey, detail)
        })?;
        let table = self.tables.entry((shape.database.clone(), shape.table.clone())).or_default();
        if table.columns != names {
            if !table.keys.is_empty() {
                let detail =
                    format!("the key of {}.{} changes within the log to be repaired", shape.database, shape.table);
                return Err(Stop::new(Cause::SchemaMismatch, detail));
            }
            table.columns = names.to_vec();
        }
        let facts = table.keys.entry(key).or_default();
        facts.inserted_by_lost |= inserted_by_lost == Some(true);
        facts.inserted_by_kept |= inserted_by_lost == Some(false);
        if !facts.images.contains(&image) {
            facts.images.push(image);
        }
        Ok(())
    }

    /// Whether this image has not been gathered before, with the same to tell about it.
    fn is_new(&mut self, image: &Image, inserted_by_lost: Option<bool>) -> bool {
        let half = |which: u8| {
            let mut hasher = DefaultHasher::new();
            let Image { shape, partition, fields } = image;
            (which, &shape.database, &shape.table, partition, inserted_by_lost).hash(&mut hasher);
            for (column, field) in shape.columns.iter().zip(fields) {
                (&column.name, field).hash(&mut hasher);
            }
            u128::from(hasher.finish())
        };
        let sum = half(0) << 64 | half(1);
        if self.known.len() < KNOWN { self.known.insert(sum) } else { !self.known.contains(&sum) }
    }

    /// Takes the gathered keys out, table by table, in batches.
    pub fn take(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        for ((database, table), TableKeys { columns, keys }) in std::mem::take(&mut self.tables) {
            let mut keys = keys.into_iter().peekable();
            while keys.peek().is_some() {
                let (keys, facts) = keys.by_ref().take(BATCH).unzip();
                let (database, table, columns) = (database.clone(), table.clone(), columns.clone());
                batches.push(Batch { database, table, columns, keys, facts });
            }
        }
        batches
    }

    /// Appends the records of a batch that was read. `context.offset` is the boundary's.
    pub fn write(
        &mut self,
        batch: Batch,
        read: &RowsRead,
        context: &EventContext<'_>,
        out: &mut RecordBuffer,
    ) -> Result<(), Stop> {
        let mut now: BTreeMap<Vec<String>, BTreeMap<String, ImageField>> = BTreeMap::new();
        if let Some(table) = &read.table {
            for row in &read.rows {
                let texts = self.texts(table, row)?;
                let part = |name: &String| match texts.get(name) {
                    Some(ImageField::Text(text)) => Some(text.clone()),
                    _ => None,
                };
                if let Some(key) = batch.columns.iter().map(part).collect() {
                    now.insert(key, texts);
                }
            }
        }
        for (key, facts) in batch.keys.iter().zip(batch.facts) {
            let row = now.get(key);
            if row.is_none() {
                branch::reached(Branch::RowGone);
            }
            let kind = match row {
                Some(_) => ReadKind::Image,
                None if facts.inserted_by_lost && !facts.inserted_by_kept => ReadKind::Never,
                None => ReadKind::Missing,
            };
            for image in &facts.images {
                let mut columns = image.shape.columns.iter().zip(&image.fields);
                let same = |row: &BTreeMap<String, ImageField>| {
                    columns.all(|(column, field)| {
                        *field == ImageField::Absent || row.get(&column.name).is_none_or(|now| now == field)
                    })
                };
                if row.is_none_or(|row| !{ same }(row)) {
                    let gone = Gone { shape: &image.shape, image: &image.fields, kind, partition: image.partition };
                    write_gone(&gone, context, (&self.pipeline, self.mode), out);
                }
            }
        }
        // Last, so that a consumer that goes by order alone is left with the row.
        if let Some(table) = &read.table {
            self.writer.write_reads(&Arc::new(table.clone()), &read.rows, context, out)?;
        }
        Ok(())
    }

    /// A row's texts by column, as the log has them.
    fn texts(&self, table: &TableSchema, row: &[Option<Vec<u8>>]) -> Result<BTreeMap<String, ImageField>, Stop> {
        let mut texts = BTreeMap::new();
        for (column, value) in table.columns.iter().zip(row) {
            let field = match value {
                None => ImageField::Null,
                Some(raw) => {
                    let mut escaped = Vec::new();
                    self.text.write(column, raw, &mut escaped)?;
                    let mut plain = String::new();
                    unescape(&String::from_utf8_lossy(&escaped), &mut plain)
                        .map_err(|at| Stop::new(Cause::Internal, format!("an escape of our own is bad at {at}")))?;
                    ImageField::Text(plain)
                }
            };
            texts.insert(column.name.clone(), field);
        }
        Ok(texts)
    }
}
