//! `EventLog` on Kafka.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use towpath_connectors::{KafkaConfig, KafkaLog, Secret};
use towpath_engine::ports::log::{
    Committed, ConsumedRecord, ConsumerEvent, Delivery, EventLog, LogConsumer, LogError, LogProducer, ProducerMode,
    Record,
};
use towpath_stack::Stack;

use crate::services::{answering, run, soon, stack, unique};

const WAIT: Duration = Duration::from_millis(200);

fn log(stack: &Stack) -> KafkaLog {
    log_with(stack, &[])
}

fn log_with(stack: &Stack, properties: &[(&str, &str)]) -> KafkaLog {
    let properties = properties.iter().map(|(name, value)| (name.to_string(), Secret::new(*value))).collect();
    let brokers = stack.kafka().unwrap().bootstrap();
    KafkaLog::new(KafkaConfig { brokers, properties, ..KafkaConfig::default() }).unwrap()
}

fn record<'a>(partition: u32, value: &'a [u8], tag: u64) -> Record<'a> {
    Record { partition, key: None, value, headers: &[], timestamp_ms: 1_700_000_000_000, tag }
}

async fn delivered(producer: &mut Box<dyn LogProducer>, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        soon("a delivery", producer.deliveries(&mut all)).await.unwrap();
    }
    all
}

async fn write(log: &KafkaLog, topic: &str, partition: u32, values: &[&str]) {
    let mut producer = log.producer(topic, ProducerMode::Idempotent, "").await.unwrap();
    for (tag, value) in values.iter().enumerate() {
        producer.produce(&record(partition, value.as_bytes(), tag as u64)).unwrap();
    }
    producer.commit().await.unwrap();
}

fn values(records: &[ConsumedRecord]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()).collect()
}

async fn tail(log: &KafkaLog, topic: &str) -> (Vec<ConsumedRecord>, i64) {
    let end = log.topic(topic).await.unwrap().watermarks[0].1;
    log.read(topic, 0, 0, end, usize::MAX).await.unwrap()
}

/// What is visible once the log has grown to `end`: the broker answers a commit or an abort before it writes the
/// markers.
async fn tail_of(log: &KafkaLog, topic: &str, end: i64) -> Vec<ConsumedRecord> {
    soon("the last marker", async {
        loop {
            let (records, next) = tail(log, topic).await;
            assert!(next <= end, "{next}: nothing but what nobody may see is left before {end}");
            if next == end {
                return records;
            }
        }
    })
    .await
}

#[test]
fn topics_are_made_with_their_partitions_or_missed_by_name() {
    run(async {
        let stack = stack().await;
        let log = log(&stack);
        let topic = unique("topics");
        for missed in [
            log.topic(&topic).await.map(drop),
            log.producer(&topic, ProducerMode::Idempotent, "").await.map(drop),
            log.consumer(&topic, "g").await.map(drop),
        ] {
            let err = missed.unwrap_err();
            assert!(matches!(&err, LogError::Topic(text) if text.contains(&topic)), "{err:?}");
        }
        assert_eq!(log.ensure_topic(&topic, 3).await.unwrap().partitions(), 3);
        assert_eq!(log.ensure_topic(&topic, 5).await.unwrap().partitions(), 3, "an existing topic stays as it is");
        write(&log, &topic, 1, &["a", "b"]).await;
        assert_eq!(log.topic(&topic).await.unwrap().watermarks, [(0, 0), (0, 2), (0, 0)]);
        let err = log.ensure_topic("not/a/topic", 1).await.unwrap_err();
        assert!(matches!(err, LogError::Topic(_)), "{err:?}");
    });
}

