//! The binary as users meet it: bad input ends with status 2 and one clear sentence per problem, before anything
//! starts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn example() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/orders.toml")).unwrap()
}

fn towpath(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_towpath")).args(args).env_remove("MYSQL_PASSWORD").output().unwrap()
}

struct Case {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

/// The example with one replacement, as a file.
fn case(from: &str, to: &str) -> Case {
    let text = example();
    assert!(text.contains(from), "the example has no {from:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.toml");
    std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
    Case { _folder: folder, file }
}

fn check_offline(case: &Case) -> (Option<i32>, String) {
    let output = towpath(&["check", "--offline", "--config", case.file.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text)
}

fn line_of(case: &Case, needle: &str) -> usize {
    let text = std::fs::read_to_string(&case.file).unwrap();
    1 + text.lines().position(|line| line.contains(needle)).unwrap()
}

#[test]
fn the_example_is_accepted_and_explained() {
    let (status, text) = check_offline(&case("start = \"now\"", "start = \"now\""));
    assert_eq!(status, Some(0), "{text}");
    for expected in ["orders.order_main", "topic orders", "hot-v1 behind alias hot", "ready to run: problems 0"] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    assert!(!text.contains(":towpath@"), "the password shows in\n{text}");
}

#[test]
fn check_prints_one_json_object_on_demand() {
    let case = case("start = \"now\"", "");
    let output = towpath(&["check", "--offline", "--json", "--config", case.file.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["problems"].as_u64(), report["warnings"].as_u64()), (Some(0), Some(1)), "{report}");
    assert!(report.to_string().contains("no-start"), "{report}");
}

#[test]
fn a_typo_is_named_with_file_line_and_the_nearest_key() {
    for command in ["check", "run"] {
        let case = case("topic = \"orders\"", "topik = \"orders\"");
        let output = towpath(&[command, "--config", case.file.to_str().unwrap()]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        let place = format!("orders.toml:{}: pipeline.orders.kafka.topik", line_of(&case, "topik"));
        assert!(text.contains(&place) && text.contains("did you mean `topic`?"), "{text}");
    }
}

#[test]
fn a_missing_environment_variable_is_named_with_its_key_and_line() {
    let case = case("towpath:towpath@", "towpath:${MYSQL_PASSWORD}@");
    let (status, text) = check_offline(&case);
    assert_eq!(status, Some(2), "{text}");
    let place = format!("orders.toml:{}: pipeline.orders.source.url", line_of(&case, "MYSQL_PASSWORD}@"));
    assert!(text.contains(&place) && text.contains("MYSQL_PASSWORD"), "{text}");
}

#[test]
fn a_table_that_is_not_captured_is_refused() {
    let (status, text) = check_offline(&case("table = \"orders.order_main\"", "table = \"orders.order_mian\""));
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("orders.order_mian is not captured"), "{text}");
}

#[test]
fn several_problems_are_told_together_also_as_json() {
    let case = case("partitions = 4\n", "partitions = 0\nfencing = \"transaction\"\n");
    let (status, text) = check_offline(&case);
    assert_eq!(status, Some(2));
    assert!(text.contains("has 2 problems") && text.contains("did you mean \"transactions\"?"), "{text}");
    let output = towpath(&["check", "--json", "--config", case.file.to_str().unwrap()]);
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["problems"].as_array().map(Vec::len), Some(2), "{error}");
}

#[test]
fn a_file_that_is_not_there_and_a_wrong_command_line_are_usage_errors() {
    let missing = towpath(&["check", "--config", "/nonexistent/orders.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot be read"));
    for args in [&["chekc"][..], &["run"], &["position", "set", "--config", "x", "--gtid", "a", "--previous"]] {
        assert_eq!(towpath(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(towpath(&["--help"]).status.code(), Some(0));
}

#[test]
fn alarms_are_listed_and_a_webhook_that_is_not_there_is_told() {
    let output = towpath(&["alarms", "list", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let named = |name: &str| report["alarms"].as_array().unwrap().iter().any(|alarm| alarm["name"] == name);
    assert!(named("stalled") && named("log-truncated"), "{report}");

    let test = |case: &Case| {
        let output = towpath(&["alarms", "test", "--config", case.file.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, text) = test(&case("start = \"now\"", "start = \"now\""));
    assert_eq!((status, text.lines().count()), (Some(2), 1), "{text}");
    // Bound and dropped: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let section = format!("[alarms]\nwebhook = \"http://{address}/secret\"\n\n[pipeline.orders]");
    let (status, text) = test(&case("[pipeline.orders]", &section));
    assert_eq!((status, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("the notice was not taken") && !text.contains("/secret"), "{text}");
}
