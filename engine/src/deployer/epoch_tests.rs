//! Tests of the decisions, as tables: facts in, decision out.

use super::super::settings::tests::{config, server};
use super::*;
use crate::state::{Anchor, Checkpoint, EpochRecord, LeaderMark, PositionOrder, Ring, RingEntry};
use std::time::Duration;

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn set(text: &str) -> Position {
    Position::Gtid(format!("{UUID}:{text}").parse().unwrap())
}

fn witness() -> Witness {
    Witness { file: "b.000002".into(), start: 200, gtid: String::new(), length: 50, crc32: 0, original_commit_us: 0 }
}

fn state() -> PipelineState {
    PipelineState {
        pipeline: "orders".into(),
        leader: LeaderMark { term: 40, ..LeaderMark::default() },
        term_base: 5,
        topic: "orders".into(),
        topic_id: "t1".into(),
        partitions: 2,
        epoch: EpochRecord {
            number: 3,
            scheme: SCHEME,
            server: UUID.into(),
            anchor: Anchor { resume: set("1-2"), file: None },
            reason: String::new(),
            began_ms: 0,
            in_order_from: None,
        },
        checkpoint: Checkpoint {
            resume: set("1-50"),
            offset: 900,
            file: None,
            event_ms: 0,
            witness: None,
            tail_from: vec![0, 0],
            low_water: vec![0, 0],
        },
        ring: Ring::default(),
        pending: vec![],
        prepared: vec![],
        fallback: vec![],
        schemas: None,
        order: None,
        audit: vec![],
    }
}

fn topic() -> TopicInfo {
    TopicInfo { id: "t1".into(), watermarks: vec![(0, 9), (0, 9)] }
}

fn tail(epoch: u16, term: i64) -> LogTail {
    LogTail { epoch, term, highest: None, ends: vec![9, 9] }
}

#[test]
fn without_a_state() {
    let mut config = config();
    let plan = |tail: LogTail, meta, config: &DeployerConfig| super::plan(None, &tail, meta, &topic(), config);
    assert_eq!(plan(tail(0, 0), 0, &config).unwrap_err().cause, Cause::NoStart);
    config.start = Some(Start::Now);
    assert_eq!(plan(tail(0, 0), 0, &config), Ok(Plan::First(Start::Now)));
    assert_eq!(plan(tail(1, 4), 0, &config).unwrap_err().cause, Cause::StateLost);
    let stop = plan(tail(0, 0), 7, &config).unwrap_err();
    assert!(stop.cause == Cause::StateLost && stop.detail.contains("an index") && stop.detail.contains('7'), "{stop}");
}

#[test]
fn a_leader_of_a_lost_ensemble_that_has_written_nothing_stays_below() {
    let config = config();
    // Term 77 is in the log; a later candidate of that ensemble has won 80 and written nothing.
    let Ok(Plan::Rise(rise)) = plan(Some(&state()), &tail(6, 77), 4, &topic(), &config) else { panic!("no rise") };
    let first_of_the_new_ensemble = rise.term_base + 1;
    assert!(first_of_the_new_ensemble > 80, "its late fence would make adapters drop the new leader's records");
    let mut again = state();
    again.term_base = rise.term_base;
    let Ok(Plan::Rise(rise)) = plan(Some(&again), &tail(7, first_of_the_new_ensemble), 4, &topic(), &config) else {
        panic!("no rise")
    };
    assert_eq!(rise.term_base, 2 * TERM_STEP);
}

