//! CPU and memory of every process involved, from the kernel's own accounting.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Sub;
use towpath_stack::harness::proc::{Stat, compiling_s, stat};

/// What a process has used between the first and the last look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// `mysql`, `kafka-1`, `es-hot`, `deployer-a`, `generator`, …
    pub name: String,
    /// Seconds of CPU, user and system.
    pub cpu_s: f64,
    /// Of these, what a Java process has spent on compiling its own code: less and less the longer it runs.
    #[serde(default)]
    pub compile_s: f64,
    /// The most memory resident at a look, 10⁶ bytes.
    pub peak_rss_mb: f64,
}

/// Seconds of CPU: all, and of these for compiling.
#[derive(Debug, Clone, Copy, Default)]
struct Spent(f64, f64);

impl Sub for Spent {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self(self.0 - earlier.0, self.1 - earlier.1)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    first: Spent,
    last: Spent,
    peak_rss: u64,
    /// At the look that opened the window, and at the one that closed it.
    window: (Option<Spent>, Option<Spent>),
}

/// Watches processes by id; a service's whole process group counts.
#[derive(Debug, Default)]
pub struct Watch {
    names: Vec<(String, u32)>,
    seen: BTreeMap<u32, Seen>,
    /// When the window was opened and closed, seconds from the run's start.
    window: (Option<f64>, Option<f64>),
}

impl Watch {
    /// Of these, and of this process itself as `generator`.
    pub fn new(names: &[(String, u32)]) -> Self {
        let mut names = names.to_vec();
        names.push(("generator".to_owned(), std::process::id()));
        Self { names, ..Self::default() }
    }

    /// One that came later.
    pub fn add(&mut self, name: &str, pid: u32) {
        self.names.push((name.to_owned(), pid));
    }

    /// Looks at all of them.
    pub fn look(&mut self) {
        for pid in members(&self.names) {
            let Some(Stat { cpu_s: cpu, rss, .. }) = stat(pid.1) else { continue };
            let spent = Spent(cpu, compiling_s(pid.1));
            let seen = self.seen.entry(pid.1).or_insert(Seen { first: spent, ..Seen::default() });
            seen.last = spent;
            seen.peak_rss = seen.peak_rss.max(rss);
        }
    }

    /// The window begins with the last look, at this second of the run; once only.
    pub fn open_window(&mut self, at_s: f64) {
        if self.window.0.is_none() {
            self.window.0 = Some(at_s);
            self.seen.values_mut().for_each(|seen| seen.window.0 = Some(seen.last));
        }
    }

    /// The window ends with the last look, at this second of the run; once only.
    pub fn close_window(&mut self, at_s: f64) {
        if self.window.1.is_none() {
            self.window.1 = Some(at_s);
            self.seen.values_mut().for_each(|seen| seen.window.1 = Some(seen.last));
        }
    }

    /// From when to when the window was, seconds from the run's start, and what was used in it; none: it never closed.
    pub fn window(&self) -> Option<(f64, f64, Vec<Used>)> {
        let used = self.sum(|seen| {
            let (open, close) = seen.window;
            close.unwrap_or(seen.last) - open.unwrap_or(seen.first)
        });
        Some((self.window.0?, self.window.1?, used))
    }

    /// What was used from the first to the last look; processes of one name are added up.
    pub fn used(&self) -> Vec<Used> {
        self.sum(|seen| seen.last - seen.first)
    }

    fn sum(&self, spent: impl Fn(&Seen) -> Spent) -> Vec<Used> {
        let mut used: Vec<Used> = Vec::new();
        for (name, pid) in members(&self.names).into_iter().chain(self.gone()) {
            let Some(seen) = self.seen.get(&pid) else { continue };
            let (Spent(cpu_s, compile_s), peak_rss_mb) = (spent(seen), seen.peak_rss as f64 / 1e6);
            match used.iter_mut().find(|one| one.name == name) {
                Some(one) => {
                    one.cpu_s += cpu_s;
                    one.compile_s += compile_s;
                    one.peak_rss_mb += peak_rss_mb;
                }
                None => used.push(Used { name, cpu_s, compile_s, peak_rss_mb }),
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
        let mut work = |until: f64| {
            while stat(std::process::id()).unwrap().cpu_s < until {
                sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
            }
        };
        work(begun + 0.05);
        watch.look();
        watch.open_window(3.0);
        work(begun + 0.15);
        watch.look();
        watch.close_window(5.0);
        work(begun + 0.4);
        watch.look();
        watch.close_window(6.0);
        let (from, to, within) = watch.window().unwrap();
        assert_eq!((from, to), (3.0, 5.0));
        assert!((0.08..0.2).contains(&within[0].cpu_s), "{within:?}");
        let used = watch.used();
        assert_eq!((used.len(), used[0].name.as_str()), (1, "generator"));
        assert!(used[0].cpu_s >= 0.05 && used[0].peak_rss_mb > 1.0, "{used:?}");
    }
}
