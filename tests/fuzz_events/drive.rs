//! Takes bytes through all that reads a binlog: files, packed events, decoding, counting, values' texts, records.
//!
//! Panics where a reader must not go: more rows than bytes, more events than bytes. Must not judge what is refused.

use bytes::Bytes;
use towpath_engine::binlog::file::FileReader;
use towpath_engine::binlog::text::Text;
use towpath_engine::binlog::unpack::Unpacker;
use towpath_engine::binlog::{Decoder, Event, EventHeader, Field, GeometryText, HEADER_LEN, RowsEvent, XaStatement};
use towpath_engine::deployer::count::Counter;
use towpath_engine::format::{EventContext, FlatConfig, FlatWriter, RecordBuffer, RecordFormat, RecordMode};
use towpath_engine::ports::source::EventBatch;
use towpath_engine::routing::{PartitionBy, Router};

/// What came of it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    /// Events decoded.
    pub events: u64,
    /// Rows read.
    pub rows: u64,
    /// Events, rows and values refused.
    pub refused: u64,
}

/// Every form that a value's text has.
const TEXTS: [Text; 3] = [
    Text { canal_quirks: false, geometry: GeometryText::GeoJson },
    Text { canal_quirks: false, geometry: GeometryText::Wkt },
    Text { canal_quirks: true, geometry: GeometryText::Hex },
];

/// The events of a stream, as a source gives them. With `records` the rows become records too.
pub fn stream(events: &[Vec<u8>], records: bool) -> Seen {
    let mut seen = Seen::default();
    let mut decoder = Decoder::new(|_, _| true).naming_by_place();
    let mut counter = Counter::new(0);
    let mut writer = records.then(|| {
        FlatWriter::new(FlatConfig {
            pipeline: String::new(),
            router: Router::new(PartitionBy::PrimaryKey, 4),
            mode: RecordMode::Event,
            canal_quirks: false,
            geometry: GeometryText::GeoJson,
            max_record_bytes: 64 << 10,
        })
    });
    for raw in events {
        let mut unpacker = Unpacker::default();
        let ends = vec![raw.len() as u32];
        unpacker.push(EventBatch { bytes: Bytes::copy_from_slice(raw), ends, checksummed: false });
        loop {
            match unpacker.next() {
                Ok(Some(batch)) => {
                    assert!(!batch.ends.is_empty(), "a batch without events");
                    batch
                        .events()
                        .for_each(|plain| event(&mut decoder, &mut counter, writer.as_mut(), plain, &mut seen));
                }
                Ok(None) => break,
                Err(_) => {
                    seen.refused += 1;
                    break;
                }
            }
        }
    }
    seen
}

fn event(decoder: &mut Decoder, counter: &mut Counter, writer: Option<&mut FlatWriter>, raw: &[u8], seen: &mut Seen) {
    let (Ok(header), Ok(event)) = (EventHeader::parse(raw), decoder.decode(raw)) else {
        seen.refused += 1;
        return;
    };
    seen.events += 1;
    seen.refused += u64::from(counter.step(&header, raw, &event).is_err());
    match event {
        Event::Rows(event) => {
            if let Some(writer) = writer {
                seen.refused += u64::from(record(writer, event.clone()).is_err());
            }
            rows(event, raw.len(), seen);
        }
        Event::Query(query) => {
            std::hint::black_box((query.kind(), XaStatement::parse(&query.sql)));
        }
        _ => {}
    }
}

fn rows(mut event: RowsEvent<'_>, bytes: usize, seen: &mut Seen) {
    let table = event.table.clone();
    let (mut before, mut after, mut text) = (Vec::new(), Vec::new(), Vec::new());
    let mut count = 0;
    loop {
        match event.read_row(&mut before, &mut after) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => {
                seen.refused += 1;
                break;
            }
        }
        count += 1;
        assert!(count <= bytes, "{count} rows from {bytes} bytes");
        for (column, field) in table.columns.iter().zip(before.iter()).chain(table.columns.iter().zip(after.iter())) {
            for form in &TEXTS {
                text.clear();
                let written = match field {
                    Field::Value(raw) => form.write(column, raw, &mut text),
                    Field::Patched(patched) => form.write_patched(column, patched, &mut text),
                    Field::Null | Field::Absent => Ok(()),
                };
                seen.refused += u64::from(written.is_err());
                if written.is_ok() {
                    assert!(std::str::from_utf8(&text).is_ok(), "a text that is not UTF-8: {text:x?}");
                }
            }
        }
    }
    seen.rows += count as u64;
}

fn record(writer: &mut FlatWriter, event: RowsEvent<'_>) -> Result<(), towpath_engine::cause::Stop> {
    let context =
        EventContext { epoch: 1, offset: 4, term: 1, gtid: "", server: "", executed: "", id: 1, es_ms: 0, ts_ms: 0 };
    let mut buffer = RecordBuffer::new();
    writer.write(event, &context, &mut buffer)?;
    for record in buffer.iter() {
        assert!(std::str::from_utf8(record.value).is_ok(), "a record that is not UTF-8");
    }
    Ok(())
}

/// A file's bytes, read in pieces.
pub fn file(bytes: &[u8], piece: usize) -> Seen {
    let mut seen = Seen::default();
    let mut reader = FileReader::new();
    for part in bytes.chunks(piece.max(1)) {
        reader.push(part);
        loop {
            match reader.next_event() {
                Ok(Some(event)) => {
                    assert!(event.offset + event.raw.len() as u64 <= bytes.len() as u64, "an event beyond the file");
                    seen.events += 1;
                }
                Ok(None) => break,
                Err(_) => {
                    seen.refused += 1;
                    return seen;
                }
            }
            assert!(seen.events <= (bytes.len() / HEADER_LEN) as u64 + 1, "{} events", seen.events);
        }
    }
    seen.refused += u64::from(reader.finish().is_err());
    seen
}
