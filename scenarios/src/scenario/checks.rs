//! Whether a scenario can happen: one sentence about what cannot be, and what to do.
//!
//! Must not know lines: see `parse`.

use super::{Archive, Fault, FaultKind, Moment, Needs, Scenario, Source, Span, Topology, Work};
use crate::refusal::did_you_mean;

/// A fault that can take place within the run.
pub(super) fn check_fault(scenario: &Scenario, fault: &Fault) -> Result<(), String> {
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
    check_source_of(fault, &scenario.topology)?;
    if fault.host.is_some() && fault.host == fault.peer {
        return Err("`host` and `peer` are the same".into());
    }
    let process = |name: &String| name == "leader" || scenario.topology.processes().contains(name);
    if matches!(fault.kind, FaultKind::Crash | FaultKind::Stop | FaultKind::Pause)
        && !fault.host.as_ref().is_none_or(process)
    {
        return Err("only deployers and adapters can crash or pause; services have faults of their own".into());
    }
    if fault.kind == FaultKind::KafkaBrokerDown && scenario.topology.brokers < 3 {
        return Err("it needs `brokers` of at least 3 in `topology`: two would wait for each other".into());
    }
    if fault.kind.of_standbys() && scenario.topology.standbys == 0 {
        return Err("it needs `standbys` in `topology`".into());
    }
    if fault.lasts == Some(Span::ZERO) || fault.times == Some(0) {
        return Err("it would do nothing".into());
    }
    Ok(())
}

/// Which source a fault means.
fn check_source_of(fault: &Fault, topology: &Topology) -> Result<(), String> {
    let pipelines = topology.pipelines();
    let names: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    let several = names.len() > 1;
    if fault.kind == FaultKind::LinkCut && !several {
        return Err("it needs several sources: a `[[topology.source]]` for each".into());
    }
    match &fault.source {
        None if several && fault.needs_source() => Err(format!("it needs `source`: {}", names.join(" or "))),
        Some(_) if !several => Err("`source` means nothing here: there is only one".into()),
        Some(_) if !fault.needs_source() => Err("`source` means nothing here: nobody would look at it".into()),
        Some(name) if !names.contains(&name.as_str()) => {
            Err(format!("unknown source `{name}`; {}", did_you_mean(name, &names)))
        }
        _ => Ok(()),
    }
}

/// What hosts are called: a source's name that begins so would be taken for one.
const TAKEN: [&str; 7] = ["mysql", "kafka", "zookeeper", "elasticsearch", "deployer", "adapter", "leader"];
/// No link is slower: a call and its answer must fit into a call's deadline.
const SLOWEST_LINK: Span = Span::from_millis(1_000);

/// A source with a name of its own.
pub(super) fn check_source(topology: &Topology, source: &Source) -> Result<(), String> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if source.name.is_empty() || !source.name.chars().all(letter) {
        return Err("a name is lower-case letters and digits".into());
    }
    if TAKEN.contains(&source.name.as_str()) {
        return Err("hosts are called so: take another name".into());
    }
    if topology.sources.iter().filter(|other| other.name == source.name).count() > 1 {
        return Err("there are two of this name".into());
    }
    if source.link > SLOWEST_LINK {
        return Err(format!("`link` is at most {SLOWEST_LINK}: calls would never be answered in time"));
    }
    Ok(())
}

fn check_sources(topology: &Topology) -> Result<(), String> {
    match topology.sources.len() {
        0 => Ok(()),
        1 => Err("a single `[[topology.source]]`: leave it out, or add another".into()),
        2..=4 if topology.archive == Archive::None => Ok(()),
        2..=4 => Err("`archive` does not go with `[[topology.source]]`: rows move from `orders` alone".into()),
        count => Err(format!("{count} sources of one index: there are four ranks, 0 to 3")),
    }
}

/// Whether the profile's traffic fits in.
pub(super) fn check_profile(scenario: &Scenario) -> Result<(), String> {
    let Some(profile) = scenario.profile()? else { return Ok(()) };
    let name = &profile.name;
    if profile.orders.is_none() {
        return Err(format!("profile {name} writes no orders: nothing would be carried"));
    }
    if profile.outage.is_some() {
        return Err(format!("profile {name} has an `outage`: here that is a `[[fault]]`"));
    }
    let needed = profile.length.millis() + profile.tail_us() / 1_000;
    if scenario.length.millis() < needed {
        let needed = Span::from_millis(needed.next_multiple_of(1_000));
        return Err(format!("profile {name} needs a `length` of at least {needed}: the last orders are to be heard"));
    }
    let expect = &scenario.expect;
    if profile.sounds.is_none() && (expect.sound_within.is_some() || expect.sounds_at_least.is_some()) {
        return Err(format!("sounds are expected, but no device polls in profile {name}"));
    }
    Ok(())
}

/// What a scenario may say beside a profile.
fn check_work_of_profile(scenario: &Scenario) -> Result<(), String> {
    let (work, expect) = (&scenario.workload, &scenario.expect);
    if work.profile.is_none() {
        return if work.profile_scale != 1.0 {
            Err("`profile_scale` without `profile`: there is nothing to scale".into())
        } else if expect.sound_within.is_some() || expect.sounds_at_least.is_some() {
            Err("sounds are expected, but no device polls: `workload` names no `profile`".into())
        } else {
            Ok(())
        };
    }
    let plain = Work::default();
    let planned = (work.rate, work.transactions, work.orders) != (plain.rate, plain.transactions, plain.orders);
    if planned || work.peak_at > Span::ZERO || work.peak_for > Span::ZERO || work.peak_times > 1 {
        return Err("`rate`, `transactions`, `orders` and the peak are the profile's: leave them out".into());
    }
    if !(work.profile_scale > 0.0 && work.profile_scale <= 10.0) {
        return Err("`profile_scale` is above 0 and at most 10".into());
    }
    if !scenario.topology.sources.is_empty() {
        return Err("a `profile` is the traffic of one source: it does not go with `[[topology.source]]`".into());
    }
    if scenario.faults.iter().any(|fault| fault.kind.of_history()) {
        return Err("a `profile` goes with no fault that changes what has been: its orders would be others".into());
    }
    Ok(())
}

/// What its parts say together.
pub(super) fn check_whole(scenario: &Scenario) -> Result<(), String> {
    let (topology, work) = (&scenario.topology, &scenario.workload);
    if scenario.learn.trim().is_empty() {
        return Err("`learn` must say what a user learns from it".into());
    }
    if topology.deployers == 0 || topology.adapters == 0 || topology.partitions == 0 {
        return Err("`topology` needs at least one deployer, adapter and partition".into());
    }
    check_sources(topology)?;
    check_work_of_profile(scenario)?;
    if topology.processes().len() > 12 {
        return Err("`topology` has more than 12 processes: a step costs time for each of them".into());
    }
    if topology.fallback.is_some_and(|after| after < Span::from_millis(1_000)) {
        return Err("`fallback` must be at least 1s".into());
    }
    if scenario.expect.fallbacks_at_least.is_some_and(|count| count > 0) && topology.fallback.is_none() {
        return Err("fallbacks are expected, but `topology` has no `fallback`".into());
    }
    if topology.semi_sync && topology.standbys == 0 {
        return Err("`semi_sync` in `topology` needs `standbys`: nobody would answer".into());
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
    if work.xa_per_second > 0 && work.columns_move_every > Span::ZERO {
        return Err(
            "`xa_per_second` and `columns_move_every`: a prepared transaction holds its table's definition".into()
        );
    }
    if topology.archive != Archive::None && scenario.faults.iter().any(|fault| fault.kind.of_history()) {
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
