//! What stands where on the page, and that nothing said can break out of its text.

use super::*;

fn run() -> Run {
    let bar = |what: &str, host: &str| Bar { what: what.to_owned(), host: host.to_owned(), from: 5.0, to: 9.0 };
    Run {
        title: "a <run>".to_owned(),
        lanes: ["mysql", "kafka", "deployer-1"].map(str::to_owned).to_vec(),
        seconds: 20.0,
        faults: vec![bar("kafka-down", "kafka")],
        leaders: vec![bar("", "deployer-1"), bar("", "nobody")],
        diagrams: vec![Diagram {
            axis: "transactions".to_owned(),
            caption: String::new(),
            curves: vec![Curve { colour: "grey", points: false, values: vec![(0.0, 0.0), (20.0, 40.0)] }],
        }],
        ..Run::default()
    }
}

#[test]
fn a_fault_is_a_bar_on_its_lane_and_nobody_has_none() {
    let page = run().page();
    // A quarter of the width for five of twenty seconds, on the second lane.
    assert!(page.contains("<rect x=\"405.0\" y=\"52\" width=\"220.0\" height=\"11\" class=\"fault\">"), "{page}");
    assert_eq!(page.matches("class=\"lead\"").count(), 1);
    assert!(page.contains("points=\"130.0,270.0"), "{page}");
}

#[test]
fn text_cannot_be_markup_and_an_objection_is_marked() {
    let page = Run { objection: Some("3 <lost>".to_owned()), ..run() }.page();
    assert!(page.contains("<h1>a &lt;run&gt;</h1>") && page.contains("<p class=\"bad\">3 &lt;lost&gt;</p>"));
    assert!(page.contains("class=\"violation\""));
    assert!(!run().page().contains("class=\"violation\""));
}

#[test]
fn nothing_is_loaded() {
    let page = run().page();
    assert!(!["http", "src=", "href=", "<script"].iter().any(|loads| page.contains(loads)));
}
