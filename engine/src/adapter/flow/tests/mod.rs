//! The flow driven by hand: what is sent, what is committed, what is given up, and when.

mod converge;
mod rebalance;

use std::time::Duration;

use super::*;
use crate::adapter::config::{BreakerConfig, BulkConfig, SourceConfig};
use crate::adapter::testing::{At, TestChange, TestIndex, fence, record};
use crate::adapter::track::Mark;
use crate::cause::Cause;
use crate::metrics::Registry;
use crate::ports::index::{IndexError, ItemResult};
use crate::version::Version;

/// A flow with its requests, letters and clock.
pub struct Rig {
    flow: Flow,
    now: Instant,
    index: TestIndex,
    /// Requests under way, in the order in which they were sent.
    sent: Vec<(usize, Vec<BulkOp>)>,
    letters: Vec<Letter>,
    others: Vec<Effect>,
    offset: i64,
}

/// Options of a rig.
struct Setup {
    sink: fn(&mut SinkConfig),
    fencing: Fencing,
    ready: Option<u16>,
    budget: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { sink: |_| {}, fencing: Fencing::Transactions, ready: Some(1), budget: 64 << 20 }
    }
}

fn rig(setup: Setup) -> Rig {
    let mut config = AdapterConfig::new("orders", "orders");
    let mut sink = SinkConfig::new("hot", "hot", "orders.order_main", "orders");
    sink.when = Some("row.status in [1, 2]".into());
    sink.bulk = BulkConfig { linger: Duration::ZERO, concurrency: 1, ..BulkConfig::default() };
    (setup.sink)(&mut sink);
    config.sinks.push(sink.clone());
    config.fencing = setup.fencing;
    config.buffer_bytes = setup.budget;
    let metrics = SinkMetrics::register(&Registry::default(), "orders", "hot");
    let flow = Flow::new(&config, Arc::new(sink), setup.ready, metrics, Rng::new(1));
    let (sent, letters, others) = (Vec::new(), Vec::new(), Vec::new());
    Rig { flow, now: Instant::now(), index: TestIndex::default(), sent, letters, others, offset: 0 }
}

fn insert(id: u32, status: u32) -> TestChange {
    TestChange { before: None, after: Some((id, status)) }
}

impl Rig {
    fn assigned(mut self) -> Self {
        self.assign(0, 0);
        self
    }

    fn assign(&mut self, partition: u32, offset: i64) {
        self.flow.on_assigned(partition, StartAt { offset, term: 0, commit: false }, "topic");
    }

    /// One record at the next offset of partition 0, version = offset, epoch 1, term 1.
    fn take(&mut self, change: &TestChange) {
        let at = At { partition: 0, offset: self.offset, epoch: 1, version: self.offset as u64, term: 1 };
        self.take_at(at, change);
    }

    fn take_at(&mut self, at: At, change: &TestChange) {
        self.offset = at.offset + 1;
        self.flow.on_records(vec![record(at, change)], self.now);
        self.turn();
    }

