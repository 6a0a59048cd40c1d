//! From a file's text to a scenario, or to one sentence that says what is wrong, in which line, and what may be meant.

use super::Scenario;
use super::checks::{check_fault, check_profile, check_source, check_whole};
use crate::refusal::Refusal;

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
    if !scenario.profile_text.is_empty() {
        let line = lines_of(text, "profile_text").first().copied().unwrap_or(0);
        let message = "`profile_text` is for plans: name a `profile` in `[workload]`".to_owned();
        return Err(Refusal { line, ..Refusal::of(WHAT, name, message) });
    }
    let sources = lines_of(text, "[[topology.source]]");
    for (index, source) in scenario.topology.sources.iter().enumerate() {
        check_source(&scenario.topology, source).map_err(|message| Refusal {
            line: sources.get(index).copied().unwrap_or(0),
            ..Refusal::of(WHAT, name, format!("source `{}`: {message}", source.name))
        })?;
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

/// Takes in the profile that a scenario names, if it does: `read` gives a profile's text, or says why there is none.
///
/// # Errors
/// There is no such profile, or its traffic does not fit into the scenario.
pub fn take_profile(
    scenario: &mut Scenario,
    text: &str,
    read: &dyn Fn(&str) -> Result<String, String>,
) -> Result<(), Refusal> {
    let Some(name) = scenario.workload.profile.clone() else { return Ok(()) };
    let line = lines_of(text, "profile").first().copied().unwrap_or(0);
    let refused = read(&name).and_then(|profile| {
        scenario.profile_text = profile;
        check_profile(scenario)
    });
    refused.map_err(|message| Refusal { line, ..Refusal::of(WHAT, &scenario.name, message) })
}

/// The same for a scenario that was not read from a file.
///
/// # Errors
/// As [`parse`], without lines.
pub fn check(scenario: &Scenario) -> Result<(), Refusal> {
    let topology = &scenario.topology;
    let faults = scenario.faults.iter().try_for_each(|fault| check_fault(scenario, fault));
    let sources = topology.sources.iter().try_for_each(|source| check_source(topology, source));
    let whole = faults.and(sources).and_then(|()| check_whole(scenario)).and_then(|()| check_profile(scenario));
    whole.map_err(|message| Refusal::of(WHAT, &scenario.name, message))
}

/// The lines that begin so.
fn lines_of(text: &str, word: &str) -> Vec<usize> {
    let begins = |line: &str| line.trim_start().starts_with(word);
    text.lines().enumerate().filter(|(_, line)| begins(line)).map(|(index, _)| index + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::super::FaultKind;
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
            (
                "learn = \"x\"\n[[topology.source]]\nname = \"east\"\n[[topology.source]]\nname = \"west\"\n\
                 [[fault]]\nkind = \"link-cut\"\nat = \"1s\"\nfor = \"1s\"\nsource = \"wst\"\n",
                6,
                "unknown source `wst`; did you mean `west`?",
            ),
            (
                "learn = \"x\"\n[[topology.source]]\nname = \"east\"\n[[topology.source]]\nname = \"leader\"\n",
                4,
                "take another name",
            ),
            (
                "learn = \"x\"\n[[topology.source]]\nname = \"east\"\n[[topology.source]]\nname = \"west\"\n\
                 lnk = \"80ms\"\n",
                6,
                "did you mean `link`?",
            ),
            ("learn = \"x\"\n[topology]\narchive = \"own-servr\"\n", 3, "did you mean `own-server`?"),
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
            (fault("kind = \"kafka-broker-down\"\nat = \"1s\"\nfor = \"1s\"\n"), "`brokers` of at least 3"),
            ("learn = \"x\"\n[expect]\ndead_letters = 1\n".to_owned(), "makes none"),
            ("learn = \"x\"\n[workload]\nrate = 0\n".to_owned(), "does nothing"),
            ("learn = \"x\"\n[topology]\nsemi_sync = true\n".to_owned(), "nobody would answer"),
            ("learn = \"x\"\n[expect]\nfallbacks_at_least = 1\n".to_owned(), "has no `fallback`"),
            ("learn = \"x\"\n[[topology.source]]\nname = \"east\"\n".to_owned(), "leave it out, or add another"),
            ("learn = \"x\"\n[workload]\nprofile = \"p\"\nrate = 5\n".to_owned(), "are the profile's"),
            ("learn = \"x\"\n[expect]\nsound_within = \"9s\"\n".to_owned(), "no device polls"),
            (fault("kind = \"link-cut\"\nat = \"1s\"\nfor = \"1s\"\n"), "needs several sources"),
            (fault("kind = \"mysql-restart\"\nat = \"1s\"\nsource = \"east\"\n"), "there is only one"),
            (
                fault("kind = \"crash\"\nat = \"1s\"\nfor = \"1s\"\nhost = \"leader\"\n")
                    + "[topology]\narchive = \"own-server\"\n",
                "it needs `source`: orders or archive",
            ),
        ];
        for (text, words) in cases {
            let error = error(&text);
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn a_profile_fits_in_or_is_refused_with_the_line_that_names_it() {
        let text = "learn = \"x\"\nlength = \"70s\"\n[workload]\nprofile = \"sale\"\n";
        let sale = "learn = \"x\"\nlength = \"60s\"\n[orders]\nrate = { curve = \"constant\", rate = 5 }\n";
        let sounds = format!("{sale}[sounds]\nevery = \"7s\"\ncluster = \"remind\"\n");
        let take = |length: &str, read: Result<String, String>| {
            let text = text.replace("70s", length);
            let mut scenario = parse("test", &text).unwrap();
            let taken = take_profile(&mut scenario, &text, &|_| read.clone());
            taken.map(|()| scenario.profile().unwrap().unwrap().name)
        };
        assert_eq!(take("60s", Ok(sale.to_owned())), Ok("sale".to_owned()));
        for (length, read, words) in [
            ("70s", Ok(sounds), "needs a `length` of at least 71s"),
            ("70s", Ok(sale.replace("[orders]", "[ordrs]")), "profile sale, line 3"),
            ("70s", Ok(format!("{sale}[outage]\nat = \"5s\"\nlasts = \"5s\"\n")), "here that is a `[[fault]]`"),
            ("70s", Err("no profile `sale`".to_owned()), "no profile `sale`"),
        ] {
            let refusal = take(length, read).unwrap_err();
            assert!(refusal.line == 4 && refusal.message.contains(words), "{refusal}");
        }
    }
}
