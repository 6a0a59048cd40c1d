//! FlatMessage records (design §5): one event's rows as Canal's consumers know them, one record per partition, or one
//! per row.
//!
//! A value's text is written once, into the buffer of its partition; nothing is allocated per value or row once the
//! buffers have grown. Must not know how records are delivered.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::{DeadRow, Entry, FRAME, NAMES, RecordBuffer};
use super::headers::{ReadKind, RowRanges};
use super::json::unescape;
use super::parts::TableParts;
use super::reads::{READ_INDEX, READ_ROWS};
use super::{EventContext, RecordFormat, RecordMode};
use crate::binlog::text::Text;
use crate::binlog::{Field, GeometryText, RowsEvent, RowsKind};
use crate::branch::{self, Branch};
use crate::cause::{Cause, Stop};
use crate::routing::Router;
use crate::schema::TableSchema;

/// How records are written.
#[derive(Debug, Clone)]
pub struct FlatConfig {
    /// The pipeline's name, for the headers.
    pub pipeline: String,
    /// Where rows go.
    pub router: Router,
    /// What one record holds.
    pub mode: RecordMode,
    /// Canal's renderings also where they are known to be wrong.
    pub canal_quirks: bool,
    /// How GEOMETRY is written.
    pub geometry: GeometryText,
    /// The most bytes of a record: key, value and headers, counted generously.
    pub max_record_bytes: usize,
}

/// Writes FlatMessages. Keeps what it rendered of each table, and its buffers.
#[derive(Debug)]
pub struct FlatWriter {
    config: FlatConfig,
    text: Text,
    tables: Vec<TableParts>,
    /// One for each partition; none holds rows between two events.
    pending: Vec<Pending>,
    /// The partitions that hold rows, in the order of their first row.
    touched: Vec<u32>,
    scratch: Vec<u8>,
}

/// A record that is being filled.
#[derive(Debug, Default)]
struct Pending {
    data: Vec<u8>,
    old: Vec<u8>,
    rows: RowRanges,
    count: u32,
    copy: Option<u32>,
    key: Option<Vec<u8>>,
    /// The last row's `sqlType` numbers in the varying columns.
    sql_types: Vec<i32>,
}

/// One row with what is known about it.
struct RowParts<'r, 'e> {
    index: u32,
    before: &'r [Field<'e>],
    after: &'r [Field<'e>],
}

impl<'r, 'e> RowParts<'r, 'e> {
    /// What `data` holds: the after image, or the before image of a delete.
    fn image(&self) -> &'r [Field<'e>] {
        if self.after.is_empty() { self.before } else { self.after }
    }
}

/// Where a row goes, and what marks it there.
struct Target {
    partition: u32,
    key: Option<Vec<u8>>,
    copy: Option<u32>,
}

/// The event's context, with the headers that all its records share once one was written.
struct Sharing<'c> {
    context: &'c EventContext<'c>,
    kind: RowsKind,
    headers: Option<[Range<usize>; NAMES.len()]>,
    /// Bytes of a record beside its rows and its key.
    overhead: usize,
    /// Set for rows that were read and not streamed.
    read: Option<ReadKind>,
}

impl FlatWriter {
    /// A writer.
    pub fn new(config: FlatConfig) -> Self {
        let text = Text { canal_quirks: config.canal_quirks, geometry: config.geometry };
        Self { config, text, tables: Vec::new(), pending: Vec::new(), touched: Vec::new(), scratch: Vec::new() }
    }

    /// The place of a table's parts, which are rendered when its definition, or what a partial row tells, is new.
    fn parts(&mut self, event: &RowsEvent<'_>) -> usize {
        let table = &event.table;
        let told = |index| event.tells(index);
        self.parts_of(table, (!event.is_whole()).then(|| (0..table.columns.len()).map(told).collect()))
    }

