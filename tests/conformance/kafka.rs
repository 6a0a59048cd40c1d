//! How a Kafka cluster treats producers and consumers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, timeout};
use towpath_engine::ports::log::{
    Committed, ConsumedRecord, ConsumerEvent, Delivery, LogConsumer, LogError, LogProducer, ProducerMode, Record,
};

use crate::lab::KafkaLab;

crate::bodies! { Kafka:
    "kafka-missing-topic" => missing_topic,
    "kafka-ensure-topic-keeps-count" => ensure_keeps,
    "kafka-topic-made-anew-has-another-id" => made_anew,
    "kafka-offsets-consecutive-in-order" => consecutive,
    "kafka-key-headers-time-come-back" => round_trip,
    "kafka-record-too-large" => too_large,
    "kafka-purged-producer-is-beyond-use" => purged,
    "kafka-commit-marker-takes-an-offset" => marker,
    "kafka-read-committed-hides-open" => hides_open,
    "kafka-read-committed-hides-aborted" => hides_aborted,
    "kafka-open-transaction-holds-back-later" => holds_back,
    "kafka-init-producer-fences" => fences,
    "kafka-init-producer-aborts-open" => init_aborts,
    "kafka-new-group-has-no-offset" => new_group,
    "kafka-nothing-before-start" => nothing_before_start,
    "kafka-committed-offset-and-text-come-back" => comes_back,
    "kafka-fetch-below-start-out-of-range" => below_start,
    "kafka-fetch-beyond-end-out-of-range" => beyond_end,
    "kafka-pause-stops-fetching" => pause,
    "kafka-group-tells-its-members" => members,
    "kafka-rebalance-waits-for-release" => rebalance,
    "kafka-commit-while-revoked-counts" => commit_while_revoked,
    "kafka-stopped-is-unavailable" => stopped,
}

const WAIT: Duration = Duration::from_secs(30);

fn record(partition: u32, value: &[u8], tag: u64) -> Record<'_> {
    Record { partition, key: None, value, headers: &[], timestamp_ms: 1_795_420_000_000, tag }
}

async fn topic(lab: &dyn KafkaLab, partitions: u32) -> Result<String> {
    let name = lab.fresh();
    let info = lab.log().ensure_topic(&name, partitions).await?;
    ensure!(info.partitions() == partitions, "{} partitions", info.partitions());
    Ok(name)
}

async fn producer(lab: &dyn KafkaLab, topic: &str, transactional: bool) -> Result<Box<dyn LogProducer>> {
    let mode = if transactional { ProducerMode::Transactional } else { ProducerMode::Idempotent };
    Ok(lab.log().producer(topic, mode, &format!("id-of-{topic}")).await?)
}

/// The next `count` deliveries.
async fn deliveries(producer: &mut dyn LogProducer, count: usize) -> Result<Vec<Delivery>> {
    let mut out = Vec::new();
    while out.len() < count {
        timeout(WAIT, producer.deliveries(&mut out)).await.context("no deliveries")??;
    }
    Ok(out)
}

/// Writes values to partition 0, idempotently, and waits for them.
async fn fill(lab: &dyn KafkaLab, topic: &str, values: &[&str]) -> Result<()> {
    let mut producer = producer(lab, topic, false).await?;
    for value in values {
        producer.produce(&record(0, value.as_bytes(), 0))?;
    }
    for delivery in deliveries(producer.as_mut(), values.len()).await? {
        delivery.result.map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

fn texts(records: &[ConsumedRecord]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default()).into_owned()).collect()
}

/// What a reader of committed records sees in partition 0, and how far it gets.
async fn visible(lab: &dyn KafkaLab, topic: &str) -> Result<(Vec<String>, i64)> {
    let end = lab.log().topic(topic).await?.watermarks[0].1;
    let (records, next) = lab.log().read(topic, 0, 0, end, 1000).await?;
    Ok((texts(&records), next))
}

