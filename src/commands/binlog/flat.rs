//! `--format flat`: FlatMessages as a pipeline would produce them, one a line, whatever their partition.

use std::io::Write;

use towpath_engine::binlog::{GeometryText, RowsEvent};
use towpath_engine::deployer::{PartitionBy, RecordMode};
use towpath_engine::format::{EventContext, FlatConfig, FlatWriter, RecordBuffer, RecordFormat};
use towpath_engine::routing::Router;
use towpath_engine::schema::{ColumnType, TableSchema};

use super::reading::{At, Output, Tally};
use super::{Halt, line};

/// Prints messages.
pub(super) struct Flat<W> {
    out: W,
    epoch: u16,
    writer: FlatWriter,
    /// For tables whose ENUM and SET have no members here: their numbers are all there is.
    numbers: FlatWriter,
    buffer: RecordBuffer,
    /// FlatMessage's `id`: here each event is a batch.
    id: u64,
}

impl<W: Write> Flat<W> {
    /// Printing to `out`.
    pub fn new(out: W, epoch: u16) -> Self {
        let writer = |canal_quirks| {
            FlatWriter::new(FlatConfig {
                pipeline: String::new(),
                router: Router::new(PartitionBy::Table, 1),
                mode: RecordMode::Event,
                canal_quirks,
                geometry: GeometryText::default(),
                max_record_bytes: usize::MAX / 2,
            })
        };
        let (writer, numbers) = (writer(false), writer(true));
        Self { out, epoch, writer, numbers, buffer: RecordBuffer::new(), id: 0 }
    }
}

/// Whether a column's members are not known, as where the binlog does not name them.
pub(super) fn lacks_members(table: &TableSchema) -> bool {
    table.columns.iter().any(|column| match &column.kind {
        ColumnType::Enum { members } | ColumnType::Set { members } => members.is_empty(),
        _ => false,
    })
}

impl<W: Write> Output for Flat<W> {
    fn rows(&mut self, at: &At<'_>, rows: RowsEvent<'_>) -> Result<u64, Halt> {
        self.id += 1;
        let ms = u64::from(at.header.timestamp) * 1000;
        let context = EventContext {
            epoch: self.epoch,
            // In the headers only, which are not printed.
            offset: at.version.unwrap_or_default(),
            term: 0,
            gtid: at.gtid,
            server: "",
            executed: at.gtid,
            id: self.id,
            es_ms: ms,
            // The time of a message's making is another at each reading; the event's own is not.
            ts_ms: ms,
        };
        self.buffer.clear();
        let writer = if lacks_members(&rows.table) { &mut self.numbers } else { &mut self.writer };
        writer.write(rows, &context, &mut self.buffer)?;
        let mut count = 0;
        for record in self.buffer.iter() {
            count += u64::from(record.rows);
            line(&mut self.out, &[record.value])?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Halt> {
        Ok(self.out.flush()?)
    }

    fn finish(&mut self, _: &Tally) -> Result<(), Halt> {
        self.flush()
    }
}