    fn parts_of(&mut self, table: &Arc<TableSchema>, told: Option<Vec<bool>>) -> usize {
        if let Some(place) = self.tables.iter().position(|parts| Arc::ptr_eq(&parts.table, table) && parts.told == told)
        {
            return place;
        }
        let parts = TableParts::new(table, told, &self.config.router);
        let same = |known: &TableParts| {
            known.told.is_some() == parts.told.is_some()
                && known.table.database == table.database
                && known.table.table == table.table
        };
        match self.tables.iter().position(same) {
            Some(place) => {
                self.tables[place] = parts;
                place
            }
            None => {
                self.tables.push(parts);
                self.tables.len() - 1
            }
        }
    }

    fn write_rows(
        &mut self,
        mut event: RowsEvent<'_>,
        context: &EventContext<'_>,
        out: &mut RecordBuffer,
    ) -> Result<(), Stop> {
        let place = self.parts(&event);
        let overhead = self.tables[place].fixed_len()
            + (FRAME + self.config.pipeline.len() + context.server.len() + context.gtid.len() + context.executed.len());
        let mut sharing = Sharing { context, kind: event.kind, headers: None, overhead, read: None };
        let columns = event.table.columns.len();
        let mut before = Vec::with_capacity(if event.kind == RowsKind::Insert { 0 } else { columns });
        let mut after = Vec::with_capacity(if event.kind == RowsKind::Delete { 0 } else { columns });
        let mut index = 0u32;
        let incomplete = event.kind == RowsKind::Update && !event.is_full();
        while event.read_row(&mut before, &mut after)? {
            if incomplete {
                complete(&before, &mut after);
            }
            let row = RowParts { index, before: &before, after: &after };
            self.row(place, &row, &mut sharing, out)?;
            index = index.checked_add(1).ok_or_else(|| Stop::new(Cause::Corrupt, "an event of 2^32 rows"))?;
        }
        for at in 0..self.touched.len() {
            self.flush(place, self.touched[at], &mut sharing, out);
        }
        self.touched.clear();
        Ok(())
    }

    /// Appends records of rows that were read: `context.offset` is the boundary's. Each row has one value a column,
    /// as a
    /// rows event holds it; `None` is NULL.
    ///
    /// # Errors
    /// What rendering a value says; `out` then holds no record of these rows.
    pub fn write_reads(
        &mut self,
        table: &Arc<TableSchema>,
        rows: &[Vec<Option<Vec<u8>>>],
        context: &EventContext<'_>,
        out: &mut RecordBuffer,
    ) -> Result<(), Stop> {
        let mark = out.mark();
        let result = self.write_read_rows(table, rows, context, out);
        if result.is_err() {
            out.rewind(mark);
            self.touched.clear();
            self.pending.iter_mut().for_each(Pending::clear);
        }
        result
    }

    fn write_read_rows(
        &mut self,
        table: &Arc<TableSchema>,
        rows: &[Vec<Option<Vec<u8>>>],
        context: &EventContext<'_>,
        out: &mut RecordBuffer,
    ) -> Result<(), Stop> {
        let place = self.parts_of(table, None);
        let overhead =
            self.tables[place].fixed_len() + FRAME + self.config.pipeline.len() + context.server.len() + FRAME / 10;
        for rows in rows.chunks(READ_ROWS) {
            let (kind, read) = (RowsKind::Insert, Some(ReadKind::Row));
            let mut sharing = Sharing { context, kind, headers: None, overhead, read };
            for (index, row) in rows.iter().enumerate() {
                let mut after = Vec::with_capacity(row.len());
                for value in row {
                    after.push(value.as_deref().map_or(Field::Null, Field::Value));
                }
                let row = RowParts { index: READ_INDEX + index as u32, before: &[], after: &after };
                self.row(place, &row, &mut sharing, out)?;
            }
            for at in 0..self.touched.len() {
                self.flush(place, self.touched[at], &mut sharing, out);
            }
            self.touched.clear();
        }
        Ok(())
    }

