//! `--format count`: events by type, rows by table and operation.

use std::collections::BTreeMap;
use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};
use towpath_engine::binlog::{EventType, Field, RowsEvent, RowsKind};

use super::Halt;
use super::reading::{At, Output, Shown, Tally};

/// Counts.
pub(super) struct Count<W> {
    out: W,
    json: bool,
    /// Events and their bytes.
    events: BTreeMap<EventType, (u64, u64)>,
    /// Inserted, updated and deleted rows by database and table.
    rows: BTreeMap<String, BTreeMap<String, [u64; 3]>>,
}

impl<W: Write> Count<W> {
    /// Printing to `out` at the end.
    pub fn new(out: W, json: bool) -> Self {
        Self { out, json, events: BTreeMap::new(), rows: BTreeMap::new() }
    }

    fn seen(&mut self, at: &At<'_>) {
        let (events, bytes) = self.events.entry(at.header.event_type).or_default();
        *events += 1;
        *bytes += u64::from(at.header.size);
    }

    fn count(&mut self, mut event: RowsEvent<'_>) -> Result<u64, Halt> {
        let (mut before, mut after): (Vec<Field<'_>>, Vec<Field<'_>>) = (Vec::new(), Vec::new());
        let mut count = 0;
        while event.read_row(&mut before, &mut after)? {
            count += 1;
        }
        let (database, table) = (&event.table.database, &event.table.table);
        let operation = match event.kind {
            RowsKind::Insert => 0,
            RowsKind::Update => 1,
            RowsKind::Delete => 2,
        };
        // Looked up before it is made: a binlog has few tables and many events.
        if let Some(counts) = self.rows.get_mut(database).and_then(|tables| tables.get_mut(table)) {
            counts[operation] += count;
        } else {
            self.rows.entry(database.clone()).or_default().entry(table.clone()).or_default()[operation] += count;
        }
        Ok(count)
    }

    fn object(&self, tally: &Tally) -> Value {
        let events: Map<String, Value> = self
            .events
            .iter()
            .map(|(kind, (events, bytes))| (kind.to_string(), json!({ "events": events, "bytes": bytes })))
            .collect();
        let rows: Map<String, Value> = self
            .tables()
            .map(|(name, [insert, update, delete])| {
                (name, json!({ "insert": insert, "update": update, "delete": delete }))
            })
            .collect();
        json!({ "transactions": tally.transactions, "events": events, "rows": rows })
    }

    fn tables(&self) -> impl Iterator<Item = (String, [u64; 3])> + '_ {
        self.rows.iter().flat_map(|(database, tables)| {
            tables.iter().map(move |(table, counts)| (format!("{database}.{table}"), *counts))
        })
    }

    fn text(&self) -> String {
        let mut events = table(&["event", "count", "bytes"]);
        let mut sum = (0, 0);
        for (kind, (count, bytes)) in &self.events {
            sum = (sum.0 + count, sum.1 + bytes);
            events.add_row([kind.to_string(), count.to_string(), bytes.to_string()]);
        }
        events.add_row(["all".to_owned(), sum.0.to_string(), sum.1.to_string()]);
        let mut rows = table(&["table", "insert", "update", "delete"]);
        let mut sum = [0; 3];
        for (name, counts) in self.tables() {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            rows.add_row([name, counts[0].to_string(), counts[1].to_string(), counts[2].to_string()]);
        }
        rows.add_row(["all".to_owned(), sum[0].to_string(), sum[1].to_string(), sum[2].to_string()]);
        format!("{}\n{}", lines(&events), lines(&rows))
    }
}

/// Without lines; numbers to the right.
fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heads);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// As text, without the blanks at the lines' ends.
fn lines(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

impl<W: Write> Output for Count<W> {
    fn rows(&mut self, at: &At<'_>, rows: RowsEvent<'_>) -> Result<u64, Halt> {
        self.seen(at);
        self.count(rows)
    }

    fn other(&mut self, at: &At<'_>, _: Shown<'_>) -> Result<(), Halt> {
        self.seen(at);
        Ok(())
    }

    fn goes_on(&self) -> bool {
        true
    }

    /// Counts are printed once.
    fn flush(&mut self) -> Result<(), Halt> {
        Ok(())
    }

    fn finish(&mut self, tally: &Tally) -> Result<(), Halt> {
        let text = if self.json { format!("{}\n", self.object(tally)) } else { self.text() };
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }
}