#[test]
fn records_arrive_once_in_order_and_whole() {
    run(async {
        let stack = stack().await;
        let log = log(&stack);
        let topic = unique("records");
        log.ensure_topic(&topic, 2).await.unwrap();
        let mut producer = log.producer(&topic, ProducerMode::Idempotent, "").await.unwrap();
        producer.begin().await.unwrap();
        let headers: [(&str, &[u8]); 2] = [("towpath-epoch", b"1"), ("gtid", b"\x00\xff")];
        for tag in 0..10_000u64 {
            let value = format!("value {tag}");
            let keyed =
                Record { key: Some(b"key"), headers: &headers, ..record((tag % 2) as u32, value.as_bytes(), tag) };
            producer.produce(&keyed).unwrap();
        }
        let deliveries = delivered(&mut producer, 10_000).await;
        producer.commit().await.unwrap();
        let mut next = [0i64; 2];
        for delivery in &deliveries {
            let (partition, offset) = *delivery.result.as_ref().unwrap();
            assert_eq!(u64::from(partition), delivery.tag % 2);
            assert_eq!(offset, delivery.tag as i64 / 2, "order within the partition");
            next[partition as usize] += 1;
        }
        assert_eq!(next, [5000, 5000]);
        let (records, end) = log.read(&topic, 1, 4_990, 5_000, 4).await.unwrap();
        assert_eq!((values(&records), end), (vec!["value 9981", "value 9983", "value 9985", "value 9987"], 4_994));
        let first = &records[0];
        assert_eq!(
            (first.key.as_deref(), first.offset, first.timestamp_ms),
            (Some(&b"key"[..]), 4_990, 1_700_000_000_000)
        );
        assert_eq!((first.header("gtid"), first.headers.len()), (Some(&b"\x00\xff"[..]), 2));
        assert_eq!(log.read(&topic, 1, 5_000, 5_000, 4).await.unwrap(), (vec![], 5_000));
    });
}

#[test]
fn only_committed_transactions_are_read() {
    run(async {
        let stack = stack().await;
        let log = log(&stack);
        let topic = unique("transactions");
        log.ensure_topic(&topic, 1).await.unwrap();
        let mut producer = log.producer(&topic, ProducerMode::Transactional, &topic).await.unwrap();
        for (value, commits) in [("kept", true), ("dropped", false), ("kept too", true), ("gone", false)] {
            producer.begin().await.unwrap();
            producer.produce(&record(0, value.as_bytes(), 0)).unwrap();
            let deliveries = delivered(&mut producer, 1).await;
            assert!(deliveries[0].result.is_ok());
            if commits { producer.commit().await.unwrap() } else { producer.abort().await.unwrap() }
        }
        let records = tail_of(&log, &topic, 8).await; // four records, four markers
        assert_eq!(values(&records), ["kept", "kept too"]);
        // An open transaction: what lies behind its start is not decided.
        producer.begin().await.unwrap();
        producer.produce(&record(0, b"open", 0)).unwrap();
        delivered(&mut producer, 1).await;
        let (records, next) = log.read(&topic, 0, 8, 9, 10).await.unwrap();
        assert_eq!((records.len(), next), (0, 8));
    });
}

#[test]
fn a_newer_producer_fences_the_older() {
    run(async {
        let stack = stack().await;
        let log = log(&stack);
        let topic = unique("fencing");
        log.ensure_topic(&topic, 1).await.unwrap();
        let mut old = log.producer(&topic, ProducerMode::Transactional, &topic).await.unwrap();
        old.begin().await.unwrap();
        old.produce(&record(0, b"from the old", 0)).unwrap();
        delivered(&mut old, 1).await;
        let mut new = log.producer(&topic, ProducerMode::Transactional, &topic).await.unwrap();
        let err = soon("the old one's commit", old.commit()).await.unwrap_err();
        assert!(matches!(err, LogError::Fenced(_)), "{err:?}");
        assert!(matches!(old.begin().await.unwrap_err(), LogError::Fenced(_)));
        new.begin().await.unwrap();
        new.produce(&record(0, b"from the new", 0)).unwrap();
        new.commit().await.unwrap();
        assert_eq!(values(&tail_of(&log, &topic, 4).await), ["from the new"]); // two records, two markers
    });
}

#[test]
fn what_is_purged_is_told_and_ends_the_producer() {
    run(async {
        let stack = stack().await;
        // With a long linger the record is still in the queue when it is purged.
        let log = log_with(&stack, &[("linger.ms", "60000")]);
        let topic = unique("purge");
        log.ensure_topic(&topic, 1).await.unwrap();
        let mut producer = log.producer(&topic, ProducerMode::Idempotent, "").await.unwrap();
        producer.produce(&record(0, b"late", 7)).unwrap();
        producer.purge().await;
        let deliveries = delivered(&mut producer, 1).await;
        assert!(deliveries[0].tag == 7 && deliveries[0].result.is_err(), "{deliveries:?}");
        assert!(matches!(producer.produce(&record(0, b"more", 8)), Err(LogError::Failed(_))));
        let waiting = soon("the end of waiting", producer.deliveries(&mut Vec::new())).await;
        assert!(matches!(waiting, Err(LogError::Failed(_))), "{waiting:?}");
        drop(producer);
        // Dropping is purging too.
        let mut dropped = log.producer(&topic, ProducerMode::Idempotent, "").await.unwrap();
        dropped.produce(&record(0, b"dropped", 9)).unwrap();
        drop(dropped);
        write(&log_with(&stack, &[]), &topic, 0, &["after"]).await;
        assert_eq!(values(&tail(&log, &topic).await.0), ["after"]);
    });
}

