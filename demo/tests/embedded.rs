//! The embedded demo passes when nothing is wrong, and catches each way of breaking it.

use towpath_demo::{Args, Sabotage, Summary, embedded};

fn run(orders: u64, sabotage: Option<Sabotage>) -> Summary {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let args = Args { orders: Some(orders), seed: 5, json: true, keep: false, sabotage, stack: false };
    runtime.block_on(embedded::run(&args)).unwrap()
}

#[test]
fn every_document_equals_its_row() {
    let summary = run(400, None);
    assert!(summary.passed(), "{}", summary.verdict());
    assert_eq!(summary.orders, 400);
    assert!(summary.rows > 2_000 && summary.documents > 400, "{}", summary.verdict());
    assert!(summary.freshness_ms.p50 > Some(0) && summary.freshness_ms.p99 >= summary.freshness_ms.p50);
    assert!(summary.rows_per_s > 0);
}

#[test]
fn dropped_writes_are_lost_documents() {
    let summary = run(200, Some(Sabotage::Drop));
    assert!(!summary.passed());
    assert!(summary.lost > 0 && summary.stale == 0 && summary.doubled == 0, "{}", summary.verdict());
    assert!(!summary.differences.is_empty());
}

#[test]
fn old_states_that_stay_are_stale_documents() {
    let summary = run(200, Some(Sabotage::Stale));
    assert!(!summary.passed());
    assert!(summary.lost == 0 && summary.stale > 0 && summary.doubled == 0, "{}", summary.verdict());
}

#[test]
fn second_ids_are_doubled_documents() {
    let summary = run(200, Some(Sabotage::Double));
    assert!(!summary.passed());
    assert!(summary.lost == 0 && summary.stale == 0 && summary.doubled > 0, "{}", summary.verdict());
}
