//! How fast binlog events become rows, and rows text, on one core: `cargo bench --profile dev --bench decode`
//! (the `dev` profile is the workspace's optimised one, so that nothing is built twice).
//!
//! Input: a binlog of the order workload recorded from MySQL 9.7, repeated in memory. Bytes are those of the events.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use towpath_engine::binlog::{Decoder, Event, EventHeader, EventType, Field, text};

const ORDERS: &[u8] = include_bytes!("../engine/src/binlog/testdata/orders.binlog");

/// The events as a source delivers them: in a row, checksums cut.
struct Stream {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Stream {
    fn recorded(copies: usize) -> Self {
        let mut stream = Stream { bytes: Vec::new(), ends: Vec::new() };
        for _ in 0..copies {
            let mut rest = &ORDERS[4..];
            while !rest.is_empty() {
                let header = EventHeader::parse(rest).expect("a recorded event");
                let (event, next) = rest.split_at(header.size as usize);
                if header.event_type != EventType::ROTATE {
                    stream.bytes.extend_from_slice(&event[..event.len() - 4]);
                    stream.ends.push(stream.bytes.len());
                }
                rest = next;
            }
        }
        stream
    }

    fn for_each<'s>(&'s self, decoder: &mut Decoder, mut on: impl FnMut(Event<'s>)) {
        let mut start = 0;
        for &end in &self.ends {
            on(decoder.decode(&self.bytes[start..end]).expect("a recorded event"));
            start = end;
        }
    }
}

fn decode(criterion: &mut Criterion) {
    let stream = Stream::recorded(100);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(stream.bytes.len() as u64));
    group.bench_function("rows", |bencher| {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        bencher.iter(|| {
            let mut rows = 0;
            stream.for_each(&mut Decoder::new(|_, _| true), |event| {
                let Event::Rows(mut event) = event else { return };
                while event.read_row(&mut before, &mut after).expect("a recorded row") {
                    rows += 1;
                    black_box((&before, &after));
                }
            });
            rows
        });
    });
    group.bench_function("text", |bencher| {
        let (mut before, mut after, mut out) = (Vec::new(), Vec::new(), Vec::new());
        bencher.iter(|| {
            stream.for_each(&mut Decoder::new(|_, _| true), |event| {
                let Event::Rows(mut event) = event else { return };
                let table = event.table.clone();
                while event.read_row(&mut before, &mut after).expect("a recorded row") {
                    out.clear();
                    for (column, field) in table.columns.iter().zip(&after) {
                        if let Field::Value(raw) = field {
                            text::write_text(column, raw, &mut out).expect("a recorded value");
                        }
                    }
                    black_box(&out);
                }
            });
        });
    });
    group.bench_function("filtered", |bencher| {
        bencher.iter(|| stream.for_each(&mut Decoder::new(|_, _| false), |event| drop(black_box(event))));
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
