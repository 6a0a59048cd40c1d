//! Scenarios for real processes, drawn from a seed: as long as asked, with faults that signals, links that are cut and
//! services that are killed can show.
//!
//! Where the swarm lets faults meet as they like, here what stands is given time to stand up again: a service takes
//! seconds to start, and a deployer whose rival is paused must be there to take the lead.

use towpath_engine::env::Rng;

use super::{Fault, FaultKind, Needs, Scenario, Span, Topology, Work};

/// The first fault, and how long the last one's effects have before the end.
const MARGIN_MS: u64 = 10_000;
/// From a fault's end to the next one on the same part.
const RECOVERS_MS: u64 = 12_000;
/// From one fault's begin to the next one's.
const BETWEEN_MS: (u64, u64) = (4_000, 14_000);
/// How long a fault lasts.
const LASTS_MS: (u64, u64) = (500, 15_000);
/// How often a place is looked for where the fault meets nobody who is down already.
const TRIES: usize = 20;

/// What a fault falls on. Of one part only one fault goes on at a time.
const PARTS: [&str; 7] = ["deployers", "adapter-1", "adapter-2", "mysql", "kafka", "zookeeper", "elasticsearch"];

/// The scenario of a seed; `length_ms` at least half a minute.
pub fn draw(seed: u64, length_ms: u64) -> Scenario {
    let length_ms = length_ms.max(30_000);
    let mut rng = Rng::new(seed ^ 0x736f_616b);
    let mut free_at = PARTS.map(|part| (part, 0));
    let mut faults = Vec::new();
    let mut at = MARGIN_MS;
    while at + MARGIN_MS < length_ms {
        for _ in 0..TRIES {
            let part = rng.below(free_at.len() as u64) as usize;
            let (name, free) = free_at[part];
            if free > at {
                continue;
            }
            let most = LASTS_MS.1.min(length_ms - at);
            let lasts = LASTS_MS.0 + rng.below(most - LASTS_MS.0);
            free_at[part].1 = at + lasts + RECOVERS_MS;
            faults.push(fault(&mut rng, name, at, lasts));
            break;
        }
        at += BETWEEN_MS.0 + rng.below(BETWEEN_MS.1 - BETWEEN_MS.0);
    }
    let topology = Topology { deployers: 3, ..Topology::default() };
    let workload = Work { rate: 30, ..Work::default() };
    let bare = Scenario::new(format!("soak-{seed}"), "drawn from a seed", Span::from_millis(length_ms));
    Scenario { drawn: true, topology, workload, faults, ..bare }
}

fn fault(rng: &mut Rng, part: &str, at: u64, lasts: u64) -> Fault {
    use FaultKind as Kind;
    let kinds: &[Kind] = match part {
        "deployers" => &[Kind::Crash, Kind::Stop, Kind::Pause, Kind::Partition, Kind::Delay, Kind::SessionExpired],
        "mysql" => &[Kind::MySqlDown, Kind::MySqlRestart, Kind::MySqlSilent, Kind::MySqlRotate],
        "kafka" => &[Kind::KafkaDown, Kind::KafkaDiskFull],
        "zookeeper" => &[Kind::ZooKeeperDown, Kind::ZooKeeperNodeDown],
        "elasticsearch" => &[Kind::ElasticsearchDown, Kind::ElasticsearchRestart, Kind::ElasticsearchBusy],
        _ => &[Kind::Crash, Kind::Stop, Kind::Pause, Kind::Partition, Kind::Delay],
    };
    let kind = kinds[rng.below(kinds.len() as u64) as usize];
    let needs = kind.needs();
    let host = match part {
        "deployers" if rng.below(4) > 0 => "leader".to_owned(),
        "deployers" => format!("deployer-{}", 1 + rng.below(3)),
        _ => part.to_owned(),
    };
    // A deployer has links to the source and the ensemble, an adapter to the clusters.
    let peer = match part {
        "deployers" => ["mysql", "zookeeper"][rng.below(2) as usize],
        _ => "elasticsearch",
    };
    Fault {
        at: Some(Span::from_millis(at)),
        lasts: matches!(needs, Needs::Span | Needs::Host | Needs::Pair).then(|| Span::from_millis(lasts)),
        times: (needs == Needs::Times).then(|| 1 + rng.below(20) as u32),
        host: matches!(needs, Needs::Host | Needs::Pair | Needs::HostOnly).then_some(host),
        peer: (needs == Needs::Pair).then(|| peer.to_owned()),
        ..Fault::new(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_seed_gives_a_scenario_that_can_happen_and_always_the_same() {
        let mut kinds = BTreeSet::new();
        for seed in 0..500 {
            let scenario = draw(seed, 60_000 * (1 + seed % 10));
            check(&scenario).unwrap();
            assert!(!scenario.faults.is_empty());
            assert_eq!(scenario, draw(seed, 60_000 * (1 + seed % 10)));
            kinds.extend(scenario.faults.iter().map(|fault| fault.kind));
        }
        assert_eq!(kinds.len(), 17, "{kinds:?}");
    }

    #[test]
    fn deployers_meet_one_fault_at_a_time() {
        for seed in 0..200 {
            let scenario = draw(seed, 600_000);
            let of_deployers = scenario.faults.iter().filter(|fault| {
                fault.host.as_deref().is_some_and(|host| host == "leader" || host.starts_with("deployer"))
            });
            let mut until = 0;
            for fault in of_deployers {
                let at = fault.at.unwrap().millis();
                assert!(at >= until, "seed {seed}: {fault:?} begins before {until}");
                until = at + fault.lasts.map_or(0, |lasts| lasts.millis());
            }
        }
    }
}
