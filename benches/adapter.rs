//! How fast records become bulk operations, on one core: `cargo bench --profile dev --bench adapter`.
//! (the `dev` profile is the workspace's optimised one, so that nothing is built twice).
//!
//! Input: records of 25 orders each, 12 columns, as the deployer writes them. Everything of the adapter is in it but
//! the ports: reading, condition, document, folding, offsets. Every request is answered at once.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use tokio::time::Instant;
use towpath_engine::adapter::flow::{Effect, Flow, StartAt};
use towpath_engine::adapter::{AdapterConfig, SinkConfig, SinkMetrics};
use towpath_engine::env::Rng;
use towpath_engine::metrics::Registry;
use towpath_engine::ports::index::ItemResult;
use towpath_engine::ports::log::ConsumedRecord;

const RECORDS: u64 = 400;
const ROWS: u64 = 25;

fn order(id: u64) -> String {
    format!(
        r#"{{"order_id":"{id}","merchant_id":"{}","store_id":"17","user_id":"88005553535","status":"{}",
        "order_type":"2","amount":"{}.90","remark":"ring the bell twice","address":"{{\"city\":\"Kiel\",\"street\":\"Holtenauer 7\"}}",
        "prompt_flag":"1","created_at":"2026-11-23 07:00:00.123","updated_at":"2026-11-23 07:00:01.456"}}"#,
        id % 1000,
        1 + id % 2,
        id % 100
    )
}

/// Inserts, or updates of status, of `ROWS` orders a record.
fn records(updates: bool) -> Vec<ConsumedRecord> {
    let record = |number: u64| {
        let rows: Vec<String> = (0..ROWS).map(|row| order(number * ROWS + row)).collect();
        let old =
            if updates { format!("[{}]", vec![r#"{"status":"9"}"#; ROWS as usize].join(",")) } else { "null".into() };
        let kind = if updates { "UPDATE" } else { "INSERT" };
        let value = format!(
            r#"{{"data":[{}],"database":"orders","es":1763881200000,"gtid":"","id":1,"isDdl":false,"mysqlType":{{
            "order_id":"bigint(20)","merchant_id":"bigint(20)","store_id":"int(11)","user_id":"bigint(20)","status":
            "tinyint(4)","order_type":"smallint(6)","amount":"decimal(12,2)","remark":"varchar(200)","address":"json",
            "prompt_flag":"tinyint(4)","created_at":"datetime(3)","updated_at":"timestamp(3)"}},"old":{old},
            "pkNames":["order_id"],"sql":"","sqlType":null,"table":"order_main","ts":1763881200100,"type":"{kind}"}}"#,
            rows.join(",")
        );
        let headers = [
            ("towpath-epoch", "1".to_owned()),
            ("towpath-term", "1".to_owned()),
            ("towpath-pipeline", "orders".to_owned()),
            ("towpath-offset", (number * 10_000).to_string()),
            ("towpath-rows", format!("0-{}", ROWS - 1)),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
        let value = Some(value.into_bytes());
        ConsumedRecord { partition: 0, offset: number as i64, key: None, value, headers, timestamp_ms: 0 }
    };
    (0..RECORDS).map(record).collect()
}

fn flow() -> Flow {
    let mut config = AdapterConfig::new("orders", "orders");
    let mut sink = SinkConfig::new("remind", "remind", "orders.order_main", "orders");
    sink.when = Some("row.prompt_flag == 1 && row.status in [1, 2]".into());
    config.sinks.push(sink.clone());
    let metrics = SinkMetrics::register(&Registry::default(), "orders", "remind");
    let mut flow = Flow::new(&config, Arc::new(sink), Some(1), metrics, Rng::new(1));
    flow.on_assigned(0, StartAt { offset: 0, term: 0, commit: false }, "topic");
    flow
}

/// Takes all records through; returns how many documents were sent.
fn run(mut flow: Flow, records: Vec<ConsumedRecord>) -> usize {
    let mut sent = 0;
    let mut now = Instant::now();
    let mut records = records.into_iter();
    loop {
        let batch: Vec<ConsumedRecord> = records.by_ref().take(40).collect();
        let last = batch.is_empty();
        flow.on_records(batch, now);
        now += std::time::Duration::from_millis(if last { 100 } else { 1 });
        for effect in flow.effects(now) {
            let Effect::Send { lane, operations } = effect else { continue };
            sent += operations.len();
            let applied = ItemResult { status: 201, error_type: None, reason: None };
            flow.on_bulk(lane, Ok(vec![applied; operations.len()]), now);
        }
        if last && flow.buffered() == 0 {
            assert_eq!(flow.commits()[&0].offset, RECORDS as i64);
            return sent;
        }
    }
}

fn adapter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("adapter");
    group.throughput(Throughput::Elements(RECORDS * ROWS));
    for (name, updates) in [("inserts", false), ("updates", true)] {
        let records = records(updates);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (flow(), records.clone()),
                |(flow, records)| run(flow, records),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, adapter);
criterion_main!(benches);