    /// Lets the flow act.
    fn turn(&mut self) {
        self.flow.on_time(self.now);
        for effect in self.flow.effects(self.now) {
            match effect {
                Effect::Send { lane, operations } => {
                    let lanes: Vec<usize> = self.sent.iter().map(|(lane, _)| *lane).collect();
                    assert!(!lanes.contains(&lane), "one request a lane");
                    self.sent.push((lane, operations));
                }
                Effect::Letters(letters) => self.letters.extend(letters),
                other => self.others.push(other),
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.turn();
    }

    /// Answers the oldest request with these items; what is `None` is applied.
    fn answer(&mut self, items: &[Option<ItemResult>]) {
        let (lane, operations) = self.sent.remove(0);
        let index = &mut self.index;
        let results = operations.iter().enumerate().map(|(place, op)| match items.get(place).cloned().flatten() {
            Some(item) => item,
            None => index.apply(op),
        });
        let results = results.collect();
        self.flow.on_bulk(lane, Ok(results), self.now);
        self.turn();
    }

    fn fail(&mut self, error: IndexError) {
        let (lane, _) = self.sent.remove(0);
        self.flow.on_bulk(lane, Err(error), self.now);
        self.turn();
    }

    fn acknowledge_letters(&mut self) {
        let numbers: Vec<u64> = self.letters.drain(..).map(|letter| letter.number).collect();
        self.flow.on_letters(&numbers);
        self.turn();
    }

    fn committed(&mut self) -> Option<i64> {
        self.flow.commits().get(&0).map(|committed| committed.offset)
    }

    fn sent_ids(&self) -> Vec<Vec<String>> {
        self.sent.iter().map(|(_, operations)| operations.iter().map(|op| op.id.clone()).collect()).collect()
    }
}

fn item(status: u16, error: &str, reason: &str) -> Option<ItemResult> {
    Some(ItemResult { status, error_type: Some(error.into()), reason: Some(reason.into()) })
}

fn busy() -> Option<ItemResult> {
    item(429, "es_rejected_execution_exception", "queue full")
}

fn unfit() -> Option<ItemResult> {
    item(400, "document_parsing_exception", "failed to parse field [status]")
}

#[test]
fn an_offset_moves_over_final_outcomes_only() {
    let mut rig = rig(Setup { sink: |sink| sink.bulk.operations = 1, ..Setup::default() }).assigned();
    for id in 1..=3 {
        rig.take(&insert(id, 1));
    }
    rig.take(&insert(4, 9));
    assert_eq!(rig.committed(), None);
    rig.answer(&[busy()]);
    assert_eq!(rig.committed(), None, "refused for now is not final");
    assert!(matches!(rig.flow.trouble(), Some(stop) if stop.cause == Cause::SinkUnavailable));
    assert!(rig.sent.is_empty(), "no busy loop");
    rig.wait(Duration::from_secs(1));
    for expected in [Some(1), Some(2), Some(4)] {
        rig.answer(&[]);
        rig.wait(Duration::from_millis(1));
        // The request of one operation goes round the queue: outcomes come in another order than records.
        if let Some(at) = rig.committed() {
            assert!(Some(at) <= Some(4) && expected.is_some());
        }
    }
    assert!(rig.flow.trouble().is_none());
    assert_eq!(rig.index.visible().len(), 3);
    assert_eq!(rig.flow.partitions[&0].to_commit_now(), 4);
}

#[test]
fn a_record_that_concerns_no_document_is_final_at_once() {
    let mut rig = rig(Setup::default()).assigned();
    rig.take(&insert(1, 9));
    assert!(rig.sent.is_empty());
    assert_eq!(rig.committed(), Some(1));
}

#[test]
fn a_dead_letter_holds_the_offset_until_it_is_acknowledged() {
    let mut rig = rig(Setup::default()).assigned();
    rig.take(&insert(1, 1));
    rig.answer(&[unfit()]);
    assert_eq!(rig.letters.len(), 1);
    assert_eq!(rig.letters[0].cause, "document_parsing_exception");
    assert_eq!(rig.letters[0].document.as_deref(), Some("1"));
    assert_eq!(rig.letters[0].record.offset, 0);
    assert_eq!(rig.committed(), None);
    rig.acknowledge_letters();
    assert_eq!(rig.committed(), Some(1));
}

#[test]
fn what_cannot_be_read_or_is_not_ours_becomes_a_dead_letter() {
    let mut rig = rig(Setup::default()).assigned();
    let at = At { partition: 0, offset: 0, epoch: 1, version: 0, term: 1 };
    let mut garbage = record(at, &insert(1, 1));
    garbage.value = Some(b"{\"data\":".to_vec());
    let mut foreign = record(At { offset: 1, ..at }, &insert(1, 1));
    foreign.headers.clear();
    let mut other = record(At { offset: 2, ..at }, &insert(1, 1));
    other.headers.iter_mut().for_each(|(name, value)| {
        if name == "towpath-pipeline" {
            *value = b"archive".to_vec();
        }
    });
    let mut unfit = record(At { offset: 3, ..at }, &insert(1, 1));
    let text = String::from_utf8(unfit.value.take().unwrap()).unwrap();
    unfit.value = Some(text.replace("\"status\":\"1\"", "\"status\":\"one\"").into_bytes());
    rig.flow.on_records(vec![garbage, foreign, other, unfit], rig.now);
    rig.turn();
    let causes: Vec<&str> = rig.letters.iter().map(|letter| letter.cause.as_str()).collect();
    assert_eq!(causes, ["unreadable", "foreign", "foreign", "unfit_row"]);
    assert_eq!(rig.committed(), None);
    rig.acknowledge_letters();
    assert_eq!(rig.committed(), Some(4));
    assert!(rig.index.documents.is_empty());
}

#[test]
fn a_batch_holds_one_operation_a_document_and_a_dead_winner_gives_way_to_the_next_lower() {
    let mut rig =
        rig(Setup { sink: |sink| sink.bulk.linger = Duration::from_millis(5), ..Setup::default() }).assigned();
    rig.take(&insert(1, 1));
    rig.take(&TestChange { before: Some((1, 1)), after: Some((1, 2)) });
    rig.take(&insert(2, 1));
    assert!(rig.sent.is_empty(), "it lingers");
    rig.wait(Duration::from_millis(5));
    assert_eq!(rig.sent_ids(), [["1", "2"]]);
    assert_eq!(rig.sent[0].1[0].version, Version::new(0, 1, 1).unwrap());
    rig.answer(&[unfit()]);
    assert_eq!(rig.letters[0].record.offset, 1);
    assert_eq!(rig.sent_ids(), [["1"]], "the older operation takes its place");
    rig.answer(&[]);
    rig.acknowledge_letters();
    assert_eq!(rig.committed(), Some(3));
    assert_eq!(rig.index.visible().get("1"), Some(&1));
}

#[test]
fn folded_operations_share_the_outcome() {
    let mut rig =
        rig(Setup { sink: |sink| sink.bulk.linger = Duration::from_millis(5), ..Setup::default() }).assigned();
    rig.take(&insert(1, 1));
    rig.take(&TestChange { before: Some((1, 1)), after: Some((1, 2)) });
    rig.wait(Duration::from_millis(5));
    assert_eq!(rig.sent_ids(), [["1"]]);
    rig.answer(&[]);
    assert_eq!(rig.committed(), Some(2));
    assert_eq!((rig.flow.metrics.applied.get(), rig.flow.metrics.folded.get()), (1, 1));
}

#[test]
fn a_refused_request_is_halved_until_the_culprit_stands_alone() {
    let mut rig =
        rig(Setup { sink: |sink| sink.bulk.linger = Duration::from_millis(5), ..Setup::default() }).assigned();
    for id in 1..=8 {
        rig.take(&insert(id, 1));
    }
    rig.wait(Duration::from_millis(5));
    let mut requests = 0;
    while let Some((_, operations)) = rig.sent.first() {
        requests += 1;
        assert!(requests < 30, "it ends");
        if operations.iter().any(|op| op.id == "5") {
            rig.fail(IndexError::Rejected { status: 413, reason: "too large".into() });
        } else {
            rig.answer(&[]);
        }
    }
    assert_eq!(rig.letters.len(), 1);
    assert_eq!(
        (rig.letters[0].document.as_deref(), rig.letters[0].cause.as_str()),
        (Some("5"), "request_rejected_413")
    );
    rig.acknowledge_letters();
    assert_eq!(rig.committed(), Some(8));
    assert_eq!(rig.index.visible().len(), 7);
}

#[test]
fn a_request_that_fails_is_sent_again_and_a_block_is_named() {
    let mut rig = rig(Setup::default()).assigned();
    rig.take(&insert(1, 1));
    rig.fail(IndexError::Unavailable("timeout".into()));
    assert_eq!(rig.flow.trouble().map(|stop| stop.cause), Some(Cause::SinkUnavailable));
    rig.wait(Duration::from_secs(1));
    rig.answer(&[item(403, "cluster_block_exception", "index [hot-v1] blocked")]);
    assert_eq!(rig.flow.trouble().map(|stop| stop.cause), Some(Cause::SinkBlocked));
    assert_eq!(rig.committed(), None);
    rig.wait(Duration::from_secs(2));
    rig.answer(&[]);
    assert!(rig.flow.trouble().is_none() && rig.flow.stopped().is_none());
    assert_eq!(rig.committed(), Some(1));
}

#[test]
fn an_answer_of_another_length_is_no_answer() {
    let mut rig = rig(Setup::default()).assigned();
    rig.take(&insert(1, 1));
    let (lane, _) = rig.sent.remove(0);
    rig.flow.on_bulk(lane, Ok(Vec::new()), rig.now);
    assert!(rig.flow.trouble().is_some());
    assert_eq!(rig.committed(), None);
}

#[test]
fn a_conflict_is_superseded_unless_its_epoch_is_unknown() {
    let place = |rig: &mut Rig, version: Version| {
        rig.index.documents.insert(("1".into(), None), (version, bytes::Bytes::from_static(b"{}")));
    };
    // A higher version of an epoch that is known.
    let mut known = rig(Setup::default()).assigned();
    place(&mut known, Version::new(0, 1, 999).unwrap());
    known.take(&insert(1, 1));
    known.answer(&[]);
    assert_eq!((known.committed(), known.flow.metrics.superseded.get()), (Some(1), 1));

    // An epoch that nobody knows: the state is asked, and it knows no better.
    let asked = |rig: &Rig| rig.others.iter().filter(|effect| matches!(effect, Effect::ReadEpoch)).count();
    let mut regressed = rig(Setup::default()).assigned();
    place(&mut regressed, Version::new(0, 7, 1).unwrap());
    regressed.take(&insert(1, 1));
    regressed.answer(&[]);
    assert_eq!((regressed.committed(), asked(&regressed)), (None, 1));
    regressed.flow.on_epoch(Err("no session".into()), regressed.now);
    regressed.wait(Duration::from_secs(20));
    assert_eq!(asked(&regressed), 2, "it is asked again");
    regressed.flow.on_epoch(Ok(6), regressed.now);
    assert_eq!(regressed.flow.stopped().map(|stop| stop.cause), Some(Cause::EpochRegressed));
    assert_eq!(regressed.committed(), None);

    // The state knows it: an ordinary replay.
    let mut risen = rig(Setup::default()).assigned();
    place(&mut risen, Version::new(0, 7, 1).unwrap());
    risen.take(&insert(1, 1));
    risen.answer(&[]);
    risen.flow.on_epoch(Ok(7), risen.now);
    assert_eq!((risen.committed(), risen.flow.stopped()), (Some(1), None));

    // Of another rank the epoch says nothing; an INSERT that meets it has moved back.
    let mut cold = rig(Setup::default()).assigned();
    place(&mut cold, Version::new(1, 7, 1).unwrap());
    cold.take(&insert(1, 1));
    cold.answer(&[]);
    assert_eq!((cold.committed(), cold.flow.metrics.moved_back.get(), asked(&cold)), (Some(1), 1, 0));
    cold.take(&TestChange { before: Some((1, 1)), after: Some((1, 2)) });
    cold.answer(&[]);
    assert_eq!(cold.flow.metrics.moved_back.get(), 1, "only an INSERT moves back");
}

#[test]
fn too_many_dead_letters_stop_the_sink() {
    let limit = |sink: &mut SinkConfig| {
        sink.breaker = BreakerConfig { dead_letters: 2, window: Duration::from_secs(60) };
    };
    let mut rig = rig(Setup { sink: limit, ..Setup::default() }).assigned();
    for id in 1..=3 {
        rig.take(&insert(id, 1));
        rig.answer(&[unfit()]);
    }
    assert_eq!(rig.letters.len(), 2);
    let stop = rig.flow.stopped().cloned().unwrap();
    assert_eq!(stop.cause, Cause::DeadLetterBreaker);
    assert!(stop.detail.contains("failed to parse field [status]"), "{stop}");
    rig.acknowledge_letters();
    assert_eq!(rig.committed(), Some(2), "the third record is not final");
    rig.take(&insert(4, 1));
    assert!(rig.sent.is_empty());
}

#[test]
fn nothing_is_sent_before_the_epoch_is_noted() {
    let mut rig = rig(Setup { ready: None, ..Setup::default() }).assigned();
    let asked = |rig: &Rig| -> Vec<u16> {
        let epoch = |effect: &Effect| match effect {
            Effect::Prepare { epoch, .. } => Some(*epoch),
            _ => None,
        };
        rig.others.iter().filter_map(epoch).collect()
    };
    rig.take(&insert(1, 1));
    rig.take_at(At { partition: 0, offset: 1, epoch: 2, version: 0, term: 1 }, &insert(2, 1));
    assert_eq!((asked(&rig), rig.sent.len()), (vec![1], 0));
    rig.flow.on_prepared(1);
    rig.turn();
    assert_eq!((asked(&rig), rig.sent.len()), (vec![1, 2], 0), "an operation of epoch 2 waits too");
    rig.flow.on_prepared(2);
    rig.turn();
    assert_eq!(rig.sent_ids(), [["1", "2"]]);
}

#[test]
fn a_late_record_of_a_lower_term_is_dropped_in_versions_mode() {
    let late = At { partition: 0, offset: 2, epoch: 1, version: 50, term: 1 };
    for (fencing, expected) in [(Fencing::Versions, 0), (Fencing::Transactions, 1)] {
        let mut rig = rig(Setup { fencing, ..Setup::default() }).assigned();
        rig.take(&insert(1, 1));
        rig.answer(&[]);
        rig.flow.on_records(vec![fence(At { offset: 1, term: 2, ..late })], rig.now);
        rig.take_at(late, &insert(9, 1));
        while !rig.sent.is_empty() {
            rig.answer(&[]);
        }
        assert_eq!(rig.index.visible().len(), 1 + expected, "{fencing:?}");
        assert_eq!(rig.flow.metrics.fenced.get(), 1 - expected as i64);
        let committed = rig.flow.commits().remove(&0).unwrap();
        assert_eq!((committed.offset, Mark::parse(&committed.metadata).unwrap().term), (3, 2));
    }
}

#[test]
fn the_term_survives_a_restart() {
    let mut rig = rig(Setup { fencing: Fencing::Versions, ..Setup::default() });
    let committed = Committed { offset: 10, metadata: Mark { term: 5, topic: "topic" }.to_text() };
    let start = start_at(0, Some(&committed), (0, 20), "topic").unwrap();
    rig.flow.on_assigned(0, start, "topic");
    rig.take_at(At { partition: 0, offset: 10, epoch: 1, version: 50, term: 4 }, &insert(9, 1));
    assert!(rig.sent.is_empty());
    rig.take_at(At { partition: 0, offset: 11, epoch: 1, version: 51, term: 5 }, &insert(9, 1));
    assert_eq!(rig.sent_ids(), [["9"]]);
}

#[test]
fn a_full_buffer_stops_fetching_and_an_emptied_one_starts_it() {
    let mut rig = rig(Setup { budget: 1 << 16, ..Setup::default() }).assigned();
    let paused = |rig: &Rig| rig.others.iter().any(|effect| matches!(effect, Effect::Pause(p) if *p == [0]));
    let resumed = |rig: &Rig| rig.others.iter().any(|effect| matches!(effect, Effect::Resume(p) if *p == [0]));
    for id in 0..200 {
        rig.take(&insert(id, 1));
        if paused(&rig) {
            break;
        }
    }
    assert!(paused(&rig) && rig.offset < 200);
    assert!(!resumed(&rig));
    while !rig.sent.is_empty() {
        rig.answer(&[]);
    }
    assert!(resumed(&rig));
    assert_eq!(rig.flow.buffered(), 0);
}

#[test]
fn a_partial_row_stops_the_sink_that_its_table_feeds_and_is_never_indexed() {
    let partial = |offset: i64| {
        let at = At { partition: 0, offset, epoch: 1, version: offset as u64, term: 1 };
        let mut record = record(at, &insert(7, 1));
        record.headers.push((crate::format::headers::PARTIAL.to_owned(), b"1".to_vec()));
        record
    };
    let mut fed = rig(Setup::default()).assigned();
    fed.take(&insert(1, 1));
    fed.flow.on_records(vec![partial(1)], fed.now);
    fed.turn();
    assert_eq!(fed.flow.stopped().map(|stop| stop.cause), Some(Cause::PartialRow));
    fed.answer(&[]);
    assert_eq!((fed.committed(), fed.sent.len(), fed.letters.len()), (Some(1), 0, 0));
    assert_eq!(fed.index.documents.len(), 1);

    let other_table = |sink: &mut SinkConfig| sink.sources = vec![SourceConfig::new("orders.elsewhere")];
    let mut unfed = rig(Setup { sink: other_table, ..Setup::default() }).assigned();
    unfed.flow.on_records(vec![partial(0)], unfed.now);
    unfed.turn();
    assert_eq!((unfed.flow.stopped().is_none(), unfed.committed()), (true, Some(1)));
}

#[test]
fn a_condition_that_does_not_fit_the_record_stops_the_sink_before_the_record() {
    let mut rig =
        rig(Setup { sink: |sink| sink.when = Some("row.amount > 1.0".into()), ..Setup::default() }).assigned();
    rig.take(&insert(1, 1));
    let stop = rig.flow.stopped().cloned().unwrap();
    assert!(stop.detail.contains("no column \"amount\""), "{stop}");
    assert_eq!(rig.committed(), None);
}
