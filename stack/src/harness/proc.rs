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
    Some(parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?.1)
}

/// Seconds of CPU that a Java process has spent on compiling its own code, by the names that HotSpot gives its threads
/// (`C1 CompilerThread0`, …); 0 for any other.
pub fn compiling_s(pid: u32) -> f64 {
    let java = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "java");
    let threads = java.then(|| fs::read_dir(format!("/proc/{pid}/task")).ok()).flatten();
    let of_thread = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("stat")).ok()?;
        let (name, stat) = parse(&text)?;
        name.contains(" CompilerThre").then_some(stat.cpu_s)
    };
    threads.into_iter().flatten().flatten().filter_map(of_thread).sum()
}

/// Name and numbers of a line of `stat`.
fn parse(line: &str) -> Option<(&str, Stat)> {
    // The name in brackets may hold blanks and brackets.
    let (before, after) = line.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    // USER_HZ is 100 and a page has 4096 bytes on every Linux that runs this.
    let cpu_s = (number(11)? + number(12)?) as f64 / 100.0;
    let stat = Stat { group: u32::try_from(number(2)?).ok()?, cpu_s, rss: number(21)? * 4096 };
    Some((before.split_once('(')?.1, stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_blanks_and_brackets() {
        let line = "77 (C2 (x) CompilerThre) S 1 42 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 99 1000 3 0";
        let (name, stat) = parse(line).unwrap();
        assert_eq!((name, stat.group, stat.cpu_s, stat.rss), ("C2 (x) CompilerThre", 42, 2.0, 3 * 4096));
    }

    #[test]
    fn this_process_is_no_java_and_compiles_nothing() {
        assert!(compiling_s(std::process::id()).abs() < f64::EPSILON);
    }
}