    /// Writes one row to its partition, and to the one it leaves.
    fn row(
        &mut self,
        place: usize,
        row: &RowParts<'_, '_>,
        sharing: &mut Sharing<'_>,
        out: &mut RecordBuffer,
    ) -> Result<(), Stop> {
        let parts = &self.tables[place];
        let partition = parts.plan.partition(&parts.table, row.image(), &mut self.scratch)?;
        let by_row = self.config.mode == RecordMode::Row;
        let key = if by_row { Some(self.key(place, row.image())?) } else { None };
        let mut left = None;
        if sharing.kind == RowsKind::Update {
            let parts = &self.tables[place];
            let moved = !parts.plan.same(row.before, row.after);
            let old =
                if moved { parts.plan.partition(&parts.table, row.before, &mut self.scratch)? } else { partition };
            let old_key = if by_row { Some(self.key(place, row.before)?) } else { None };
            if old != partition || old_key != key {
                branch::reached(Branch::RowMovesPartition);
                left = Some(Target { partition: old, key: old_key, copy: Some(partition) });
            }
        }
        self.add(place, row, Target { partition, key, copy: None }, sharing, out)?;
        match left {
            Some(target) => self.add(place, row, target, sharing, out),
            None => Ok(()),
        }
    }

    /// Appends a row to what is pending for a partition, closing that record where it cannot go on.
    fn add(
        &mut self,
        place: usize,
        row: &RowParts<'_, '_>,
        target: Target,
        sharing: &mut Sharing<'_>,
        out: &mut RecordBuffer,
    ) -> Result<(), Stop> {
        let partition = target.partition;
        while self.pending.len() <= partition as usize {
            self.pending.push(Pending::default());
        }
        let pending = &self.pending[partition as usize];
        if pending.count > 0 && (target.key.is_some() || pending.copy != target.copy) {
            self.flush(place, partition, sharing, out);
        }
        let (parts, pending) = (&self.tables[place], &mut self.pending[partition as usize]);
        if pending.count == 0 && !self.touched.contains(&partition) {
            self.touched.push(partition);
        }
        let (data_from, old_from) = (pending.data.len(), pending.old.len());
        let update = sharing.kind == RowsKind::Update;
        write_image(self.text, parts, row.image(), &mut pending.data)?;
        if update {
            write_old(self.text, parts, row.before, row.after, &mut pending.old)?;
        }
        let key_len = target.key.as_ref().map_or(0, Vec::len);
        // A separated row costs at most its text in the ranges: ",4294967295".
        let overhead = sharing.overhead + key_len;
        let size =
            |pending: &Pending| overhead + pending.data.len() + pending.old.len() + 11 * (pending.count as usize + 1);
        if size(pending) > self.config.max_record_bytes && pending.count > 0 {
            branch::reached(Branch::RecordSplit);
            let data = pending.data.split_off(data_from);
            let old = pending.old.split_off(old_from);
            self.flush(place, partition, sharing, out);
            let pending = &mut self.pending[partition as usize];
            // Without the comma that separated it from the rows before.
            pending.data.extend_from_slice(&data[1..]);
            pending.old.extend_from_slice(old.get(1..).unwrap_or_default());
        }
        let pending = &mut self.pending[partition as usize];
        let bytes = size(pending);
        if bytes > self.config.max_record_bytes {
            pending.clear();
            // A copy that is too large is not a second loss: the original was one already.
            if target.copy.is_none() {
                let dead = self.dead(place, row, partition, sharing.context.offset, bytes)?;
                out.push_dead(dead);
            }
            return Ok(());
        }
        pending.rows.push(row.index);
        pending.count += 1;
        pending.copy = target.copy;
        pending.key = target.key;
        pending.sql_types.clear();
        for &(column, _) in &self.tables[place].varying {
            let raw = match row.image()[column] {
                Field::Value(raw) => Some(raw),
                Field::Patched(_) => Some(&[][..]),
                Field::Null | Field::Absent => None,
            };
            pending.sql_types.push(self.tables[place].table.columns[column].sql_type(raw));
        }
        Ok(())
    }