#[test]
fn with_a_state() {
    let config = config();
    let plan = |state: &PipelineState, tail: LogTail, meta| super::plan(Some(state), &tail, meta, &topic(), &config);
    assert_eq!(plan(&state(), tail(3, 40), 0), Ok(Plan::Resume));
    assert_eq!(plan(&state(), tail(2, 40), 0), Ok(Plan::Resume), "nothing was written under this epoch yet");
    // Restored from a copy: the maximum of all, plus one, and terms above all that were seen.
    let Ok(Plan::Rise(rise)) = plan(&state(), tail(6, 77), 4) else { panic!("no rise") };
    assert_eq!((rise.number, rise.term_base, rise.to), (7, TERM_STEP, None));
    // Set by hand.
    let mut ordered = state();
    ordered.order = Some(PositionOrder { to: Some(Start::Oldest), reason: "why".into(), at_ms: 0, definitions: None });
    ordered.topic_id = "another".into();
    ordered.partitions = 9;
    let Ok(Plan::Rise(rise)) = plan(&ordered, tail(3, 12), 11) else { panic!("no rise") };
    assert_eq!(
        (rise.number, rise.term_base, rise.to, rise.reason.as_str()),
        (12, TERM_STEP, Some(Start::Oldest), "why")
    );
    // Another scheme counts other offsets.
    let mut scheme = state();
    scheme.epoch.scheme = SCHEME + 1;
    assert!(matches!(plan(&scheme, tail(3, 0), 0), Ok(Plan::Rise(Rise { number: 4, .. }))));
    type Change = fn(&mut PipelineState);
    let changes: [(Change, Cause); 5] = [
        (|s| s.pipeline = "other".into(), Cause::Config),
        (|s| s.epoch.number = 0, Cause::StateGarbage),
        (|s| s.topic_id = "t0".into(), Cause::LogTruncated),
        (|s| s.topic = "old".into(), Cause::LogTruncated),
        (|s| s.partitions = 3, Cause::PartitionsChanged),
    ];
    for (change, cause) in changes {
        let mut state = state();
        change(&mut state);
        assert_eq!(plan(&state, tail(0, 0), 0).unwrap_err().cause, cause);
    }
    let mut last = state();
    last.epoch.number = MAX_EPOCH;
    last.order = ordered.order;
    assert_eq!(plan(&last, tail(0, 0), 0).unwrap_err().cause, Cause::EpochSpace);
}

#[test]
fn a_repair_starts_at_the_older_of_both_starts() {
    let rise = Rise { number: 4, to: None, term_base: 0, reason: "r".into() };
    let mut state = state();
    assert_eq!(repair_of(&rise, &state, 1).low_water, [] as [i64; 0], "no entry: from the log's start");
    for (at_ms, low) in [(0, vec![5, 7]), (100_000, vec![50, 70])] {
        let resume = set(&format!("1-{}", 10 + at_ms / 10_000));
        let entry =
            RingEntry { epoch: 3, resume, offset: 1, witness: witness(), low_water: low, prepared: vec![], at_ms };
        state.ring.push(entry, Duration::from_secs(3600));
    }
    let first = repair_of(&rise, &state, 1);
    assert_eq!((first.low_water.clone(), first.from.clone()), (vec![5, 7], Some(set("1-10"))));
    state.pending = vec![PendingRepair { low_water: vec![9, 2], from: Some(set("1-4")), ..first.clone() }];
    let second = repair_of(&rise, &state, 2);
    assert_eq!((second.low_water, second.from), (vec![5, 2], Some(set("1-4"))));
    state.pending[0].topic_id = "older".into();
    assert_eq!(repair_of(&rise, &state, 2).low_water, [] as [i64; 0], "offsets of another topic mean nothing");
}

#[test]
fn which_server_may_go_on() {
    let same = |carried: &Position, change: &dyn Fn(&mut ServerIdentity)| {
        let mut server = server();
        change(&mut server);
        same_server(&state(), carried, &server).map_err(|stop| stop.cause)
    };
    let other = |s: &mut ServerIdentity| s.server_uuid = "ffffffff-0000-0000-0000-000000000000".into();
    let file = |file: &str| Position::File(FilePosition::new(file, 100));
    assert_eq!(same(&set("1-50"), &|_| ()), Ok(()));
    assert_eq!(same(&set("1-50"), &other), Err(Cause::OtherServer));
    assert_eq!(same(&file("b.000002"), &other), Err(Cause::NoGtid));
    assert_eq!(same(&set("1-50"), &|s| s.gtid_mode = false), Err(Cause::NoGtid));
    assert_eq!(same(&set("1-101"), &|_| ()), Err(Cause::HistoryRewritten));
    let purged = |s: &mut ServerIdentity| s.gtid_purged = format!("{UUID}:1-60").parse().unwrap();
    assert_eq!(same(&set("1-50"), &purged), Err(Cause::Purged));
    assert_eq!(same(&set("1-60"), &purged), Ok(()));
    assert_eq!(same(&file("b.000002"), &|_| ()), Ok(()));
    assert_eq!(same(&file("b.000002"), &|s| s.oldest.file = "b.000003".into()), Err(Cause::Purged));
    // Text order would say otherwise.
    assert_eq!(same(&file("b.1000000"), &|s| s.oldest.file = "b.999999".into()), Ok(()));
}

