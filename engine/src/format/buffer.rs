//! Records on their way to the log: one arena of bytes, used again and again, and where each record lies in it.
//!
//! Must not know a format, nor how records are delivered.

use std::ops::Range;

use super::headers::{self, ControlKind, HeaderFields};

/// Records in the order in which they must be produced. Appending never allocates once the arena has grown.
#[derive(Debug, Default)]
pub struct RecordBuffer {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    dead: Vec<DeadRow>,
}

/// Where a record's parts lie in the arena. Empty header ranges are headers that the record does not have.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub partition: u32,
    pub rows: u32,
    pub key: Option<Range<usize>>,
    pub value: Range<usize>,
    /// Aligned with [`NAMES`].
    pub headers: [Range<usize>; NAMES.len()],
}

/// The headers in the order in which records carry them; indexes are those of [`Entry::headers`].
pub(super) const NAMES: [&str; headers::MAX_HEADERS] = [
    headers::CONTROL,
    headers::EPOCH,
    headers::OFFSET,
    headers::ROWS,
    headers::TERM,
    headers::GTID,
    headers::COPY,
    headers::PIPELINE,
    headers::SERVER,
    headers::READ,
    headers::PARTIAL,
];

/// Bytes counted for the names and lengths of a record's headers and its frame, above what they hold.
pub(super) const FRAME: usize = 200;

/// A single row whose record would exceed the limit: a dead letter with cause `row-too-large`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadRow {
    /// The partition it would have gone to.
    pub partition: u32,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The text of its primary key, as `record = "row"` would use it; as long as it is shorter than 1 KiB.
    pub key: String,
    /// Its index in its event.
    pub row: u32,
    /// The version offset: its event's first byte plus its index.
    pub offset: u64,
    /// The size its record would have, bytes.
    pub bytes: usize,
}

/// One record of a buffer.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// The partition it goes to.
    pub partition: u32,
    /// The key; `None` for Canal's records.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: &'a [u8],
    /// How many rows it carries; 0 for control records.
    pub rows: u32,
    /// The headers; `as_slice` fits [`crate::ports::log::Record::headers`].
    pub headers: HeaderFields<'a>,
}

impl RecordBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.dead.clear();
    }

    /// Keeps the first `len` records; the bytes of the others are given back if nothing follows them.
    pub fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
        if len == 0 {
            self.bytes.clear();
        }
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no record (there may be dead rows).
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes held: what counts against the budget.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// A record by its place.
    pub fn get(&self, place: usize) -> Option<RecordView<'_>> {
        let entry = self.entries.get(place)?;
        let mut fields = HeaderFields::new();
        for (name, range) in NAMES.iter().zip(&entry.headers) {
            if !range.is_empty() {
                fields.push(name, &self.bytes[range.clone()]);
            }
        }
        Some(RecordView {
            partition: entry.partition,
            key: entry.key.clone().map(|key| &self.bytes[key]),
            value: &self.bytes[entry.value.clone()],
            rows: entry.rows,
            headers: fields,
        })
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordView<'_>> + '_ {
        (0..self.len()).filter_map(|place| self.get(place))
    }

    /// Rows that no record could take, in order.
    pub fn dead(&self) -> &[DeadRow] {
        &self.dead
    }

    /// Where it ends now, for [`RecordBuffer::rewind`].
    pub(super) fn mark(&self) -> (usize, usize, usize) {
        (self.bytes.len(), self.entries.len(), self.dead.len())
    }

    /// Takes back all that was appended since the mark.
    pub(super) fn rewind(&mut self, (bytes, entries, dead): (usize, usize, usize)) {
        self.bytes.truncate(bytes);
        self.entries.truncate(entries);
        self.dead.truncate(dead);
    }

    pub(super) fn push_dead(&mut self, row: DeadRow) {
        self.dead.push(row);
    }

    /// Appends text and returns where it lies.
    pub(super) fn text(&mut self, text: &str) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text.as_bytes());
        start..self.bytes.len()
    }

    /// Appends a number in decimal and returns where it lies.
    pub(super) fn number(&mut self, number: u64) -> Range<usize> {
        let mut digits = itoa::Buffer::new();
        self.text(digits.format(number))
    }
}

