//! The set's algebra against a plain set of numbers, and the text form against the server's.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "4f11fa47-71ca-11e1-9e33-c80aa9429562";

fn set(text: &str) -> GtidSet {
    text.parse().unwrap()
}

#[test]
fn reads_what_the_server_prints_and_takes() {
    let canonical = format!("{A}:1-5:9:11-19:blue:1-3:7,{B}:blue:4");
    for text in [
        canonical.clone(),
        format!("{A}:1-5:9:11-19:blue:1-3:7,\n{B}:blue:4"),
        format!(" {B}:blue:4 ,, {}:11-19:9:1 - 5:BLUE:7:1-3,", A.to_uppercase()),
        format!("{{{A}}}:1-2:3-5:9:11-15:12-19:blue:1:2:3:7,{}:blue:4", B.replace('-', "")),
    ] {
        assert_eq!(set(&text).to_string(), canonical, "{text}");
    }
    assert!(set("").is_empty() && set(" \n").is_empty());
}

#[test]
fn refuses_what_is_not_a_set_and_says_where() {
    for (text, at) in [
        ("nonsense".to_owned(), 1),
        (A.to_owned(), 37),
        (format!("{A}:"), 38),
        (format!("{A}:0"), 38),
        (format!("{A}:9223372036854775807"), 38),
        (format!("{A}:5-4"), 41),
        (format!("{A}:1-"), 40),
        (format!("{A}:blue"), 42),
        (format!("{A}:blue:red:1"), 43),
        (format!("{A}:1x"), 39),
        (format!("{A}:1 {B}:1"), 40),
        (format!("{A}:1;{B}:1"), 39),
        (format!("{}:1", &A[1..]), 1),
        (format!("{A}0:1"), 1),
        (format!("{A}:{}:1", "x".repeat(33)), 38),
    ] {
        let error = text.parse::<GtidSet>().unwrap_err();
        assert_eq!(error.at, at, "{text}: {error}");
    }
}

#[test]
fn a_hole_is_not_contained() {
    let held = set(&format!("{A}:1-5:7-9"));
    assert!(!held.contains(&Gtid::new(A.parse().unwrap(), 6)));
    assert!(!held.contains_all(&set(&format!("{A}:5-7"))));
    assert!(!held.contains_all(&set(&format!("{A}:tag:1"))), "a tag is a source of its own");
    assert!(held.contains_all(&set(&format!("{A}:2-5:8"))));
}

#[test]
fn counts_past_64_bits() {
    let set = set(&format!("{A}:1-9223372036854775806,{B}:1-9223372036854775806:t:1-9223372036854775806"));
    assert_eq!(set.count(), 3 * u128::from(MAX_NUMBER));
}

/// Small numbers, so that neighbours and overlaps are common; three sources.
fn numbers() -> impl Strategy<Value = BTreeSet<(u8, u64)>> {
    proptest::collection::btree_set((0u8..3, 1u64..40), 0..60)
}

fn gtid((source, number): (u8, u64)) -> Gtid {
    match source {
        0 => Gtid::new(A.parse().unwrap(), number),
        1 => Gtid::tagged(A.parse().unwrap(), Tag::new("blue").unwrap(), number),
        _ => Gtid::new(B.parse().unwrap(), number),
    }
}

fn from(numbers: &BTreeSet<(u8, u64)>) -> GtidSet {
    // Not in order: every way of merging is walked.
    let mut order: Vec<_> = numbers.iter().copied().collect();
    order.sort_by_key(|&(source, number)| (number * 17 % 41, source));
    order.into_iter().map(gtid).collect()
}

proptest! {
    #[test]
    fn behaves_as_a_set_of_numbers(left in numbers(), right in numbers()) {
        let (a, b) = (from(&left), from(&right));
        prop_assert_eq!(a.union(&b), from(&(&left | &right)));
        prop_assert_eq!(a.subtract(&b), from(&(&left - &right)));
        prop_assert_eq!(a.intersect(&b), from(&(&left & &right)));
        prop_assert_eq!(a.contains_all(&b), right.is_subset(&left));
        prop_assert_eq!(a.is_subset(&b), left.is_subset(&right));
        prop_assert_eq!(a.count(), left.len() as u128);
        prop_assert_eq!(a.is_empty(), left.is_empty());
        for source in 0..3 {
            for number in 1..41 {
                let held = left.contains(&(source, number));
                prop_assert_eq!(a.contains(&gtid((source, number))), held);
                prop_assert_eq!(a.clone().insert(gtid((source, number))), !held);
            }
        }
    }

    #[test]
    fn text_and_serde_round_trip(numbers in numbers()) {
        let set = from(&numbers);
        prop_assert_eq!(&set.to_string().parse::<GtidSet>().unwrap(), &set);
        let json = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(&json, &format!("\"{set}\""));
        prop_assert_eq!(&serde_json::from_str::<GtidSet>(&json).unwrap(), &set);
        for gtid in numbers.into_iter().map(gtid) {
            prop_assert_eq!(gtid.to_string().parse::<Gtid>().unwrap(), gtid);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[0-9a-f:,\\-{} \u{e9}xyz]{0,60}") {
        let _ = text.parse::<GtidSet>();
        let _ = text.parse::<Gtid>();
        let _ = text.parse::<Uuid>();
    }
}