fn events(bodies: &[&[u8]]) -> EventBatch {
    let mut batch = EventBatch::default();
    let mut bytes = Vec::new();
    for body in bodies {
        // A query event: it counts.
        bytes.extend_from_slice(&[0, 0, 0, 0, 2]);
        bytes.extend_from_slice(&[0; 14]);
        bytes.extend_from_slice(body);
        batch.ends.push(bytes.len() as u32);
    }
    batch.bytes = bytes.into();
    batch
}

#[test]
fn a_witness_is_judged_by_bytes_and_by_uptime() {
    let whole = events(&[b"begin", b"row", b"commit"]);
    let (length, crc32) = digest(&whole, u64::MAX).unwrap();
    assert_eq!(length as usize, whole.bytes.len());
    let judge = |witness: &Witness, read: WitnessRead, uptime_s: u64, oldest: &str| {
        let mut server = server();
        server.uptime_s = uptime_s;
        server.oldest.file = oldest.into();
        // It is 10,000 s; the witness was committed at 9,000 s.
        judge_witness(witness, &read, &server, 9_000_000, 10_000_000).map_err(|stop| stop.cause)
    };
    let full = Witness { length, crc32, ..witness() };
    let bytes = |batch: &EventBatch| WitnessRead::Bytes(batch.clone());
    assert_eq!(judge(&full, bytes(&whole), 5, "b.000001"), Ok(()));
    // A witness of the first two events only, as a record's header has it.
    let (length, crc32) = digest(&events(&[b"begin", b"row"]), u64::MAX).unwrap();
    let part = Witness { length, crc32, ..witness() };
    assert_eq!(judge(&part, bytes(&whole), 5, "b.000001"), Ok(()));
    let rewritten = Err(Cause::HistoryRewritten);
    assert_eq!(judge(&full, bytes(&events(&[b"begin", b"rOw", b"commit"])), 5, "b.000001"), rewritten);
    assert_eq!(judge(&full, bytes(&events(&[b"begin", b"row"])), 5, "b.000001"), rewritten);
    assert_eq!(judge(&full, WitnessRead::Gone("no".into()), 9_000, "b.000001"), rewritten, "not purged: gone");
    // Purged: up since 8,000 s proves it, since 8,990 s is within what clocks may differ, since 9,900 s is later.
    assert_eq!(judge(&full, WitnessRead::Gone("no".into()), 2_000, "b.000003"), Ok(()));
    assert_eq!(judge(&full, WitnessRead::Gone("no".into()), 1_010, "b.000003"), Err(Cause::Purged));
    assert_eq!(judge(&full, WitnessRead::Gone("no".into()), 100, "b.000003"), Err(Cause::Purged));
}

#[test]
fn where_an_epoch_begins() {
    let at = |start: &str, change: &dyn Fn(&mut ServerIdentity)| {
        let mut server = server();
        change(&mut server);
        anchor(&start.parse().unwrap(), &server).map(|(position, _)| position).map_err(|stop| stop.cause)
    };
    let plain = |s: &mut ServerIdentity| s.gtid_mode = false;
    let purged = |s: &mut ServerIdentity| s.gtid_purged = format!("{UUID}:1-9").parse().unwrap();
    let file = |file: &str, position| Ok(Position::File(FilePosition::new(file, position)));
    assert_eq!(at("now", &|_| ()), Ok(set("1-100")));
    assert_eq!(at("now", &plain), file("b.000003", 900));
    assert_eq!(at("oldest", &purged), Ok(set("1-9")));
    assert_eq!(at("oldest", &plain), file("b.000001", 4));
    assert_eq!(at(&format!("{UUID}:1-20"), &purged), Ok(set("1-20")));
    assert_eq!(at(&format!("{UUID}:1-8"), &purged), Err(Cause::Purged));
    assert_eq!(at(&format!("{UUID}:1-101"), &|_| ()), Err(Cause::Config));
    assert_eq!(at(&format!("{UUID}:1-20"), &plain), Err(Cause::NoGtid));
    assert_eq!(at("b.000002:77", &|_| ()), file("b.000002", 77));
    assert_eq!(at("b.000000:77", &|_| ()), Err(Cause::Purged));
    assert_eq!(at("b.000003:901", &|_| ()), Err(Cause::Config));
}
