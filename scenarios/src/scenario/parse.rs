//! From a file's text to a scenario, or to one sentence that says what is wrong, in which line, and what may be meant.

use super::{Fault, FaultKind, Moment, Needs, Scenario, Span};
use crate::refusal::{Refusal, did_you_mean};

/// What the file is called in a sentence.
const WHAT: &str = "scenario";

/// Reads a scenario and checks that it can happen.
///
/// # Errors
/// An unknown key, host, call or fault; a fault that cannot take place within the run; expectations that nobody can
/// check.
pub fn parse(name: &str, text: &str) -> Result<Scenario, Refusal> {
    let mut scenario: Scenario = toml::from_str(text).map_err(|error| Refusal::of_toml(WHAT, name, text, &error))?;
    name.clone_into(&mut scenario.name);
    if scenario.drawn {
        let line = lines_of(text, "drawn").first().copied().unwrap_or(0);
        let message = "`drawn` is for plans that come from a seed: a file's faults must happen; remove it".to_owned();
        return Err(Refusal { line, ..Refusal::of(WHAT, name, message) });
    }
    let starts = lines_of(text, "[[fault]]");
    for (index, fault) in scenario.faults.iter().enumerate() {
        check_fault(&scenario, fault).map_err(|message| Refusal {
            line: starts.get(index).copied().unwrap_or(0),
            ..Refusal::of(WHAT, name, format!("fault `{}`: {message}", fault.kind.name()))
        })?;
    }
    check_whole(&scenario).map_err(|message| Refusal::of(WHAT, name, message))?;
    Ok(scenario)
}

/// The same for a scenario that was not read from a file.
///
/// # Errors
/// As [`parse`], without lines.
pub fn check(scenario: &Scenario) -> Result<(), Refusal> {
    let faults = scenario.faults.iter().try_for_each(|fault| check_fault(scenario, fault));
    faults.and_then(|()| check_whole(scenario)).map_err(|message| Refusal::of(WHAT, &scenario.name, message))
}

/// The lines that begin so.
fn lines_of(text: &str, word: &str) -> Vec<usize> {
    let begins = |line: &str| line.trim_start().starts_with(word);
    text.lines().enumerate().filter(|(_, line)| begins(line)).map(|(index, _)| index + 1).collect()
}

fn check_fault(scenario: &Scenario, fault: &Fault) -> Result<(), String> {
    match (fault.at, &fault.when) {
        (None, None) => return Err("it says neither `at` nor `when`".into()),
        (Some(_), Some(_)) => return Err("it says both `at` and `when`: keep one".into()),
        (Some(at), None) if at >= scenario.length => {
            return Err(format!("it begins at {at}, the run ends at {}", scenario.length));
        }
        (_, Some(moment)) if !Moment::CALLS.contains(&moment.call.as_str()) => {
            return Err(format!("unknown call `{}`; {}", moment.call, did_you_mean(&moment.call, Moment::CALLS)));
        }
        (_, Some(moment)) if moment.nth == 0 => return Err("calls are counted from 1".into()),
        _ => {}
    }
    let hosts = scenario.topology.hosts();
    for name in fault.host.iter().chain(&fault.peer).filter(|name| *name != "leader") {
        if !hosts.contains(name) {
            let known: Vec<&str> = hosts.iter().map(String::as_str).collect();
            return Err(format!("unknown host `{name}`; {}", did_you_mean(name, &known)));
        }
    }
    let needs = fault.kind.needs();
    let by_call = fault.when.is_some();
    let wants = |holds: bool, key: &str, needed: bool| match (holds, needed) {
        (false, true) => Err(format!("it needs `{key}`")),
        (true, false) => Err(format!("`{key}` means nothing here: nobody would look at it")),
        _ => Ok(()),
    };
    wants(fault.lasts.is_some(), "for", matches!(needs, Needs::Span | Needs::Host | Needs::Pair))?;
    wants(fault.times.is_some(), "times", needs == Needs::Times)?;
    let of_host = matches!(needs, Needs::Host | Needs::Pair | Needs::HostOnly);
    if !(of_host && by_call) {
        wants(fault.host.is_some(), "host", of_host)?;
    }
    wants(fault.peer.is_some(), "peer", needs == Needs::Pair)?;
    if fault.host.is_some() && fault.host == fault.peer {
        return Err("`host` and `peer` are the same".into());
    }
    let process = |name: &String| name == "leader" || scenario.topology.processes().contains(name);
    if matches!(fault.kind, FaultKind::Crash | FaultKind::Pause) && !fault.host.as_ref().is_none_or(process) {
        return Err("only deployers and adapters can crash or pause; services have faults of their own".into());
    }
    if fault.kind.of_standbys() && scenario.topology.standbys == 0 {
        return Err("it needs `standbys` in `topology`".into());
    }
    if fault.lasts == Some(Span::ZERO) || fault.times == Some(0) {
        return Err("it would do nothing".into());
    }
    Ok(())
}