/// Looks until the view is this one; what it was last, if it never is.
async fn sees(lab: &dyn KafkaLab, topic: &str, wanted: &[&str], next: i64) -> Result<()> {
    let deadline = Instant::now() + WAIT;
    loop {
        match visible(lab, topic).await {
            Ok(seen) if seen.0 == wanted && seen.1 == next => return Ok(()),
            Ok(seen) => ensure!(Instant::now() < deadline, "a reader sees {seen:?}, not {wanted:?} up to {next}"),
            // Brokers that have just started are still finding their leaders.
            Err(error) => match error.downcast_ref::<LogError>() {
                Some(LogError::Unavailable(_)) if Instant::now() < deadline => {}
                _ => return Err(error),
            },
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The next event that is not the lack of one.
async fn event(consumer: &mut dyn LogConsumer) -> Result<ConsumerEvent, LogError> {
    let deadline = Instant::now() + WAIT;
    while Instant::now() < deadline {
        if let Some(event) = consumer.next(Duration::from_millis(200)).await? {
            return Ok(event);
        }
    }
    Err(LogError::Failed("no event in time".into()))
}

async fn assigned(consumer: &mut dyn LogConsumer) -> Result<BTreeMap<u32, Option<Committed>>> {
    match event(consumer).await? {
        ConsumerEvent::Assigned(partitions) => Ok(partitions),
        other => bail!("{other:?} instead of an assignment"),
    }
}

/// A consumer alone in a group, with its whole assignment.
async fn alone(lab: &dyn KafkaLab, topic: &str) -> Result<(Box<dyn LogConsumer>, BTreeMap<u32, Option<Committed>>)> {
    let mut consumer = lab.log().consumer(topic, &format!("group-of-{topic}")).await?;
    let partitions = assigned(consumer.as_mut()).await?;
    Ok((consumer, partitions))
}

async fn missing_topic(lab: &dyn KafkaLab) -> Result<()> {
    let name = lab.fresh();
    let error = lab.log().topic(&name).await.err();
    ensure!(matches!(error, Some(LogError::Topic(_))), "{error:?}");
    let error = lab.log().producer(&name, ProducerMode::Idempotent, "id").await.err();
    ensure!(matches!(error, Some(LogError::Topic(_))), "a producer: {error:?}");
    let error = lab.log().consumer(&name, "group").await.err();
    ensure!(matches!(error, Some(LogError::Topic(_))), "a consumer: {error:?}");
    Ok(())
}

async fn ensure_keeps(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 2).await?;
    let again = lab.log().ensure_topic(&name, 5).await?;
    ensure!(again.partitions() == 2 && again.watermarks == [(0, 0), (0, 0)], "{again:?}");
    Ok(())
}

async fn made_anew(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    fill(lab, &name, &["a"]).await?;
    let before = lab.log().topic(&name).await?;
    lab.recreate(&name, 1).await?;
    let after = lab.log().topic(&name).await?;
    ensure!(after.watermarks == [(0, 0)], "{after:?}");
    ensure!(!before.id.is_empty() && !after.id.is_empty() && before.id != after.id, "{before:?} {after:?}");
    ensure!(lab.log().topic(&name).await?.id == after.id, "the id of one topic changes");
    Ok(())
}

async fn consecutive(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let mut producer = producer(lab, &name, false).await?;
    for tag in 0..50 {
        producer.produce(&record(0, format!("{tag}").as_bytes(), tag))?;
    }
    let delivered = deliveries(producer.as_mut(), 50).await?;
    for (number, delivery) in delivered.iter().enumerate() {
        ensure!(delivery.tag == number as u64 && delivery.result == Ok((0, number as i64)), "{delivery:?}");
    }
    let wanted: Vec<String> = (0..50).map(|tag| tag.to_string()).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    sees(lab, &name, &wanted, 50).await
}

async fn round_trip(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 2).await?;
    let mut producer = producer(lab, &name, false).await?;
    let headers: &[(&str, &[u8])] = &[("a", b"1"), ("b", b""), ("a", b"2")];
    let sent = Record { key: Some(b"key"), headers, ..record(1, b"value", 7) };
    producer.produce(&sent)?;
    ensure!(deliveries(producer.as_mut(), 1).await?[0].result == Ok((1, 0)), "not delivered to partition 1");
    let (records, next) = lab.log().read(&name, 1, 0, 1, 10).await?;
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_vec())).collect();
    let wanted = ConsumedRecord {
        partition: 1,
        offset: 0,
        key: Some(b"key".to_vec()),
        value: Some(b"value".to_vec()),
        headers,
        timestamp_ms: sent.timestamp_ms,
    };
    ensure!(records == [wanted] && next == 1, "{records:?}");
    Ok(())
}

