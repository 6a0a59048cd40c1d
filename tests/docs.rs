//! Documents that are made from the code are in step with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use towpath_stack::ports::fixed;

#[test]
fn the_table_of_exit_statuses_is_in_step_with_the_catalogue() {
    in_step("docs/exit-codes.md", &towpath::exit::document());
}

fn in_step(document: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    if std::env::var_os("TOWPATH_WRITE_DOCS").is_some() {
        std::fs::write(&file, made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(kept, made, "run `TOWPATH_WRITE_DOCS=1 cargo test --test docs`");
}

#[test]
fn the_table_of_alarms_is_in_step_with_the_catalogue() {
    in_step("docs/alarms.md", &towpath::alarms::catalogue::document());
}

#[test]
fn the_example_names_the_ports_at_which_the_stack_starts_by_hand() {
    let example = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/orders.toml")).unwrap();
    let text: toml::Table = example.parse().unwrap();
    let pipeline = &text["pipeline"]["orders"];
    let expected = [
        (&pipeline["source"]["url"], format!("mysql://towpath:{}@127.0.0.1:{}", towpath_stack::PASSWORD, fixed::MYSQL)),
        (&pipeline["kafka"]["brokers"], format!("127.0.0.1:{}", fixed::KAFKA)),
        (&pipeline["zookeeper"]["servers"], format!("127.0.0.1:{}/towpath", fixed::ZOOKEEPER)),
        (&pipeline["sink"][0]["elasticsearch"][0], format!("http://127.0.0.1:{}", fixed::ELASTICSEARCH)),
        (&pipeline["sink"][1]["elasticsearch"][0], format!("http://127.0.0.1:{}", fixed::ELASTICSEARCH + 1)),
        (&pipeline["sink"][2]["elasticsearch"][0], format!("http://127.0.0.1:{}", fixed::ELASTICSEARCH + 2)),
    ];
    for (found, expected) in expected {
        assert_eq!(found.as_str(), Some(expected.as_str()));
    }
    let names: Vec<_> = (0..3).filter_map(|at| pipeline["sink"][at]["name"].as_str()).collect();
    assert_eq!(names, ["hot", "full", "remind"], "the stack gives the clusters their ports in this order");
}
