//! Scenarios drawn from a seed: which faults exist, how often, where, for how long; sizes and topology too.
//!
//! One generator per concern, so that a draw added to one leaves the others as they were. Every drawn scenario passes
//! the same checks as one that a person wrote.

use towpath_engine::env::Rng;

use super::{Deletes, Fault, FaultKind, Fencing, Moment, Needs, RowMetadata, Scenario, Span, Topology, Work};

/// Every run's safety phase.
const LENGTH_MS: u64 = 60_000;
/// Faults begin after this: something must stand before it can fall.
const FIRST_MS: u64 = 3_000;

/// Failovers begin after this: a pipeline's first start waits for the server that is configured as its source, so one
/// that dies for good before that start has got through other faults is waited for in vain.
const FAILOVERS_MS: u64 = 35_000;

/// The scenario of a seed.
pub fn draw(seed: u64) -> Scenario {
    let mut sizes = Rng::new(seed ^ 0x0073_697a_6573);
    let mut topology = Topology {
        deployers: 2 + sizes.below(2) as u32,
        adapters: 1 + sizes.below(2) as u32,
        partitions: 1 + sizes.below(4) as u32,
        fencing: if sizes.below(3) == 0 { Fencing::Versions } else { Fencing::Transactions },
        deletes: Deletes::Soft,
        ..Topology::default()
    };
    let mut workload = Work {
        rate: [5, 20, 40][sizes.below(3) as usize],
        orders: 50 + sizes.below(400) as u32,
        huge_rows: if sizes.below(5) == 0 { 200 + sizes.below(2_000) as u32 } else { 0 },
        ..Work::default()
    };
    let past = draw_past(seed, &mut topology, &mut workload);
    let outage = draw_fallback(seed, &mut topology);
    let mut rng = Rng::new(seed ^ 0x6661_756c_7473);
    let kinds = kinds(&mut rng);
    let count = 1 + rng.below(8);
    let faults = (0..count).map(|_| fault(&mut rng, &kinds, &topology)).chain(past).chain(outage).collect();
    let bare = Scenario::new(format!("swarm-{seed}"), "drawn from a seed", Span::from_millis(LENGTH_MS));
    Scenario { drawn: true, topology, workload, faults, ..bare }
}

