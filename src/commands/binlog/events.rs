//! `--format events`: a line an event, or a JSON object.

use std::io::Write;

use serde_json::{Value, json};
use towpath_engine::binlog::{Event, Field, RowsEvent};

use super::Halt;
use super::reading::{At, Output, Shown, Tally};

/// Characters shown of a statement on a line for people.
const STATEMENT: usize = 120;

/// Prints events.
pub(super) struct Events<W> {
    out: W,
    json: bool,
    /// The headline is still to come.
    begun: bool,
}

impl<W: Write> Events<W> {
    /// Printing to `out`.
    pub fn new(out: W, json: bool) -> Self {
        Self { out, json, begun: false }
    }

    fn print(&mut self, at: &At<'_>, details: Value) -> Result<(), Halt> {
        if self.json { self.object(at, details) } else { self.text(at, &details) }
    }

    fn text(&mut self, at: &At<'_>, details: &Value) -> Result<(), Halt> {
        if !std::mem::replace(&mut self.begun, true) {
            writeln!(self.out, "{:>12}  {:<20}  {:>10}  {:>8}  type", "offset", "time", "server", "bytes")?;
        }
        let time = jiff::Timestamp::from_second(i64::from(at.header.timestamp));
        let time = time.map(|time| time.to_string()).unwrap_or_default();
        let indent = if at.nested { "  " } else { "" };
        write!(
            self.out,
            "{:>12}  {time:<20}  {:>10}  {:>8}  {indent}{}",
            at.offset, at.header.server_id, at.header.size, at.header.event_type
        )?;
        for (name, value) in details.as_object().into_iter().flatten() {
            match value {
                Value::String(text) => {
                    let shown: String = text.chars().take(STATEMENT).collect();
                    let more = if shown.len() < text.len() { "…" } else { "" };
                    write!(self.out, "  {name}={}{more}", shown.replace('\n', "\\n"))?;
                }
                other => write!(self.out, "  {name}={other}")?,
            }
        }
        Ok(writeln!(self.out)?)
    }

    fn object(&mut self, at: &At<'_>, details: Value) -> Result<(), Halt> {
        let mut object = json!({
            "file": at.start.file, "offset": at.offset, "nested": at.nested, "timestamp": at.header.timestamp,
            "type": at.header.event_type.to_string(), "type_number": at.header.event_type.0,
            "server_id": at.header.server_id, "bytes": at.header.size, "flags": at.header.flags, "gtid": at.gtid,
        });
        object["details"] = details;
        Ok(writeln!(self.out, "{object}")?)
    }
}

/// What an event says, in the terms of the server's own tools.
fn details(event: &Event<'_>) -> Value {
    match event {
        Event::FormatDescription(format) => json!({ "server_version": format.server_version }),
        Event::Rotate { file, position } => json!({ "next_file": file, "position": position }),
        Event::Gtid(gtid) => json!({ "gtid": gtid.to_string(), "transaction_bytes": gtid.transaction_length }),
        Event::MariaDbGtid(gtid) => {
            json!({ "gtid": format!("{}-{}-{}", gtid.domain, gtid.server_id, gtid.sequence) })
        }
        Event::MariaDbGtidList(list) => {
            let list: Vec<String> =
                list.iter().map(|gtid| format!("{}-{}-{}", gtid.domain, gtid.server_id, gtid.sequence)).collect();
            json!({ "gtids": list.join(",") })
        }
        Event::PreviousGtids(previous) => json!({ "sources": previous.sources.len() }),
        Event::Query(query) => json!({ "database": query.database, "sql": query.sql, "error": query.error }),
        Event::Xid(xid) => json!({ "xid": xid }),
        Event::TableMap(map) => json!({ "table": format!("{}.{}", map.database, map.table), "id": map.table_id }),
        Event::RowsQuery(sql) => json!({ "sql": sql }),
        Event::Heartbeat { file, position } => json!({ "file": file, "position": position }),
        _ => json!({}),
    }
}

/// A rows event's table and number of rows.
fn rows(mut event: RowsEvent<'_>) -> Result<(Value, u64), Halt> {
    let (mut before, mut after): (Vec<Field<'_>>, Vec<Field<'_>>) = (Vec::new(), Vec::new());
    let mut count = 0u64;
    while event.read_row(&mut before, &mut after)? {
        count += 1;
    }
    let table = format!("{}.{}", event.table.database, event.table.table);
    Ok((json!({ "table": table, "rows": count, "ends_statement": event.end_of_statement }), count))
}

impl<W: Write> Output for Events<W> {
    fn rows(&mut self, at: &At<'_>, event: RowsEvent<'_>) -> Result<u64, Halt> {
        let (details, count) = rows(event)?;
        self.print(at, details)?;
        Ok(count)
    }

    fn other(&mut self, at: &At<'_>, event: Shown<'_>) -> Result<(), Halt> {
        let details = match event {
            Shown::Plain(event) => details(&event),
            Shown::Packed => json!({}),
            Shown::Undecoded(stop) => json!({ "not_decoded": stop.detail, "cause": stop.cause.name() }),
        };
        self.print(at, details)
    }

    fn goes_on(&self) -> bool {
        true
    }

    fn flush(&mut self) -> Result<(), Halt> {
        Ok(self.out.flush()?)
    }

    fn finish(&mut self, _: &Tally) -> Result<(), Halt> {
        self.flush()
    }
}
