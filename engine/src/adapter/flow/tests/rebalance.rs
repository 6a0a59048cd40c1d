//! Partitions come and go while requests are under way.

use super::*;
use crate::adapter::config::Deletes;

fn released(rig: &Rig) -> Vec<u32> {
    let of = |effect: &Effect| match effect {
        Effect::Release(partitions) => partitions.clone(),
        _ => Vec::new(),
    };
    rig.others.iter().flat_map(of).collect()
}

#[test]
fn a_revocation_waits_for_what_is_in_flight_and_drops_the_rest() {
    let mut rig = rig(Setup::default()).assigned();
    rig.assign(1, 0);
    rig.take(&insert(1, 1));
    rig.take(&insert(2, 1));
    rig.take_at(At { partition: 1, offset: 0, epoch: 1, version: 70, term: 1 }, &insert(3, 1));
    assert_eq!(rig.sent_ids(), [["1"]], "the others are gathered behind it");
    rig.flow.on_revoked(&[0]);
    rig.turn();
    assert!(released(&rig).is_empty(), "the request is under way");
    rig.take_at(At { partition: 0, offset: 2, epoch: 1, version: 2, term: 1 }, &insert(4, 1));
    rig.answer(&[]);
    assert_eq!(released(&rig), [0]);
    assert_eq!(rig.flow.commits().get(&0).map(|committed| committed.offset), Some(1));
    rig.flow.on_released(&[0]);
    assert_eq!(rig.sent_ids(), [["3"]], "2 and 4 are the next owner's; 3 goes on");
    rig.answer(&[]);
    assert_eq!(rig.flow.commits().get(&1).map(|committed| committed.offset), Some(1));
    assert_eq!(rig.index.visible().keys().collect::<Vec<_>>(), ["1", "3"]);
}

#[test]
fn what_is_to_be_sent_again_does_not_hold_up_a_revocation() {
    let mut rig = rig(Setup::default()).assigned();
    rig.take(&insert(1, 1));
    rig.flow.on_revoked(&[0]);
    rig.fail(IndexError::Unavailable("timeout".into()));
    assert_eq!(released(&rig), [0]);
    assert_eq!(rig.committed(), None);
}

#[test]
fn with_hard_deletes_everything_is_seen_through() {
    let mut rig = rig(Setup { sink: |sink| sink.deletes = Deletes::Hard, ..Setup::default() }).assigned();
    rig.take(&insert(1, 1));
    rig.take(&TestChange { before: Some((2, 1)), after: None });
    rig.flow.on_revoked(&[0]);
    rig.fail(IndexError::Unavailable("timeout".into()));
    assert!(released(&rig).is_empty());
    rig.wait(Duration::from_secs(1));
    rig.answer(&[]);
    assert!(released(&rig).is_empty(), "the delete is not sent yet");
    assert_eq!(rig.sent[0].1[0].source, None);
    rig.answer(&[]);
    assert_eq!(released(&rig), [0]);
    assert_eq!(rig.committed(), Some(2));
}

#[test]
fn a_revocation_waits_for_dead_letters() {
    let mut rig = rig(Setup::default()).assigned();
    rig.take(&insert(1, 1));
    rig.answer(&[unfit()]);
    rig.flow.on_revoked(&[0]);
    rig.turn();
    assert!(released(&rig).is_empty());
    rig.acknowledge_letters();
    assert_eq!(released(&rig), [0]);
    assert_eq!(rig.committed(), Some(1));
}

#[test]
fn what_comes_after_a_loss_counts_for_nobody() {
    let mut rig = rig(Setup::default()).assigned();
    rig.take(&insert(1, 1));
    rig.take(&insert(2, 1));
    rig.flow.on_lost(&[0]);
    rig.turn();
    assert_eq!(rig.flow.commits(), BTreeMap::new());
    // The partition comes back before the answer to the old request does.
    rig.assign(0, 0);
    rig.answer(&[busy()]);
    assert_eq!(rig.committed(), None);
    rig.wait(Duration::from_secs(1));
    assert!(rig.sent.is_empty(), "what was read before the loss is not sent again: {:?}", rig.sent_ids());
    rig.offset = 0;
    rig.take(&insert(1, 1));
    rig.answer(&[]);
    assert_eq!(rig.committed(), Some(1));
}

#[test]
fn a_drain_awaits_requests_and_letters_and_sends_nothing_new() {
    let mut rig = rig(Setup::default()).assigned();
    rig.take(&insert(1, 1));
    rig.take(&insert(2, 1));
    rig.flow.on_drain();
    rig.turn();
    assert!(!rig.flow.is_drained());
    rig.answer(&[unfit()]);
    assert!(!rig.flow.is_drained() && rig.sent.is_empty());
    rig.acknowledge_letters();
    assert!(rig.flow.is_drained());
    assert_eq!(rig.committed(), Some(1));
}

#[test]
fn gaps_are_never_skipped() {
    let committed = |offset| Committed { offset, metadata: Mark { term: 3, topic: "a" }.to_text() };
    let begin = |offset, term, commit| Ok(StartAt { offset, term, commit });
    assert_eq!(start_at(0, None, (5, 9), "a"), begin(5, 0, true), "a new group begins at the earliest");
    assert_eq!(start_at(0, Some(&committed(5)), (5, 9), "a"), begin(5, 3, false));
    assert_eq!(start_at(0, Some(&committed(9)), (5, 9), "a"), begin(9, 3, false));
    assert_eq!(start_at(0, Some(&committed(9)), (5, 9), ""), begin(9, 3, false), "a client that knows no ids");
    let by_hand = Committed { offset: 7, metadata: String::new() };
    assert_eq!(start_at(0, Some(&by_hand), (5, 9), "a"), begin(7, 0, false));
    for (committed, marks, topic) in
        [(committed(4), (5, 9), "a"), (committed(10), (5, 9), "a"), (committed(7), (5, 9), "b"), (by_hand, (0, 0), "a")]
    {
        let stop = start_at(0, Some(&committed), marks, topic).unwrap_err();
        assert_eq!(stop.cause, Cause::LogTruncated);
    }
}