    /// Closes what is pending for a partition: appends the record, if there is one.
    fn flush(&mut self, place: usize, partition: u32, sharing: &mut Sharing<'_>, out: &mut RecordBuffer) {
        let (parts, pending) = (&self.tables[place], &mut self.pending[partition as usize]);
        if pending.count == 0 {
            return;
        }
        let context = sharing.context;
        let shared = sharing.headers.get_or_insert_with(|| {
            let (none, epoch, offset) = (0..0, out.number(u64::from(context.epoch)), out.number(context.offset));
            let (term, gtid, pipeline) =
                (out.number(context.term), out.text(context.gtid), out.text(&self.config.pipeline));
            let read = sharing.read.map_or(none.clone(), |kind| out.text(kind.as_str()));
            let partial = if parts.told.is_some() { out.text("1") } else { none.clone() };
            let server = out.text(context.server);
            [none.clone(), epoch, offset, none.clone(), term, gtid, none, pipeline, server, read, partial]
        });
        let mut entry = Entry { partition, rows: pending.count, headers: shared.clone(), ..Entry::default() };
        let start = out.bytes.len();
        pending.rows.write(&mut out.bytes);
        entry.headers[3] = start..out.bytes.len();
        if let Some(copy) = pending.copy {
            entry.headers[6] = out.number(u64::from(copy));
        }
        entry.key = pending.key.as_ref().map(|key| {
            let start = out.bytes.len();
            out.bytes.extend_from_slice(key);
            start..out.bytes.len()
        });
        let start = out.bytes.len();
        out.text("{\"data\":[");
        out.bytes.extend_from_slice(&pending.data);
        out.bytes.extend_from_slice(&parts.database);
        out.number(context.es_ms);
        out.text(",\"gtid\":\"");
        // A set in the server's text form: nothing to escape.
        out.text(context.executed);
        out.text("\",\"id\":");
        out.number(context.id);
        out.bytes.extend_from_slice(&parts.types);
        if sharing.kind == RowsKind::Update {
            out.text("[");
            out.bytes.extend_from_slice(&pending.old);
            out.text("]");
        } else {
            out.text("null");
        }
        out.bytes.extend_from_slice(&parts.keys);
        parts.write_sql_types(&pending.sql_types, &mut out.bytes);
        out.bytes.extend_from_slice(&parts.name);
        out.number(context.ts_ms);
        out.text(match sharing.kind {
            RowsKind::Insert => ",\"type\":\"INSERT\"}",
            RowsKind::Update => ",\"type\":\"UPDATE\"}",
            RowsKind::Delete => ",\"type\":\"DELETE\"}",
        });
        entry.value = start..out.bytes.len();
        out.entries.push(entry);
        pending.clear();
    }