#[test]
fn sizes_and_queues_have_limits() {
    run(async {
        let stack = stack().await;
        let log = log_with(&stack, &[("queue.buffering.max.messages", "10"), ("linger.ms", "500")]);
        let topic = unique("limits");
        log.ensure_topic(&topic, 1).await.unwrap();
        let mut producer = log.producer(&topic, ProducerMode::Idempotent, "").await.unwrap();
        let large = vec![b'x'; 2_000_000];
        assert!(matches!(producer.produce(&record(0, &large, 0)), Err(LogError::TooLarge(_))));
        let full =
            (0..50).map(|tag| producer.produce(&record(0, b"v", tag))).filter(Result::is_err).collect::<Vec<_>>();
        assert!(!full.is_empty() && full.iter().all(|err| matches!(err, Err(LogError::QueueFull))), "{full:?}");
        let taken = 50 - full.len();
        assert_eq!(delivered(&mut producer, taken).await.len(), taken);
        // The client frees a place when it is done with the whole batch of reports, shortly after the last one.
        soon("a free place", async {
            while let Err(err) = producer.produce(&record(0, b"again", 99)) {
                assert!(matches!(err, LogError::QueueFull), "{err:?}");
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(delivered(&mut producer, 1).await[0].tag, 99);
    });
}

/// The next event that is not just silence.
async fn event(consumer: &mut Box<dyn LogConsumer>) -> ConsumerEvent {
    soon("an event of the group", async {
        loop {
            if let Some(event) = consumer.next(WAIT).await.unwrap() {
                return event;
            }
        }
    })
    .await
}

async fn assigned(consumer: &mut Box<dyn LogConsumer>) -> BTreeMap<u32, Option<Committed>> {
    match event(consumer).await {
        ConsumerEvent::Assigned(partitions) => partitions,
        other => panic!("not an assignment: {other:?}"),
    }
}

async fn consume(consumer: &mut Box<dyn LogConsumer>, count: usize) -> Vec<ConsumedRecord> {
    let mut records = Vec::new();
    while records.len() < count {
        match event(consumer).await {
            ConsumerEvent::Records(more) => records.extend(more),
            other => panic!("not records: {other:?}"),
        }
    }
    records
}

fn at(offset: i64, metadata: &str) -> Committed {
    Committed { offset, metadata: metadata.into() }
}

#[test]
fn nothing_is_read_before_the_start_and_offsets_keep_their_texts() {
    run(async {
        let stack = stack().await;
        let log = log(&stack);
        let (topic, group) = (unique("offsets"), unique("group"));
        log.ensure_topic(&topic, 2).await.unwrap();
        write(&log, &topic, 0, &["a", "b", "c", "d"]).await;
        let mut consumer = log.consumer(&topic, &group).await.unwrap();
        assert_eq!(assigned(&mut consumer).await, BTreeMap::from([(0, None), (1, None)]));
        assert!(consumer.next(Duration::from_millis(700)).await.unwrap().is_none(), "nothing was started");
        consumer.start(0, 1).await.unwrap();
        consumer.start(1, 0).await.unwrap();
        assert_eq!(values(&consume(&mut consumer, 3).await), ["b", "c", "d"]);
        let places = BTreeMap::from([(0, at(3, "term 17")), (1, at(0, ""))]);
        assert!(consumer.commit(&places).await.unwrap());
        assert_eq!(consumer.watermarks(0).await.unwrap(), (0, 4));
        // Back to an earlier place, paused and resumed.
        consumer.start(0, 2).await.unwrap();
        assert_eq!(values(&consume(&mut consumer, 2).await), ["c", "d"]);
        consumer.pause(&[0]).await.unwrap();
        write(&log, &topic, 0, &["e"]).await;
        assert!(consumer.next(Duration::from_millis(700)).await.unwrap().is_none(), "paused");
        consumer.resume(&[0]).await.unwrap();
        assert_eq!(values(&consume(&mut consumer, 1).await), ["e"]);
        consumer.close().await;
        let mut again = log.consumer(&topic, &group).await.unwrap();
        assert_eq!(assigned(&mut again).await, BTreeMap::from([(0, Some(at(3, "term 17"))), (1, Some(at(0, "")))]));
        again.close().await;
    });
}

#[test]
fn partitions_change_hands_only_after_their_release() {
    run(async {
        let stack = stack().await;
        let log = log(&stack);
        let (topic, group) = (unique("hands"), unique("group"));
        log.ensure_topic(&topic, 2).await.unwrap();
        write(&log, &topic, 0, &["a"]).await;
        write(&log, &topic, 1, &["b"]).await;
        let mut first = log.consumer(&topic, &group).await.unwrap();
        for partition in assigned(&mut first).await.into_keys() {
            first.start(partition, 0).await.unwrap();
        }
        consume(&mut first, 2).await;
        let mut second = log.consumer(&topic, &group).await.unwrap();
        let given = soon("a revocation", async {
            loop {
                assert!(second.next(WAIT).await.unwrap().is_none_or(|event| is_empty_assignment(&event)));
                match first.next(WAIT).await.unwrap() {
                    Some(ConsumerEvent::Revoked(partitions)) => return partitions,
                    Some(event) => assert!(is_empty_assignment(&event), "{event:?}"),
                    None => {}
                }
            }
        })
        .await;
        assert_eq!(given.len(), 1, "cooperative: only what the other gets");
        let partition = given[0];
        // The group waits for the release; in the meantime the first member can still commit.
        for _ in 0..5 {
            assert!(second.next(WAIT).await.unwrap().is_none_or(|event| is_empty_assignment(&event)));
            assert!(first.next(Duration::ZERO).await.unwrap().is_none());
        }
        assert!(first.commit(&BTreeMap::from([(partition, at(1, "handed over"))])).await.unwrap());
        first.release(&given).await.unwrap();
        let got = soon("the other's assignment", async {
            loop {
                let event = first.next(Duration::from_millis(20)).await.unwrap();
                assert!(event.as_ref().is_none_or(is_empty_assignment), "{event:?}");
                match second.next(WAIT).await.unwrap() {
                    Some(ConsumerEvent::Assigned(partitions)) if !partitions.is_empty() => return partitions,
                    _ => {}
                }
            }
        })
        .await;
        assert_eq!(got, BTreeMap::from([(partition, Some(at(1, "handed over")))]));
        // What stayed goes on; what went is the other's.
        second.start(partition, 1).await.unwrap();
        write(&log, &topic, partition, &["for the second"]).await;
        write(&log, &topic, 1 - partition, &["for the first"]).await;
        assert_eq!(
            values(&soon("records", records(&mut first, &mut second)).await),
            ["for the first", "for the second"]
        );
        first.close().await;
        second.close().await;
    });
}

fn is_empty_assignment(event: &ConsumerEvent) -> bool {
    matches!(event, ConsumerEvent::Assigned(partitions) if partitions.is_empty())
}

/// One record of each member, the first member's first.
async fn records(first: &mut Box<dyn LogConsumer>, second: &mut Box<dyn LogConsumer>) -> Vec<ConsumedRecord> {
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    while of_first.is_empty() || of_second.is_empty() {
        if let Some(ConsumerEvent::Records(records)) = first.next(WAIT).await.unwrap() {
            of_first.extend(records);
        }
        if let Some(ConsumerEvent::Records(records)) = second.next(WAIT).await.unwrap() {
            of_second.extend(records);
        }
    }
    of_first.extend(of_second);
    of_first
}

#[test]
fn a_member_that_was_given_up_commits_nothing_and_hears_of_it() {
    run(async {
        let stack = stack().await;
        let log = log_with(&stack, &[("session.timeout.ms", "6000"), ("max.poll.interval.ms", "6000")]);
        let (topic, group) = (unique("lost"), unique("group"));
        log.ensure_topic(&topic, 1).await.unwrap();
        let mut slow = log.consumer(&topic, &group).await.unwrap();
        for partition in assigned(&mut slow).await.into_keys() {
            slow.start(partition, 0).await.unwrap();
        }
        assert!(slow.commit(&BTreeMap::from([(0, at(0, ""))])).await.unwrap());
        // It is not asked for events any more: after max.poll.interval.ms the group goes on without it.
        let mut other = log.consumer(&topic, &group).await.unwrap();
        let got = soon("the partition's new owner", async {
            loop {
                match other.next(WAIT).await.unwrap() {
                    Some(ConsumerEvent::Assigned(partitions)) if !partitions.is_empty() => return partitions,
                    _ => {}
                }
            }
        })
        .await;
        assert_eq!(got, BTreeMap::from([(0, Some(at(0, "")))]));
        assert!(!slow.commit(&BTreeMap::from([(0, at(5, "void"))])).await.unwrap(), "refused");
        let lost = soon("the loss", async {
            loop {
                if let Some(ConsumerEvent::Lost(partitions)) = slow.next(WAIT).await.unwrap() {
                    return partitions;
                }
            }
        })
        .await;
        assert_eq!(lost, [0]);
        slow.close().await;
        other.close().await;
    });
}

#[test]
fn an_offset_outside_the_log_is_an_error_not_a_jump() {
    run(async {
        let stack = stack().await;
        let log = log(&stack);
        let topic = unique("range");
        log.ensure_topic(&topic, 1).await.unwrap();
        write(&log, &topic, 0, &["a"]).await;
        let mut consumer = log.consumer(&topic, &unique("group")).await.unwrap();
        assigned(&mut consumer).await;
        consumer.start(0, 1_000).await.unwrap();
        let err = soon("the refusal", async {
            loop {
                match consumer.next(WAIT).await {
                    Ok(None) => {}
                    Ok(Some(event)) => panic!("{event:?}"),
                    Err(err) => return err,
                }
            }
        })
        .await;
        assert!(matches!(&err, LogError::OutOfRange(text) if text.contains(&topic)), "{err:?}");
        consumer.close().await;
    });
}

#[test]
fn waiting_is_cheap() {
    run(async {
        let stack = stack().await;
        let log = log(&stack);
        let topic = unique("idle");
        log.ensure_topic(&topic, 1).await.unwrap();
        let mut consumer = log.consumer(&topic, &unique("group")).await.unwrap();
        assigned(&mut consumer).await;
        consumer.start(0, 0).await.unwrap();
        let mut producer = log.producer(&topic, ProducerMode::Idempotent, "").await.unwrap();
        // A wait is woken by the record, not by a look at the clock.
        let reader = tokio::spawn(async move {
            let begun = Instant::now();
            let records = loop {
                if let Some(event) = consumer.next(Duration::from_secs(30)).await.unwrap() {
                    break event;
                }
            };
            consumer.close().await;
            (records, begun.elapsed())
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        producer.produce(&record(0, b"wake up", 1)).unwrap();
        delivered(&mut producer, 1).await;
        let (event, took) = reader.await.unwrap();
        assert!(matches!(event, ConsumerEvent::Records(records) if values(&records) == ["wake up"]));
        assert!(took < Duration::from_secs(10), "{took:?}");
    });
}

#[test]
fn scram_and_tls_are_spoken() {
    run(async {
        let stack = stack().await;
        let sasl = stack.kafka().unwrap().sasl().unwrap();
        let ca = sasl.ca_pem.display().to_string();
        let with = |password: &str, compression: &str| {
            let properties = [
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "SCRAM-SHA-256"),
                ("sasl.username", &sasl.user),
                ("sasl.password", password),
                ("ssl.ca.location", &ca),
            ];
            let properties = properties.iter().map(|(name, value)| (name.to_string(), Secret::new(*value))).collect();
            let (brokers, compression) = (sasl.bootstrap.clone(), compression.to_string());
            let request_timeout = Duration::from_secs(5);
            KafkaLog::new(KafkaConfig { brokers, properties, compression, request_timeout, ..KafkaConfig::default() })
                .unwrap()
        };
        let topic = unique("sasl");
        let log = with(&sasl.password, "zstd");
        log.ensure_topic(&topic, 1).await.unwrap();
        let mut producer = log.producer(&topic, ProducerMode::Transactional, &topic).await.unwrap();
        producer.begin().await.unwrap();
        producer.produce(&record(0, b"secret", 0)).unwrap();
        producer.commit().await.unwrap();
        assert_eq!(values(&tail(&log, &topic).await.0), ["secret"]);
        let err = with("wrong", "lz4").topic(&topic).await.unwrap_err();
        assert!(matches!(err, LogError::Unavailable(_)), "{err:?}");
    });
}

#[test]
fn no_broker_is_unavailable_in_time() {
    run(async {
        for brokers in ["127.0.0.1:1".to_string(), answering(None).await] {
            let request_timeout = Duration::from_millis(800);
            let config = KafkaConfig { brokers: brokers.clone(), request_timeout, ..KafkaConfig::default() };
            let log = KafkaLog::new(config).unwrap();
            let begun = Instant::now();
            for err in [
                log.topic("t").await.unwrap_err(),
                log.producer("t", ProducerMode::Transactional, "t").await.map(drop).unwrap_err(),
                log.read("t", 0, 0, 1, 1).await.map(drop).unwrap_err(),
            ] {
                assert!(matches!(err, LogError::Unavailable(_)), "{err:?}");
            }
            assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        }
    });
}