fn check_whole(scenario: &Scenario) -> Result<(), String> {
    let (topology, work) = (&scenario.topology, &scenario.workload);
    if scenario.learn.trim().is_empty() {
        return Err("`learn` must say what a user learns from it".into());
    }
    if topology.deployers == 0 || topology.adapters == 0 || topology.partitions == 0 {
        return Err("`topology` needs at least one deployer, adapter and partition".into());
    }
    if topology.deployers + topology.adapters > 12 {
        return Err("`topology` has more than 12 processes: a step costs time for each of them".into());
    }
    if topology.fallback.is_some_and(|after| after < Span::from_millis(1_000)) {
        return Err("`fallback` must be at least 1s".into());
    }
    if scenario.expect.fallbacks_at_least.is_some_and(|count| count > 0) && topology.fallback.is_none() {
        return Err("fallbacks are expected, but `topology` has no `fallback`".into());
    }
    if topology.standbys > 2 {
        return Err("`topology` has more than 2 standbys".into());
    }
    if work.rate == 0 || work.transactions == 0 || work.orders == 0 {
        return Err("`workload` does nothing: `rate`, `transactions` and `orders` must be positive".into());
    }
    if (work.peak_for > Span::ZERO) != (work.peak_times > 1) {
        return Err("a peak needs both `peak_for` and `peak_times` above 1".into());
    }
    if work.xa_per_second > 0 && topology.standbys > 0 {
        return Err("`xa_per_second` needs a source without `standbys`: they follow no prepared transaction".into());
    }
    if work.xa_per_second > 0 && work.columns_move_every > Span::ZERO {
        return Err(
            "`xa_per_second` and `columns_move_every`: a prepared transaction holds its table's definition".into()
        );
    }
    let loses = |fault: &Fault| fault.kind == FaultKind::MySqlLosesTail;
    if work.columns_move_every > Span::ZERO && scenario.faults.iter().any(loses) {
        return Err("`columns_move_every` does not go with `mysql-loses-tail`: no ALTER TABLE is taken back".into());
    }
    if topology.archive && scenario.faults.iter().any(|fault| fault.kind.of_history()) {
        return Err("`archive` goes with no fault that changes what has been: what moves would be lost half".into());
    }
    if scenario.expect.dead_letters.is_some_and(|count| count > 0) && work.poison_bytes == 0 {
        return Err("`dead_letters` are expected, but `poison_bytes` makes none".into());
    }
    if scenario.expect.takeovers_at_least.is_some_and(|count| count > 0) && topology.deployers < 2 {
        return Err("takeovers are expected of a single deployer".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Refusal {
        parse("test", text).unwrap_err()
    }

    #[test]
    fn every_kind_of_fault_is_in_a_shipped_scenario() {
        let mut left: Vec<FaultKind> = FaultKind::ALL.to_vec();
        for entry in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|suffix| suffix == "toml") && !path.ends_with("Cargo.toml") {
                let scenario = parse("shipped", &std::fs::read_to_string(&path).unwrap()).unwrap();
                left.retain(|kind| scenario.faults.iter().all(|fault| fault.kind != *kind));
            }
        }
        assert!(left.is_empty(), "`cargo sim coverage` would not see them begin: {left:?}");
    }

    #[test]
    fn a_whole_scenario_is_read() {
        let text = "learn = \"x\"\nlength = \"30s\"\n[topology]\ndeployers = 3\n[[fault]]\nkind = \"crash\"\n\
                    at = \"5s\"\nfor = \"3s\"\nhost = \"leader\"\n[expect]\ntakeovers_at_least = 1\n";
        let scenario = parse("test", text).unwrap();
        assert_eq!((scenario.name.as_str(), scenario.topology.deployers), ("test", 3));
        assert_eq!(scenario.faults[0].kind, FaultKind::Crash);
        let again: Scenario = serde_json::from_str(&serde_json::to_string(&scenario).unwrap()).unwrap();
        assert_eq!(again, scenario);
    }

    #[test]
    fn what_is_unknown_is_named_with_its_line_and_a_suggestion() {
        let cases = [
            ("learn = \"x\"\nlenght = \"30s\"\n", 2, "did you mean `length`?"),
            ("learn = \"x\"\ndrawn = true\n", 2, "for plans that come from a seed"),
            ("learn = \"x\"\n\n[[fault]]\nkind = \"kafka-dwn\"\nat = \"1s\"\n", 4, "did you mean `kafka-down`?"),
            (
                "learn = \"x\"\n[[fault]]\nkind = \"crash\"\nat = \"1s\"\nfor = \"1s\"\nhost = \"deployr-1\"\n",
                2,
                "unknown host `deployr-1`; did you mean `deployer-1`?",
            ),
            (
                "learn = \"x\"\n[[fault]]\nkind = \"crash\"\nwhen = { call = \"log.comit\" }\nfor = \"1s\"\n",
                2,
                "did you mean `log.commit`?",
            ),
        ];
        for (text, line, words) in cases {
            let error = error(text);
            assert!(error.line == line && error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn what_cannot_happen_or_be_checked_is_refused() {
        let fault = |rest: &str| format!("learn = \"x\"\n[[fault]]\n{rest}");
        let cases = [
            (fault("kind = \"kafka-down\"\nat = \"2m\"\nfor = \"1s\"\n"), "the run ends at 1m"),
            (fault("kind = \"kafka-down\"\nat = \"1s\"\n"), "needs `for`"),
            (fault("kind = \"mysql-restart\"\nat = \"1s\"\nfor = \"1s\"\n"), "nobody would look at it"),
            (fault("kind = \"mysql-restart\"\n"), "neither `at` nor `when`"),
            (fault("kind = \"crash\"\nat = \"1s\"\nfor = \"1s\"\nhost = \"kafka\"\n"), "faults of their own"),
            ("learn = \"x\"\n[expect]\ndead_letters = 1\n".to_owned(), "makes none"),
            ("learn = \"x\"\n[workload]\nrate = 0\n".to_owned(), "does nothing"),
            ("learn = \"x\"\n[topology]\nstandbys = 1\n[workload]\nxa_per_second = 1\n".to_owned(), "no prepared"),
            (
                fault("kind = \"mysql-loses-tail\"\nat = \"1s\"\ntimes = 1\n[workload]\ncolumns_move_every = \"1s\"\n"),
                "does not go with",
            ),
            ("learn = \"x\"\n[expect]\nfallbacks_at_least = 1\n".to_owned(), "has no `fallback`"),
        ];
        for (text, words) in cases {
            let error = error(&text);
            assert!(error.message.contains(words), "{error}");
        }
    }
}
