//! What is refused before anything is sent, and with which words.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

/// Exit status, standard output, standard error.
fn load(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_towpath-load")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const HERE: [&str; 4] = ["--mysql", "mysql://root@127.0.0.1:1", "--elasticsearch", "hot=http://127.0.0.1:1/hot"];

#[test]
fn profiles_are_listed() {
    let (code, told, _) = load(&["profiles", "--json"]);
    let profiles: serde_json::Value = serde_json::from_str(&told).unwrap();
    let names: Vec<&str> = profiles.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(
        (code, names),
        (Some(0), vec!["ordinary-day", "peak-sale", "prompt-sound-storm", "backlog-drain", "steady"])
    );
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_sent() {
    let remote = ["--mysql", "mysql://root@db.example:3306", "--elasticsearch", "hot=http://es.example:9200/hot"];
    for (arguments, code, told) in [
        ([&["run", "peek-sale"], &HERE[..]].concat(), 1, "did you mean `peak-sale`?"),
        ([&["run", "ordinary-day"], &remote[..]].concat(), 1, "db.example is not this machine"),
        ([&["run", "ordinary-day", "--scale", "1000"], &HERE[..]].concat(), 1, "lower --scale"),
        ([&["run", "ordinary-day", "--scale", "0"], &HERE[..]].concat(), 1, "--scale 0 is no factor"),
        ([&["run", "backlog-drain", "--sounds-on", "hot"], &HERE[..]].concat(), 1, "polls for no sounds"),
        ([&["run", "backlog-drain"], &HERE[..]].concat(), 1, "it needs --stack"),
        (vec!["run", "ordinary-day"], 2, "--mysql"),
        (vec!["run", "ordinary-day", "--stack", "--sounds-on", "hto"], 2, "invalid value 'hto'"),
        (vec!["plan", "--target", "billion-order", "--runs", "x.json"], 1, "shipped: billion-orders"),
        (vec!["plan", "--target", "billion-orders", "--runs", "no-such.json"], 1, "cannot read no-such.json"),
    ] {
        let (status, _, error) = load(&arguments);
        assert!(error.contains(told), "{arguments:?}: {error}\nlacks: {told}");
        assert_eq!(status, Some(code), "{arguments:?}: {error}");
    }
}

#[test]
fn servers_that_do_not_answer_are_named() {
    let (status, _, error) = load(&[&["run", "ordinary-day"], &HERE[..]].concat());
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("connecting to MySQL"), "{error}");
    assert_eq!(error.matches("Connection refused").count(), 1, "the cause once: {error}");
}

#[test]
fn a_plan_without_runs_needs_a_search_on_this_machine() {
    let nowhere = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_towpath-load"))
        .args(["plan", "--target", "billion-orders"])
        .env("XDG_CACHE_HOME", nowhere.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("nothing was measured on this machine yet"), "{error}");
    assert_eq!(output.status.code(), Some(1));
}