async fn too_large(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let mut producer = producer(lab, &name, false).await?;
    let refused = producer.produce(&record(0, &vec![b'x'; 8 << 20], 0));
    ensure!(matches!(refused, Err(LogError::TooLarge(_))), "{refused:?}");
    producer.produce(&record(0, b"fits", 1))?;
    ensure!(deliveries(producer.as_mut(), 1).await?[0].result == Ok((0, 0)), "the producer is spoiled");
    Ok(())
}

async fn purged(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let mut producer = producer(lab, &name, false).await?;
    producer.purge().await;
    let result = producer.produce(&record(0, b"late", 0));
    ensure!(result.is_err(), "a purged producer takes records");
    Ok(())
}

async fn marker(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let mut producer = producer(lab, &name, true).await?;
    for round in 0..2 {
        producer.begin().await?;
        producer.produce(&record(0, b"in", round))?;
        producer.commit().await?;
    }
    sees(lab, &name, &["in", "in"], 4).await
}

async fn hides_open(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let mut producer = producer(lab, &name, true).await?;
    producer.begin().await?;
    producer.produce(&record(0, b"open", 0))?;
    ensure!(deliveries(producer.as_mut(), 1).await?[0].result == Ok((0, 0)), "not delivered");
    let end = lab.log().topic(&name).await?.watermarks[0].1;
    ensure!(end == 1, "the high-water mark is {end}: it counts what is not committed yet");
    ensure!(visible(lab, &name).await? == (vec![], 0), "an open transaction shows: {:?}", visible(lab, &name).await?);
    producer.commit().await?;
    sees(lab, &name, &["open"], 2).await
}

async fn hides_aborted(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let mut producer = producer(lab, &name, true).await?;
    producer.begin().await?;
    producer.produce(&record(0, b"aborted", 0))?;
    deliveries(producer.as_mut(), 1).await?;
    producer.abort().await?;
    producer.begin().await?;
    producer.produce(&record(0, b"kept", 1))?;
    producer.commit().await?;
    sees(lab, &name, &["kept"], 4).await
}

async fn holds_back(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let mut producer = producer(lab, &name, true).await?;
    producer.begin().await?;
    producer.produce(&record(0, b"first", 0))?;
    deliveries(producer.as_mut(), 1).await?;
    fill(lab, &name, &["second"]).await?;
    ensure!(visible(lab, &name).await? == (vec![], 0), "a later record overtakes an open transaction");
    producer.commit().await?;
    sees(lab, &name, &["first", "second"], 3).await
}

async fn fences(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let mut old = producer(lab, &name, true).await?;
    old.begin().await?;
    old.produce(&record(0, b"of the old one", 0))?;
    deliveries(old.as_mut(), 1).await?;
    let mut new = producer(lab, &name, true).await?;
    let refused = old.commit().await;
    ensure!(matches!(refused, Err(LogError::Fenced(_))), "the old producer's commit: {refused:?}");
    new.begin().await?;
    new.produce(&record(0, b"of the new one", 1))?;
    new.commit().await?;
    sees(lab, &name, &["of the new one"], 4).await
}

async fn init_aborts(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let mut old = producer(lab, &name, true).await?;
    old.begin().await?;
    old.produce(&record(0, b"left open", 0))?;
    deliveries(old.as_mut(), 1).await?;
    let _new = producer(lab, &name, true).await?;
    sees(lab, &name, &[], 2).await
}

