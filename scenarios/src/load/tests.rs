//! Traffic is repeatable, follows its curve, and fits the rows there are; profiles that cannot be are refused.

use super::*;
use crate::workload::{State, Table};

const SECOND: u64 = 1_000_000;

fn profile(text: &str) -> Result<Profile, String> {
    parse(
        "test",
        text,
        &|file| Ok(if file == "gap.csv" { "0,1\n2,1\n" } else { "second,rate\n0,5\n1,50\n" }.to_owned()),
    )
    .map_err(|error| error.to_string())
}

const WHOLE: &str = "learn = \"x\"\nlength = \"60s\"\n[orders]\nrate = { curve = \"constant\", rate = 20 }\n\
                     poisson = true\n[sounds]\nevery = \"5s\"\ncluster = \"remind\"\n[lists]\n\
                     rate = { curve = \"ramp\", from = 0, to = 10 }\n";

#[test]
fn one_seed_is_one_traffic_and_its_moments_never_go_back() {
    let profile = profile(WHOLE).unwrap();
    let first: Vec<Planned> = Traffic::new(&profile, 7, 1).collect();
    assert_eq!(first, Traffic::new(&profile, 7, 1).collect::<Vec<_>>());
    assert_ne!(first, Traffic::new(&profile, 8, 1).collect::<Vec<_>>());
    assert!(first.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us));
    let polls = first.iter().filter(|planned| matches!(planned.what, What::Poll { .. })).count();
    let lists = first.iter().filter(|planned| matches!(planned.what, What::List { .. })).count();
    assert!((6_500..7_500).contains(&polls), "500 merchants for 68.5 s, every 5 s: {polls}");
    assert!((295..=300).contains(&lists), "a ramp to 10 over 60 s: {lists}");
}

#[test]
fn arrivals_follow_their_curve() {
    let count = |curve: Curve, from: u64, to: u64| {
        let arrivals = Arrivals::new(curve, 1.0, 20 * SECOND, false, 1);
        arrivals.filter(|at| (from * SECOND..to * SECOND).contains(at)).count()
    };
    let close = |got: usize, want: usize| assert!(got.abs_diff(want) <= 2, "{got}, not {want}");
    let span = crate::scenario::Span::from_millis;
    close(count(Curve::Constant { rate: 100.0 }, 0, 20), 2_000);
    close(count(Curve::Ramp { from: 0.0, to: 100.0 }, 0, 10), 250);
    let spike = Curve::Spike { rate: 10.0, peak: 500.0, at: span(5_000), lasts: span(2_000) };
    close(count(spike.clone(), 5, 7), 1_000);
    close(count(spike, 7, 20), 130);
    let stages = vec![Stage { to: 100.0, over: span(2_000) }, Stage { to: 0.0, over: span(2_000) }];
    close(count(Curve::Stages { from: 0.0, stages }, 0, 20), 200);
    close(count(Curve::Sine { mean: 50.0, swing: 50.0, period: span(20_000) }, 0, 20), 1_000);
    close(count(Curve::Replay { file: String::new(), rates: vec![5.0, 50.0] }, 0, 2), 55);
    let random = Arrivals::new(Curve::Constant { rate: 100.0 }, 2.0, 100 * SECOND, true, 3);
    assert!(random.count().abs_diff(20_000) < 500);
}

#[test]
fn every_planned_write_fits_the_rows_there_are_and_every_step_occurs() {
    let mut profile = profile(WHOLE).unwrap();
    profile.scale = 3.0;
    let mut state = State::default();
    let mut kinds = std::collections::BTreeMap::new();
    for planned in Traffic::new(&profile, 1, 1_000) {
        let What::Write(write) = planned.what else { continue };
        *kinds.entry(write.kind).or_insert(0) += 1;
        write.transaction.ops.iter().for_each(|op| state.apply(op).unwrap());
    }
    assert_eq!(kinds.len(), 8, "{kinds:?}");
    assert!(kinds[&StepKind::Created] > 3_400 && kinds[&StepKind::Archived] > 50, "{kinds:?}");
    assert!(state.rows(Table::Orders).count() > 3_000);
}

#[test]
fn few_merchants_have_most_orders() {
    let (zipf, mut rng) = (Zipf::new(1_000, 1.05), towpath_engine::env::Rng::new(1));
    let draws: Vec<u32> = (0..20_000).map(|_| zipf.draw(&mut rng)).collect();
    let head = draws.iter().filter(|rank| **rank <= 100).count();
    assert!((13_000..16_000).contains(&head), "{head}");
    assert!(draws.iter().all(|rank| (1..=1_000).contains(rank)) && draws.iter().any(|rank| *rank > 900));
}

#[test]
fn a_squeezed_profile_keeps_its_rates_and_its_shape() {
    let text = WHOLE.replace(
        "curve = \"constant\", rate = 20",
        "curve = \"spike\", rate = 10, peak = 90, at = \"20s\", \
                              lasts = \"10s\"",
    );
    let mut profile = profile(&text).unwrap();
    profile.squeeze(6);
    let rate = &profile.orders.as_ref().unwrap().rate;
    assert_eq!([1, 2, 3].map(|second| rate.rate(second * SECOND, 6 * SECOND)), [10.0, 90.0, 10.0]);
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let head = "learn = \"x\"\nlength = \"60s\"\n";
    let lists = "[lists]\nrate = { curve = \"constant\", rate = 1 }\n";
    for (text, told) in [
        (format!("{head}lenght = \"1s\"\n{lists}"), "line 3: unknown key `lenght`; did you mean `length`?"),
        (format!("{head}[lists]\nrate = {{ curve = \"constnat\", rate = 1 }}\n"), "did you mean `constant`?"),
        (format!("{head}levels = [\"sound_dealy.p99 < 2s\"]\n{lists}"), "did you mean `sound_delay`?"),
        (format!("{head}levels = [\"sound_delay.p99 < 2s\"]\n{lists}"), "cannot be measured"),
        (format!("{head}levels = [\"list_latency < 2s\"]\n{lists}"), "say which of it"),
        (format!("{head}levels = [\"list_latency.p99 < 2\"]\n{lists}"), "is not like"),
        (
            format!("{head}[lists]\nrate = {{ curve = \"replay\", file = \"gap.csv\" }}\n"),
            "line 2: second 1 is expected",
        ),
        (format!("{head}[lists]\nrate = {{ curve = \"constant\", rate = -1 }}\n"), "-1 is no rate"),
        (format!("{head}{lists}cluster = \"remnid\"\n"), "did you mean `remind`?"),
        (head.to_owned(), "it does nothing"),
        (WHOLE.replace("poisson = true", "accept_after = \"2s\""), "nobody has heard of"),
        (format!("{WHOLE}[outage]\nat = \"50s\"\nlasts = \"20s\"\n"), "must end before the run"),
    ] {
        let error = profile(&text).unwrap_err();
        assert!(error.contains(told), "{error}\nlacks: {told}");
    }
}

#[test]
fn levels_compare_in_their_unit() {
    let level: Level = "sound_delay.p99 < 2s".parse().unwrap();
    assert!(level.holds(1_999.0) && !level.holds(2_000.0));
    let share: Level = "errors < 1%".parse().unwrap();
    assert!(share.holds(0.005) && !share.holds(0.01));
    assert_eq!(share.to_string(), "errors < 1%");
}
