//! Damaged binlogs, at random: nothing panics, nothing goes on for ever, and memory stays within a stated multiple of
//! the input.
//!
//! The seed comes from `TOWPATH_SEED` and is printed; a failure names the case, which `TOWPATH_CASE` repeats alone.
//! `TOWPATH_CASES` sets how many there are.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod drive;
mod mutate;
#[path = "../decode_random/random.rs"]
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use drive::Seen;
use random::Random;

const CASES: u64 = 1_200_000;
/// One in so many cases is a file, and one becomes records.
const FILES: u64 = 8;
/// The most memory for each byte of input: zlib makes up to 1,032 bytes of one (RFC 1951).
const FACTOR: u64 = 1100;
/// Memory that does not depend on the input: a batch of unpacked events and a decompressor's step.
const FIXED: u64 = 4 << 20;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn damaged_binlogs_end_without_a_panic_and_within_memory() {
    let seed = number("TOWPATH_SEED").unwrap_or(1);
    let recorded = mutate::recorded();
    let cases = match number("TOWPATH_CASE") {
        Some(case) => case..case + 1,
        None => 0..number("TOWPATH_CASES").unwrap_or(CASES),
    };
    println!("seed {seed}, {} cases from {} recorded transactions", cases.end - cases.start, recorded.len());
    let (mut all, mut bytes, mut most) = (Seen::default(), 0, 0);
    for case in cases.clone() {
        let outcome = catch_unwind(AssertUnwindSafe(|| one(&recorded, seed, case)));
        let (seen, length, peak) = outcome.unwrap_or_else(|panic| {
            println!("the case: TOWPATH_SEED={seed} TOWPATH_CASE={case}");
            resume_unwind(panic)
        });
        all.events += seen.events;
        all.rows += seen.rows;
        all.refused += seen.refused;
        bytes += length;
        most = most.max(peak);
    }
    println!("{bytes} bytes: {} events and {} rows read, {} refusals", all.events, all.rows, all.refused);
    println!("the most memory at once: {most} bytes");
    if cases.end - cases.start > 1000 {
        let refused = all.refused as f64 / (all.events + all.refused) as f64;
        assert!(all.rows > cases.end, "only {} rows were reached", all.rows);
        assert!(refused > 0.01, "only {} refusals", all.refused);
    }
}

/// One case: what came of it, its bytes, and the most memory it took.
fn one(recorded: &[Vec<Vec<u8>>], seed: u64, case: u64) -> (Seen, u64, u64) {
    let mut random = Random::new(seed.wrapping_mul(1 << 32).wrapping_add(case));
    let mut seen = Seen::default();
    let (length, memory) = if case % FILES == 0 {
        let file = mutate::file(recorded, &mut random);
        let piece = *random.pick(&[1, 7, 100, 4096, 1 << 20]);
        (file.len() as u64, allocation_counter::measure(|| seen = drive::file(&file, piece)))
    } else {
        let events = mutate::stream(recorded, &mut random);
        if case % FILES == 1 {
            // Records hold what the rows hold again and again: their size has a limit of its own.
            drive::stream(&events, true);
        }
        let length = events.iter().map(|event| event.len() as u64).sum();
        (length, allocation_counter::measure(|| seen = drive::stream(&events, false)))
    };
    let most = FIXED + FACTOR * length;
    assert!(memory.bytes_max <= most, "{} bytes of memory for {length} bytes", memory.bytes_max);
    (seen, length, memory.bytes_max)
}