async fn new_group(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 2).await?;
    let (mut consumer, partitions) = alone(lab, &name).await?;
    consumer.close().await;
    ensure!(partitions == BTreeMap::from([(0, None), (1, None)]), "{partitions:?}");
    Ok(())
}

async fn members(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    let group = format!("group-of-{name}");
    let before = lab.log().members(&group).await?;
    let (mut consumer, _) = alone(lab, &name).await?;
    let meanwhile = lab.log().members(&group).await?;
    consumer.close().await;
    ensure!((before, meanwhile) == (0, 1), "{before} members before, {meanwhile} meanwhile");
    let deadline = Instant::now() + WAIT;
    while lab.log().members(&group).await? > 0 {
        ensure!(Instant::now() < deadline, "it has left and is still counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn nothing_before_start(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    fill(lab, &name, &["a", "b", "c"]).await?;
    let (mut consumer, _) = alone(lab, &name).await?;
    let early = consumer.next(Duration::from_millis(500)).await?;
    ensure!(early.is_none(), "{early:?} before the start");
    consumer.start(0, 1).await?;
    let ConsumerEvent::Records(records) = event(consumer.as_mut()).await? else { bail!("no records") };
    consumer.close().await;
    ensure!(texts(&records).first().map(String::as_str) == Some("b"), "{:?}", texts(&records));
    Ok(())
}

fn place(offset: i64, metadata: &str) -> BTreeMap<u32, Committed> {
    BTreeMap::from([(0, Committed { offset, metadata: metadata.into() })])
}

async fn comes_back(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    fill(lab, &name, &["a", "b", "c"]).await?;
    let (mut first, _) = alone(lab, &name).await?;
    ensure!(first.commit(&place(2, "term=7")).await?, "the commit is refused");
    first.close().await;
    let (mut second, partitions) = alone(lab, &name).await?;
    second.close().await;
    let found = partitions.get(&0).cloned().flatten();
    ensure!(found == Some(Committed { offset: 2, metadata: "term=7".into() }), "{found:?}");
    Ok(())
}

/// What comes of reading from an offset outside the log.
async fn out_of_range(lab: &dyn KafkaLab, topic: &str, offset: i64) -> Result<()> {
    let (mut consumer, _) = alone(lab, topic).await?;
    consumer.start(0, offset).await?;
    let result = event(consumer.as_mut()).await;
    consumer.close().await;
    ensure!(matches!(result, Err(LogError::OutOfRange(_))), "from {offset}: {result:?}");
    Ok(())
}

async fn below_start(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    fill(lab, &name, &["a", "b", "c"]).await?;
    lab.delete_before(&name, 0, 2).await?;
    let watermarks = lab.log().topic(&name).await?.watermarks;
    ensure!(watermarks == [(2, 3)], "{watermarks:?}");
    out_of_range(lab, &name, 0).await
}

async fn beyond_end(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    fill(lab, &name, &["a"]).await?;
    out_of_range(lab, &name, 100).await
}

async fn pause(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    fill(lab, &name, &["a"]).await?;
    let (mut consumer, _) = alone(lab, &name).await?;
    consumer.start(0, 0).await?;
    let ConsumerEvent::Records(_) = event(consumer.as_mut()).await? else { bail!("no records") };
    consumer.pause(&[0]).await?;
    fill(lab, &name, &["b"]).await?;
    let early = consumer.next(Duration::from_millis(700)).await?;
    ensure!(early.is_none(), "{early:?} while paused");
    consumer.resume(&[0]).await?;
    let ConsumerEvent::Records(records) = event(consumer.as_mut()).await? else { bail!("no records") };
    consumer.close().await;
    ensure!(texts(&records) == ["b"], "{:?}", texts(&records));
    Ok(())
}

/// Two members, polled in turn until the first must give something up; what it must give up.
async fn second_joins(
    lab: &dyn KafkaLab,
    topic: &str,
    first: &mut dyn LogConsumer,
) -> Result<(Box<dyn LogConsumer>, Vec<u32>)> {
    let mut second = lab.log().consumer(topic, &format!("group-of-{topic}")).await?;
    let deadline = Instant::now() + WAIT;
    while Instant::now() < deadline {
        match first.next(Duration::from_millis(100)).await? {
            Some(ConsumerEvent::Revoked(partitions)) => return Ok((second, partitions)),
            None => {}
            other => bail!("the first member gets {other:?}"),
        }
        match second.next(Duration::from_millis(100)).await? {
            Some(ConsumerEvent::Assigned(partitions)) if partitions.is_empty() => {}
            None => {}
            other => bail!("the second member gets {other:?} before anything was released"),
        }
    }
    bail!("nothing is revoked")
}

async fn until_assigned(first: &mut dyn LogConsumer, second: &mut dyn LogConsumer) -> Result<Vec<u32>> {
    let deadline = Instant::now() + WAIT;
    while Instant::now() < deadline {
        let _ = first.next(Duration::from_millis(100)).await?;
        match second.next(Duration::from_millis(100)).await? {
            Some(ConsumerEvent::Assigned(partitions)) if !partitions.is_empty() => {
                return Ok(partitions.into_keys().collect());
            }
            Some(ConsumerEvent::Assigned(_)) | None => {}
            other => bail!("the second member gets {other:?}"),
        }
    }
    bail!("the second member gets nothing")
}

async fn rebalance(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 4).await?;
    let (mut first, all) = alone(lab, &name).await?;
    ensure!(all.len() == 4, "{all:?}");
    let (mut second, revoked) = second_joins(lab, &name, first.as_mut()).await?;
    ensure!(revoked.len() == 2, "a cooperative rebalance takes half, not {revoked:?}");
    let early = second.next(Duration::from_millis(500)).await?;
    let nothing = match &early {
        None => true,
        Some(ConsumerEvent::Assigned(partitions)) => partitions.is_empty(),
        Some(_) => false,
    };
    ensure!(nothing, "{early:?} before the release");
    first.release(&revoked).await?;
    let mut given = until_assigned(first.as_mut(), second.as_mut()).await?;
    let mut revoked = revoked;
    given.sort_unstable();
    revoked.sort_unstable();
    second.close().await;
    first.close().await;
    ensure!(given == revoked, "{given:?} given, {revoked:?} released");
    Ok(())
}

async fn commit_while_revoked(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 2).await?;
    let (mut first, _) = alone(lab, &name).await?;
    let (mut second, revoked) = second_joins(lab, &name, first.as_mut()).await?;
    let partition = *revoked.first().context("nothing revoked")?;
    let offsets = BTreeMap::from([(partition, Committed { offset: 0, metadata: "handed over".into() })]);
    ensure!(first.commit(&offsets).await?, "a commit before the release is refused");
    first.release(&revoked).await?;
    let given = until_assigned_with(first.as_mut(), second.as_mut()).await?;
    second.close().await;
    first.close().await;
    let found = given.get(&partition).cloned().flatten().map(|place| place.metadata);
    ensure!(found.as_deref() == Some("handed over"), "{found:?}");
    Ok(())
}

async fn until_assigned_with(
    first: &mut dyn LogConsumer,
    second: &mut dyn LogConsumer,
) -> Result<BTreeMap<u32, Option<Committed>>> {
    let deadline = Instant::now() + WAIT;
    while Instant::now() < deadline {
        let _ = first.next(Duration::from_millis(100)).await?;
        if let Some(ConsumerEvent::Assigned(partitions)) = second.next(Duration::from_millis(100)).await?
            && !partitions.is_empty()
        {
            return Ok(partitions);
        }
    }
    bail!("the second member gets nothing")
}

async fn stopped(lab: &dyn KafkaLab) -> Result<()> {
    let name = topic(lab, 1).await?;
    fill(lab, &name, &["before"]).await?;
    lab.stop().await?;
    let error = lab.log().topic(&name).await.err();
    lab.start().await?;
    ensure!(matches!(error, Some(LogError::Unavailable(_))), "{error:?}");
    sees(lab, &name, &["before"], 1).await
}
