//! Metrics of the process itself, from /proc, under the names that Prometheus' client libraries use.
//!
//! On systems without /proc there are none; nothing is guessed.

use towpath_engine::metrics::Kind;

use super::exposition::{head, series};

/// Ticks per second of the times in /proc/self/stat: USER_HZ, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes per kB in /proc/self/status.
const KB: u64 = 1024;

/// The process' own numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// The most that was ever resident, bytes.
    pub peak_resident_bytes: u64,
    /// User and system time, seconds.
    pub cpu_seconds: f64,
}

/// Reads them; `None` without /proc.
pub fn usage() -> Option<Usage> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    parse(&status, &stat)
}

fn parse(status: &str, stat: &str) -> Option<Usage> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * KB)
    };
    // The command's name stands in parentheses and may hold anything; utime and stime are the
    // 12th and 13th field after it.
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (rest.next()?.parse().ok()?, rest.next()?.parse().ok()?);
    Some(Usage {
        resident_bytes: field("VmRSS:")?,
        peak_resident_bytes: field("VmHWM:")?,
        cpu_seconds: (user + system) as f64 / TICKS_PER_SECOND,
    })
}

/// The metrics as text.
pub fn exposition() -> String {
    let mut out = String::new();
    head(&mut out, "towpath_build_info", Kind::Gauge, "Always 1; the version is a label");
    series(&mut out, "towpath_build_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    let Some(usage) = usage() else { return out };
    head(&mut out, "process_resident_memory_bytes", Kind::Gauge, "Resident memory, bytes");
    series(&mut out, "process_resident_memory_bytes", "", usage.resident_bytes);
    head(&mut out, "process_resident_memory_peak_bytes", Kind::Gauge, "The most that was ever resident, bytes");
    series(&mut out, "process_resident_memory_peak_bytes", "", usage.peak_resident_bytes);
    head(&mut out, "process_cpu_seconds_total", Kind::Counter, "User and system time, seconds");
    series(&mut out, "process_cpu_seconds_total", "", usage.cpu_seconds);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_a_name_with_spaces_and_parentheses() {
        let status = "Name:\ta) b\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0";
        let usage = parse(status, stat).unwrap();
        assert_eq!(usage, Usage { resident_bytes: 1 << 20, peak_resident_bytes: 2 << 20, cpu_seconds: 2.0 });
    }
}