/// What is done to the source's past: failovers or a lost tail, beside XA transactions or columns that move or neither;
/// or, where its past stays, one of these.
fn draw_past(seed: u64, topology: &mut Topology, workload: &mut Work) -> Vec<Fault> {
    let mut rng = Rng::new(seed ^ 0x7061_7374);
    let mut groups = Rng::new(seed ^ 0x7861_7061_7374);
    let beside = groups.below(6);
    let xa = if beside < 2 { 1 + groups.below(3) as u32 } else { 0 };
    let past = rng.below(4);
    if past < 2 {
        workload.xa_per_second = xa;
        if beside == 2 {
            topology.row_metadata = RowMetadata::Minimal;
            workload.columns_move_every = Span::from_millis(1_500 + groups.below(8_000));
        }
    }
    match past {
        0 => {
            topology.standbys = 1 + rng.below(2) as u32;
            topology.semi_sync = Rng::new(seed ^ 0x7365_6d69).below(2) == 0;
            let lag = Some(Span::from_millis(500 + rng.below(8_000)));
            let mut faults = vec![Fault { at: at(&mut rng), lasts: lag, ..Fault::new(FaultKind::ReplicasLag) }];
            let count = 1 + rng.below(u64::from(topology.standbys));
            faults.extend((0..count).map(|_| Fault {
                at: Some(Span::from_millis(FAILOVERS_MS + rng.below(LENGTH_MS - FAILOVERS_MS - 1))),
                ..Fault::new(FaultKind::MySqlFailover)
            }));
            faults
        }
        1 => {
            let times = Some(1 + rng.below(20) as u32);
            vec![Fault { at: at(&mut rng), times, ..Fault::new(FaultKind::MySqlLosesTail) }]
        }
        2 => {
            // One or the other: a prepared transaction holds its table's definition.
            if rng.below(2) == 0 {
                workload.xa_per_second = 1 + rng.below(3) as u32;
            } else {
                topology.row_metadata = RowMetadata::Minimal;
                workload.columns_move_every = Span::from_millis(1_500 + rng.below(8_000));
            }
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// Whether deployers may write documents themselves, and when; then Kafka is away for a while, whatever else happens.
fn draw_fallback(seed: u64, topology: &mut Topology) -> Option<Fault> {
    let mut rng = Rng::new(seed ^ 0x6469_7265_6374);
    if rng.below(4) > 0 {
        return None;
    }
    topology.fallback = Some(Span::from_millis(1_000 + rng.below(5_000)));
    let lasts = Some(Span::from_millis(5_000 + rng.below(25_000)));
    Some(Fault { at: at(&mut rng), lasts, ..Fault::new(FaultKind::KafkaDown) })
}

/// A moment of the safety phase.
fn at(rng: &mut Rng) -> Option<Span> {
    Some(Span::from_millis(FIRST_MS + rng.below(LENGTH_MS - FIRST_MS - 1)))
}

/// A few kinds a run, so that some runs know only crashes and others only lost answers.
fn kinds(rng: &mut Rng) -> Vec<FaultKind> {
    let wanted = 1 + rng.below(6);
    // To the models one node's death is a short `zookeeper-down` or `kafka-down`, as a full disk is: these are drawn.
    let elsewhere =
        [FaultKind::LinkCut, FaultKind::ZooKeeperNodeDown, FaultKind::KafkaBrokerDown, FaultKind::KafkaDiskFull];
    let fits = |kind: &FaultKind| !kind.of_history() && !elsewhere.contains(kind);
    let all: Vec<FaultKind> = FaultKind::ALL.iter().copied().filter(fits).collect();
    (0..wanted).map(|_| all[rng.below(all.len() as u64) as usize]).collect()
}

fn fault(rng: &mut Rng, kinds: &[FaultKind], topology: &Topology) -> Fault {
    let kind = kinds[rng.below(kinds.len() as u64) as usize];
    let needs = kind.needs();
    let engine = topology.processes();
    let of_process = matches!(needs, Needs::Host | Needs::Pair | Needs::HostOnly);
    let by_call = rng.below(3) == 0;
    let moment = || Moment { call: String::new(), nth: 1, after: false };
    let mut when = by_call.then(moment);
    if let Some(moment) = &mut when {
        Moment::CALLS[rng.below(Moment::CALLS.len() as u64) as usize].clone_into(&mut moment.call);
        let early = rng.below(2) == 0;
        moment.nth = 1 + rng.below(if early { 4 } else { 80 }) as u32;
        moment.after = rng.below(2) == 0;
    }
    let host = match rng.below(3) {
        _ if !of_process => None,
        _ if by_call => None,
        0 => Some("leader".to_owned()),
        _ => Some(engine[rng.below(engine.len() as u64) as usize].clone()),
    };
    let most = [2_000, 10_000, 25_000][rng.below(3) as usize];
    let services = ["mysql", "kafka", "zookeeper", "elasticsearch"];
    Fault {
        kind,
        at: if by_call { None } else { at(rng) },
        when,
        lasts: matches!(needs, Needs::Span | Needs::Host | Needs::Pair)
            .then(|| Span::from_millis(200 + rng.below(most))),
        times: (needs == Needs::Times).then(|| 1 + rng.below(5) as u32),
        host,
        peer: (needs == Needs::Pair).then(|| services[rng.below(4) as usize].to_owned()),
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn every_seed_gives_a_scenario_that_can_happen_and_always_the_same() {
        for seed in 0..2_000 {
            let scenario = draw(seed);
            check(&scenario).unwrap();
            assert_eq!(scenario, draw(seed));
        }
    }
}