/// What a control record says beside its kind.
#[derive(Debug, Clone)]
pub struct ControlContext<'a> {
    /// The epoch in which it is written.
    pub epoch: u16,
    /// The writer's term.
    pub term: u64,
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The identity of the server being read; empty if unknown.
    pub server: &'a str,
    /// Wall clock, milliseconds since the epoch.
    pub ts_ms: u64,
}

/// Appends a control record: to a plain Canal consumer a statement that was logged beside rows, which it passes over.
pub fn write_control(kind: &ControlKind, context: &ControlContext<'_>, partition: u32, out: &mut RecordBuffer) {
    let mut entry = Entry { partition, ..Entry::default() };
    for (place, text) in [(0, kind.as_str()), (7, context.pipeline), (8, context.server)] {
        entry.headers[place] = out.text(text);
    }
    entry.headers[1] = out.number(u64::from(context.epoch));
    entry.headers[4] = out.number(context.term);
    let start = out.bytes.len();
    out.text(r#"{"data":null,"database":"","es":"#);
    out.number(context.ts_ms);
    out.text(r#","gtid":"","id":0,"isDdl":false,"mysqlType":null,"old":null,"pkNames":null,"sql":"","sqlType":null,"#);
    out.text(r#""table":"","ts":"#);
    out.number(context.ts_ms);
    out.text(r#","type":"QUERY"}"#);
    entry.value = start..out.bytes.len();
    out.entries.push(entry);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::format::{Headers, Incoming, Reader};
    use crate::ports::log::ConsumedRecord;

    /// What a consumer gets of a record.
    pub(in crate::format) fn consumed(view: &RecordView<'_>, offset: i64) -> ConsumedRecord {
        let headers = view.headers.as_slice().iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        ConsumedRecord {
            partition: view.partition,
            offset,
            key: view.key.map(<[u8]>::to_vec),
            value: Some(view.value.to_vec()),
            headers: headers.collect(),
            timestamp_ms: 0,
        }
    }

    #[test]
    fn a_fence_is_read_back_and_looks_like_canals_query() {
        let mut out = RecordBuffer::new();
        let context = ControlContext { epoch: 3, term: 99, pipeline: "orders", server: "", ts_ms: 17 };
        write_control(&ControlKind::Fence, &context, 5, &mut out);
        write_control(&ControlKind::Epoch, &context, 6, &mut out);
        assert_eq!(out.len(), 2);
        let view = out.get(0).unwrap();
        assert_eq!((view.partition, view.rows, view.key), (5, 0, None));
        let record = consumed(&view, 0);
        let Ok(Incoming::Control(control)) = Reader::new().read(&record) else { panic!("not a control record") };
        assert_eq!((control.kind, control.epoch, control.term), (ControlKind::Fence, 3, 99));
        assert_eq!(control.pipeline, "orders");
        let Ok(Headers::Control(second)) = Headers::parse(&consumed(&out.get(1).unwrap(), 0)) else { panic!("no") };
        assert_eq!(second.kind, ControlKind::Epoch);
        // What a Canal consumer looks at, with its keys in Canal's order.
        let message: serde_json::Value = serde_json::from_slice(view.value).unwrap();
        let keys: Vec<_> = message.as_object().unwrap().keys().map(String::as_str).collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        assert_eq!(keys, sorted);
        assert_eq!(keys.len(), 14);
        assert_eq!(message["type"], "QUERY");
        assert_eq!((&message["isDdl"], &message["data"]), (&false.into(), &serde_json::Value::Null));
        assert_eq!((&message["database"], &message["table"]), (&"".into(), &"".into()));
    }
}
