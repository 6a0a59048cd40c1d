//! What the pipeline's processes cost while a run lasts: CPU and memory, before its faults, during them and after.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

use super::outcome::{Cost, ProcessCost};
use crate::harness::fleet::{Fleet, Role};
use crate::harness::proc::{Stat, stat};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// A look at a process.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    pid: u32,
    stat: Stat,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Costs {
    looks: BTreeMap<String, Vec<Look>>,
    last: Option<Instant>,
}

impl Costs {
    /// Looks at every process, if the last look is long enough ago.
    pub fn look(&mut self, fleet: &Fleet) {
        let at = Instant::now();
        if self.last.is_some_and(|last| at - last < EVERY) {
            return;
        }
        self.last = Some(at);
        for name in [fleet.names(Role::Deployer), fleet.names(Role::Adapter)].concat() {
            let Ok(process) = fleet.process(&name) else { continue };
            let pid = process.pid();
            let Some(stat) = stat(pid) else { continue };
            self.looks.entry(name).or_default().push(Look { at, pid, stat });
        }
    }

    /// By process and phase: faults go on from `first` to `last`.
    pub fn told(&self, first: Instant, last: Instant) -> Vec<ProcessCost> {
        let told = |(name, looks): (&String, &Vec<Look>)| ProcessCost {
            process: name.clone(),
            before: cost(looks, |at| at < first),
            during: cost(looks, |at| at >= first && at < last),
            after: cost(looks, |at| at >= last),
        };
        self.looks.iter().map(told).collect()
    }
}

/// Between each look that counts and the one before: a process that was started again began at nothing.
fn cost(looks: &[Look], counts: impl Fn(Instant) -> bool) -> Option<Cost> {
    let pairs = looks.windows(2).filter_map(|pair| match pair {
        [a, b] if counts(a.at) && counts(b.at) && a.pid == b.pid => Some((a, b)),
        _ => None,
    });
    let (mut cpu, mut seconds, mut most) = (0.0, 0.0, 0);
    for (a, b) in pairs {
        cpu += b.stat.cpu_s - a.stat.cpu_s;
        seconds += (b.at - a.at).as_secs_f64();
        most = most.max(b.stat.rss);
    }
    (seconds > 0.0).then(|| Cost { cores: (cpu / seconds * 1e4).round() / 1e4, rss_mb_most: most >> 20 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_costs_what_was_used_in_it_and_a_new_process_begins_at_nothing() {
        let begun = Instant::now();
        let second = |s: u64| begun + Duration::from_secs(s);
        let look = |s: u64, pid: u32, cpu_s: f64, mb: u64| Look {
            at: second(s),
            pid,
            stat: Stat { group: 1, cpu_s, rss: mb << 20 },
        };
        let mut looks = vec![look(0, 7, 5.0, 10), look(10, 7, 6.0, 30), look(20, 7, 6.5, 20)];
        looks.extend([look(30, 8, 0.1, 5), look(40, 8, 1.1, 6)]);
        let costs = Costs { looks: [("deployer-1".to_owned(), looks)].into(), last: None };
        let [told] = &costs.told(second(15), second(25))[..] else { panic!("one process") };
        let expected = |cores, rss_mb_most| Some(Cost { cores, rss_mb_most });
        assert_eq!((told.before, told.during, told.after), (expected(0.1, 30), None, expected(0.1, 6)));
    }
}