    /// The key of a row: its primary key's text, or a JSON array of texts if it has several columns.
    fn key(&self, place: usize, image: &[Field<'_>]) -> Result<Vec<u8>, Stop> {
        let table = &self.tables[place].table;
        let mut key = Vec::with_capacity(24);
        let several = table.primary_key.len() > 1;
        for (at, &index) in table.primary_key.iter().enumerate() {
            if several {
                key.extend_from_slice(if at == 0 { b"[\"" } else { b",\"" });
            }
            match (image.get(index), table.columns.get(index)) {
                (Some(Field::Value(raw)), Some(column)) => self.text.write(column, raw, &mut key)?,
                _ => {
                    let (database, table) = (&table.database, &table.table);
                    let detail = format!("a row of {database}.{table} arrives without its primary key");
                    return Err(Stop::new(Cause::PartialRow, detail));
                }
            }
            if several {
                key.push(b'"');
            }
        }
        if several {
            key.push(b']');
        } else if key.contains(&b'\\') {
            let mut plain = String::new();
            // What the writer escaped is valid UTF-8 and valid escapes.
            if unescape(&String::from_utf8_lossy(&key), &mut plain).is_ok() {
                key = plain.into_bytes();
            }
        }
        Ok(key)
    }

    #[cold]
    fn dead(
        &self,
        place: usize,
        row: &RowParts<'_, '_>,
        partition: u32,
        event_offset: u64,
        bytes: usize,
    ) -> Result<DeadRow, Stop> {
        let table = &self.tables[place].table;
        let mut key = String::from_utf8_lossy(&self.key(place, row.image())?).into_owned();
        if key.len() > 1024 {
            key.clear();
        }
        let (database, table) = (table.database.clone(), table.table.clone());
        let offset = event_offset + u64::from(row.index);
        Ok(DeadRow { partition, database, table, key, row: row.index, offset, bytes })
    }
}

impl RecordFormat for FlatWriter {
    fn write(&mut self, event: RowsEvent<'_>, context: &EventContext<'_>, out: &mut RecordBuffer) -> Result<(), Stop> {
        let mark = out.mark();
        let result = self.write_rows(event, context, out);
        if result.is_err() {
            out.rewind(mark);
            self.touched.clear();
            self.pending.iter_mut().for_each(Pending::clear);
        }
        result
    }
}

impl Pending {
    fn clear(&mut self) {
        self.data.clear();
        self.old.clear();
        self.rows.clear();
        self.count = 0;
        self.copy = None;
        self.key = None;
    }
}

/// What an update's after image leaves out has not changed: the before image tells it, where it has it.
fn complete<'a>(before: &[Field<'a>], after: &mut [Field<'a>]) {
    for (new, old) in after.iter_mut().zip(before) {
        if *new == Field::Absent {
            *new = *old;
        }
    }
}

/// Appends `{…}` for an image, after a comma if it is not the first.
fn write_image(text: Text, parts: &TableParts, image: &[Field<'_>], out: &mut Vec<u8>) -> Result<(), Stop> {
    if !out.is_empty() {
        out.push(b',');
    }
    let open = out.len();
    for ((field, lead), column) in image.iter().zip(&parts.leads).zip(&parts.table.columns) {
        match field {
            Field::Absent => {}
            Field::Null => {
                out.extend_from_slice(&lead[..lead.len() - 1]);
                out.extend_from_slice(b"null");
            }
            Field::Value(raw) => {
                out.extend_from_slice(lead);
                text.write(column, raw, out)?;
                out.push(b'"');
            }
            Field::Patched(patched) => {
                out.extend_from_slice(lead);
                text.write_patched(column, patched, out)?;
                out.push(b'"');
            }
        }
    }
    close(open, out);
    Ok(())
}

/// Appends `{…}` with the before values of the columns whose bytes differ, after a comma if it is not the first.
fn write_old(
    text: Text,
    parts: &TableParts,
    before: &[Field<'_>],
    after: &[Field<'_>],
    out: &mut Vec<u8>,
) -> Result<(), Stop> {
    if !out.is_empty() {
        out.push(b',');
    }
    let open = out.len();
    for (index, (old, new)) in before.iter().zip(after).enumerate() {
        if old == new {
            continue;
        }
        let lead = &parts.leads[index];
        match old {
            // Only after images hold changes.
            Field::Absent | Field::Patched(_) => {}
            Field::Null => {
                out.extend_from_slice(&lead[..lead.len() - 1]);
                out.extend_from_slice(b"null");
            }
            Field::Value(raw) => {
                out.extend_from_slice(lead);
                text.write(&parts.table.columns[index], raw, out)?;
                out.push(b'"');
            }
        }
    }
    close(open, out);
    Ok(())
}

/// Turns the first member's comma into the opening brace, and closes.
fn close(open: usize, out: &mut Vec<u8>) {
    match out.get_mut(open) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
