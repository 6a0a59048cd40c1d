//! The models of the protocol within small bounds: every claim holds, and each rule left out does what its entry says.

use towpath_protocol::explore::Bound;
use towpath_protocol::models;
use towpath_protocol::report::Report;

fn explored(name: &str) -> Report {
    let models = models();
    let model = models.iter().find(|model| model.name == name).expect("the list names every model");
    let report = model.run(Bound::Small, None);
    println!("{name}: {} states, {} at rest", report.whole.states, report.whole.rests);
    if let Some(violation) = &report.whole.violation {
        panic!("{name} breaks '{}':\n{}\n{}", violation.claim, violation.trace.join("\n"), violation.end);
    }
    for caught in &report.planted {
        let found = caught.outcome.violation.as_ref();
        assert!(
            caught.as_expected(),
            "{name} without {}: expected {:?}, found {:?} after {:#?}",
            caught.name,
            caught.expected,
            found.map(|violation| violation.claim),
            found.map(|violation| &violation.trace),
        );
    }
    assert!(report.passed(), "{name}: more states than the search takes");
    report
}

#[test]
fn leadership_holds_and_each_rule_is_needed() {
    let report = explored("leadership");
    assert!(report.planted.iter().all(|caught| caught.outcome.violation.is_some()));
}

#[test]
fn history_holds_and_each_rule_does_what_is_said_of_it() {
    explored("history");
}

#[test]
fn fallback_holds_and_each_rule_does_what_is_said_of_it() {
    explored("fallback");
}

#[test]
fn delivery_holds_and_each_rule_does_what_is_said_of_it() {
    explored("delivery");
}
