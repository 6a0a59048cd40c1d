//! CPU and memory of every process involved, from the kernel's own accounting.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use towpath_stack::harness::proc::{Stat, stat};

/// What a process has used between the first and the last look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// `mysql`, `kafka-1`, `es-hot`, `deployer-a`, `generator`, …
    pub name: String,
    /// Seconds of CPU, user and system.
    pub cpu_s: f64,
    /// The most memory resident at a look, 10⁶ bytes.
    pub peak_rss_mb: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    first_cpu: f64,
    last_cpu: f64,
    peak_rss: u64,
}

/// Watches processes by id; a service's whole process group counts.
#[derive(Debug, Default)]
pub struct Watch {
    names: Vec<(String, u32)>,
    seen: BTreeMap<u32, Seen>,
}

impl Watch {
    /// Of these, and of this process itself as `generator`.
    pub fn new(names: &[(String, u32)]) -> Self {
        let mut names = names.to_vec();
        names.push(("generator".to_owned(), std::process::id()));
        Self { names, seen: BTreeMap::new() }
    }

    /// One that came later.
    pub fn add(&mut self, name: &str, pid: u32) {
        self.names.push((name.to_owned(), pid));
    }

    /// Looks at all of them.
    pub fn look(&mut self) {
        for pid in members(&self.names) {
            let Some(Stat { cpu_s: cpu, rss, .. }) = stat(pid.1) else { continue };
            let seen = self.seen.entry(pid.1).or_insert(Seen { first_cpu: cpu, last_cpu: cpu, peak_rss: rss });
            seen.last_cpu = cpu;
            seen.peak_rss = seen.peak_rss.max(rss);
        }
    }

    /// What was used from the first to the last look; processes of one name are added up.
    pub fn used(&self) -> Vec<Used> {
        let mut used: Vec<Used> = Vec::new();
        for (name, pid) in members(&self.names).into_iter().chain(self.gone()) {
            let Some(seen) = self.seen.get(&pid) else { continue };
            let (cpu_s, peak_rss_mb) = (seen.last_cpu - seen.first_cpu, seen.peak_rss as f64 / 1e6);
            match used.iter_mut().find(|one| one.name == name) {
                Some(one) => (one.cpu_s, one.peak_rss_mb) = (one.cpu_s + cpu_s, one.peak_rss_mb + peak_rss_mb),
                None => used.push(Used { name, cpu_s, peak_rss_mb }),
            }
        }
        used
    }

    /// Named processes that were seen and have ended.
    fn gone(&self) -> Vec<(String, u32)> {
        let ended = |(_, pid): &&(String, u32)| self.seen.contains_key(pid) && stat(*pid).is_none();
        self.names.iter().filter(ended).cloned().collect()
    }
}

/// The named processes, and for a leader of a process group its members under the leader's name.
fn members(names: &[(String, u32)]) -> Vec<(String, u32)> {
    let by_pid: BTreeMap<u32, &str> = names.iter().map(|(name, pid)| (*pid, name.as_str())).collect();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let named = by_pid.get(&pid);
        let name = named.or_else(|| by_pid.get(&stat(pid)?.group))?;
        Some(((*name).to_owned(), pid))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_to_work() {
        let mut watch = Watch::new(&[]);
        watch.look();
        let begun = stat(std::process::id()).unwrap().cpu_s;
        let mut sum = 0_u64;
        while stat(std::process::id()).unwrap().cpu_s < begun + 0.05 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        watch.look();
        let used = watch.used();
        assert_eq!((used.len(), used[0].name.as_str()), (1, "generator"));
        assert!(used[0].cpu_s >= 0.05 && used[0].peak_rss_mb > 1.0, "{used:?}");
    }
}
