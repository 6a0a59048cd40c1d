//! What the kernel says of a process (`/proc/PID/stat`, proc(5)).

use std::fs;

/// One look at a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stat {
    /// Its process group.
    pub group: u32,
    /// Seconds of CPU so far, user and system.
    pub cpu_s: f64,
    /// Memory resident now, bytes.
    pub rss: u64,
}

/// The most memory that a process has had resident at once, bytes.
///
/// # Errors
/// There is no such process.
pub fn peak_rss(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    Ok(kilobytes * 1024)
}

/// Looks at a process; none if there is none.
pub fn stat(pid: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name in brackets, may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    // USER_HZ is 100 and a page has 4096 bytes on every Linux that runs this.
    let cpu_s = (number(11)? + number(12)?) as f64 / 100.0;
    Some(Stat { group: u32::try_from(number(2)?).ok()?, cpu_s, rss: number(21)? * 4096 })
}
