//! GTID sets against the real server: subset, subtraction, union and the text form, at random, tags included.
//!
//! The seed comes from `TOWPATH_SEED` and is printed; a failing pair is shrunk.

use anyhow::Result;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use tokio::runtime::Runtime;
use towpath_engine::gtid::GtidSet;
use towpath_stack::Stack;

const CASES: u32 = 300;
const SOURCES: [&str; 3] = [
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "4f11fa47-71ca-11e1-9e33-c80aa9429562",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];
const TAGS: [&str; 4] = ["", "blue", "_t1", "a_tag_of_thirty_two_characters__"];

/// Sets as text, as people write them: intervals in any order, that overlap and touch; now and then in capitals.
fn sets() -> impl Strategy<Value = String> {
    let number =
        prop_oneof![4 => 1u64..30, 1 => Just(i64::MAX as u64 - 1), 1 => any::<u32>().prop_map(|n| u64::from(n) + 1)];
    let interval = (number, 0u64..6).prop_map(|(first, more)| {
        let last = first.saturating_add(more).min(i64::MAX as u64 - 1);
        if last == first { first.to_string() } else { format!("{first}-{last}") }
    });
    let intervals = proptest::collection::vec(interval, 1..5).prop_map(|list| list.join(":"));
    let source =
        (0..SOURCES.len(), 0..TAGS.len(), intervals, any::<bool>()).prop_map(|(source, tag, intervals, upper)| {
            let tag = if TAGS[tag].is_empty() { String::new() } else { format!(":{}", TAGS[tag]) };
            let text = format!("{}{tag}:{intervals}", SOURCES[source]);
            if upper { text.to_uppercase() } else { text }
        });
    proptest::collection::vec(source, 0..6).prop_map(|list| list.join(","))
}

/// What the server says of two sets: whether the first is in the second, the difference, and either's union, each as
/// it prints it.
async fn server_says(conn: &mut Conn, left: &str, right: &str) -> Result<(bool, String, String, String)> {
    let both = [left, right].iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>().join(",");
    let asked = "SELECT GTID_SUBSET(?, ?), GTID_SUBTRACT(?, ?), GTID_SUBTRACT(?, ''), GTID_SUBTRACT(?, '')";
    let said: Option<(bool, String, String, String)> =
        conn.exec_first(asked, (left, right, left, right, &both, left)).await?;
    let (subset, difference, union, left) = said.unwrap_or_default();
    // The server breaks lines between sources.
    let line = |text: String| text.replace('\n', "");
    Ok((subset, line(difference), line(union), line(left)))
}

#[test]
fn sets_are_computed_and_printed_as_the_server_does() -> Result<()> {
    let seed: u64 = std::env::var("TOWPATH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}, {CASES} pairs of sets");
    let runtime = Runtime::new()?;
    let stack = runtime.block_on(Stack::attach_or_start(Stack::builder().mysql()))?;
    let conn = runtime.block_on(Conn::from_url(stack.mysql()?.root_url()))?;
    let conn = std::cell::RefCell::new(conn);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&(sets(), sets()), |(left, right)| {
        let said = runtime.block_on(server_says(&mut conn.borrow_mut(), &left, &right));
        let (subset, difference, union, printed) = said.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let parse = |text: &str| text.parse::<GtidSet>().map_err(|error| TestCaseError::fail(error.to_string()));
        let (ours, other) = (parse(&left)?, parse(&right)?);
        prop_assert_eq!(ours.to_string(), printed, "the text form");
        prop_assert_eq!(ours.is_subset(&other), subset, "subset");
        prop_assert_eq!(other.contains_all(&ours), subset, "contains");
        prop_assert_eq!(ours.subtract(&other).to_string(), difference.clone(), "difference");
        prop_assert_eq!(ours.union(&other).to_string(), union.clone(), "union");
        prop_assert_eq!(parse(&union)?, ours.union(&other), "the server's text reads back");
        prop_assert_eq!(parse(&difference)?, ours.subtract(&other), "the server's text reads back");
        Ok(())
    });
    runtime.block_on(conn.into_inner().disconnect())?;
    outcome.map_err(|error| anyhow::anyhow!("seed {seed}: {error}"))
}
