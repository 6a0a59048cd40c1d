//! `--format rows`: one JSON object a row.

use std::io::Write;

use towpath_engine::binlog::text::Text;
use towpath_engine::binlog::{Field, RowsEvent, RowsKind};
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::schema::{Column, ColumnType};
use towpath_engine::version::Version;

use super::flat::lacks_members;
use super::reading::{At, Output, Tally};
use super::{Halt, line};

/// Prints rows.
pub(super) struct Rows<W> {
    out: W,
    epoch: u16,
    /// The line being written.
    text: Vec<u8>,
    scratch: Vec<u8>,
}

impl<W: Write> Rows<W> {
    /// Printing to `out`; versions are of this epoch.
    pub fn new(out: W, epoch: u16) -> Self {
        Self { out, epoch, text: Vec::new(), scratch: Vec::new() }
    }

    /// An image as an object without the columns it does not hold; `null` if the operation has none.
    fn image(&mut self, text: Text, columns: &[Column], names: &[Vec<u8>], fields: &[Field<'_>]) -> Result<(), Stop> {
        if fields.is_empty() {
            self.text.extend_from_slice(b"null");
            return Ok(());
        }
        let mut separator = b'{';
        for ((column, name), field) in columns.iter().zip(names).zip(fields) {
            if *field == Field::Absent {
                continue;
            }
            self.text.push(separator);
            separator = b',';
            self.text.extend_from_slice(name);
            self.text.push(b':');
            match *field {
                Field::Value(raw) => self.value(text, column, raw)?,
                Field::Patched(patched) => self.json(|out| text.write_patched(column, &patched, out))?,
                Field::Null | Field::Absent => self.text.extend_from_slice(b"null"),
            }
        }
        if separator == b'{' {
            self.text.push(b'{');
        }
        self.text.push(b'}');
        Ok(())
    }

    /// A JSON document as it is; `write` writes it as the content of a JSON string.
    fn json(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Stop>) -> Result<(), Stop> {
        self.scratch.clear();
        self.scratch.push(b'"');
        write(&mut self.scratch)?;
        self.scratch.push(b'"');
        let plain: String = serde_json::from_slice(&self.scratch)
            .map_err(|error| Stop::new(Cause::Internal, format!("a JSON text of our own: {error}")))?;
        self.text.extend_from_slice(if plain.is_empty() { b"null" } else { plain.as_bytes() });
        Ok(())
    }

    /// A number for what is one in JSON without loss, JSON as it is, else the text that records carry.
    fn value(&mut self, text: Text, column: &Column, raw: &[u8]) -> Result<(), Stop> {
        match &column.kind {
            ColumnType::TinyInt
            | ColumnType::SmallInt
            | ColumnType::MediumInt
            | ColumnType::Int
            | ColumnType::BigInt
            | ColumnType::Float
            | ColumnType::Double
            | ColumnType::Bit { .. } => return text.write(column, raw, &mut self.text),
            ColumnType::Json => return self.json(|out| text.write(column, raw, out)),
            _ => {}
        }
        if unknown_text(column)
            && let Ok(plain) = std::str::from_utf8(raw)
        {
            return serde_json::to_writer(&mut self.text, plain)
                .map_err(|error| Stop::new(Cause::Internal, format!("a text as JSON: {error}")));
        }
        self.text.push(b'"');
        text.write(column, raw, &mut self.text)?;
        self.text.push(b'"');
        Ok(())
    }
}

/// Text whose charset nothing names (MariaDB with `binlog_row_metadata=NO_LOG`): UTF-8 where it can be.
fn unknown_text(column: &Column) -> bool {
    let text = matches!(column.kind, ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. });
    text && column.collation.is_none()
}

impl<W: Write> Output for Rows<W> {
    fn rows(&mut self, at: &At<'_>, mut event: RowsEvent<'_>) -> Result<u64, Halt> {
        let table = event.table.clone();
        let name = serde_json::to_vec(&format!("{}.{}", table.database, table.table)).unwrap_or_default();
        let names: Vec<Vec<u8>> =
            table.columns.iter().map(|c| serde_json::to_vec(&c.name).unwrap_or_default()).collect();
        let operation: &[u8] = match event.kind {
            RowsKind::Insert => b"insert",
            RowsKind::Update => b"update",
            RowsKind::Delete => b"delete",
        };
        let text = Text { canal_quirks: lacks_members(&table), ..Text::default() };
        let place = format!(",\"gtid\":\"{}\",\"position\":\"{}\",\"version\":", at.gtid, at.start);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut count = 0;
        while event.read_row(&mut before, &mut after)? {
            self.text.clear();
            self.text.extend_from_slice(b"{\"table\":");
            self.text.extend_from_slice(&name);
            self.text.extend_from_slice(b",\"op\":\"");
            self.text.extend_from_slice(operation);
            self.text.push(b'"');
            for (key, image) in [(b",\"before\":".as_slice(), &before), (b",\"after\":", &after)] {
                self.text.extend_from_slice(key);
                self.image(text, &table.columns, &names, image)?;
            }
            self.text.extend_from_slice(place.as_bytes());
            match at.version {
                Some(offset) => {
                    let version = Version::new(0, self.epoch, offset + count).ok_or_else(|| {
                        let detail = format!("epoch {} or offset {offset} is out of range", self.epoch);
                        Stop::new(Cause::EpochSpace, detail)
                    })?;
                    self.text.extend_from_slice(version.to_string().as_bytes());
                }
                None => self.text.extend_from_slice(b"null"),
            }
            self.text.push(b'}');
            line(&mut self.out, &[&self.text])?;
            count += 1;
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
