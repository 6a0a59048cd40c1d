//! `towpath binlog` on recorded files: what each format prints, filters, and damaged files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/src/binlog/testdata").join(name)
}

/// Status, standard output and standard error.
fn binlog(args: &[&str], file: &Path) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_towpath")).arg("binlog").args(args).arg(file).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn lines(args: &[&str], file: &str) -> Vec<Value> {
    let (status, out, error) = binlog(args, &recorded(file));
    assert_eq!(status, Some(0), "{error}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn counts(args: &[&str], file: &Path) -> Value {
    let (status, out, error) = binlog(&[&["--format", "count", "--json"], args].concat(), file);
    assert_eq!(status, Some(0), "{error}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn counts_are_those_of_the_file() {
    let counts = counts(&[], &recorded("types_full.binlog"));
    assert_eq!(counts["rows"]["types.integers"], json!({ "insert": 5, "update": 3, "delete": 0 }));
    assert_eq!(counts["rows"]["types.keyed"], json!({ "insert": 2, "update": 0, "delete": 1 }));
    let bytes: u64 = counts["events"].as_object().unwrap().values().map(|kind| kind["bytes"].as_u64().unwrap()).sum();
    let length = std::fs::metadata(recorded("types_full.binlog")).unwrap().len();
    assert_eq!(bytes + 4, length, "every byte but the magic number is some event's");
}

#[test]
fn a_row_is_an_object_with_its_names_and_types() {
    let rows = lines(&["--format", "rows"], "types_full.binlog");
    let update = rows.iter().find(|row| row["table"] == "types.integers" && row["op"] == "update").unwrap();
    assert_eq!((&update["before"]["ti"], &update["after"]["ti"]), (&json!(-128), &json!(5)));
    assert_eq!(update["before"]["bi"], json!(i64::MIN));
    let largest = rows.iter().find(|row| row["after"]["bu"] == json!(u64::MAX));
    assert!(largest.is_some(), "a BIGINT UNSIGNED keeps its value");
    let document = rows.iter().find(|row| row["table"] == "types.documents").unwrap();
    assert_eq!(document["after"]["j"]["b"], json!([1, 2, { "c": null }]));
    assert_eq!(rows[0]["position"], "types_full.binlog:1023");
    assert!(rows[0]["gtid"].as_str().unwrap().ends_with(":97"), "{}", rows[0]);
    let versions: Vec<u64> = rows.iter().map(|row| row["version"].as_u64().unwrap()).collect();
    assert!(versions.is_sorted_by(|one, next| one < next), "versions rise");
    let from = lines(&["--format", "rows", "--epoch", "3", "--offset", "1000"], "types_full.binlog");
    assert_eq!(from[0]["version"].as_u64().unwrap(), (3 << 48) + 1000 + versions[0]);
}

#[test]
fn columns_without_names_are_called_by_their_place() {
    let rows = lines(&["--format", "rows", "--tables", "types.members"], "types_minimal.binlog");
    let first = rows[0]["after"].as_object().unwrap();
    assert_eq!(first.keys().next().unwrap(), "@1");
    assert_eq!((&first["@2"], &first["@4"]), (&json!("1"), &json!("1")), "an ENUM without members is its number");
    let flat = lines(&["--format", "flat", "--tables", "types.members"], "types_minimal.binlog");
    assert_eq!(flat[0]["data"][0]["@2"], "1");
}

#[test]
fn flat_messages_are_those_of_a_pipeline() {
    let messages = lines(&["--format", "flat", "--tables", "types.integers"], "types_full.binlog");
    assert_eq!((&messages[0]["type"], &messages[0]["data"][0]["ti"]), (&json!("INSERT"), &json!("-128")));
    assert_eq!(messages[1]["old"][0], json!({ "ti": "-128", "bu": "0" }));
    assert!(messages.iter().all(|message| message["table"] == "integers"));
}

#[test]
fn filters_leave_out_what_does_not_pass() {
    let all = lines(&["--format", "rows"], "types_full.binlog");
    let gtid = all[0]["gtid"].as_str().unwrap();
    let one = lines(&["--format", "rows", "--gtids", gtid], "types_full.binlog");
    assert_eq!(one.len(), all.iter().filter(|row| row["gtid"] == gtid).count());
    assert!(!one.is_empty() && one.len() < all.len());
    let tables = lines(&["--format", "rows", "--tables", "types.t*,*.keyed"], "types_full.binlog");
    let named = |row: &&Value| row["table"].as_str().unwrap().starts_with("types.t") || row["table"] == "types.keyed";
    assert_eq!(tables.len(), all.iter().filter(named).count());
    let file = recorded("types_full.binlog");
    assert_eq!(counts(&["--since", "2100-01-01"], &file)["rows"], json!({}));
    assert_eq!(counts(&["--until", "2100-01-01"], &file), counts(&[], &file));
    let counted = counts(&["--tables", "types.keyed"], &file);
    assert_eq!(counted["rows"].as_object().unwrap().len(), 1);
}

#[test]
fn every_event_has_a_line_that_says_where_it_is() {
    let file = recorded("types_full.binlog");
    let (status, out, _) = binlog(&[], &file);
    assert_eq!(status, Some(0));
    assert!(out.contains("Table_map  table=types.integers"), "{out}");
    let events = lines(&["--json"], "types_full.binlog");
    assert_eq!(out.lines().count(), events.len() + 1, "a headline, then a line an event");
    let mut next = 4;
    for event in &events {
        assert_eq!(event["offset"], json!(next), "{event}");
        next += event["bytes"].as_u64().unwrap();
    }
}

/// The recorded file with one change, in a folder that lives as long as the path is used.
fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
    let mut bytes = std::fs::read(recorded("types_full.binlog")).unwrap();
    change(&mut bytes);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.binlog");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn damage_is_told_with_its_place_and_what_was_decoded_until_there() {
    let length = std::fs::metadata(recorded("types_full.binlog")).unwrap().len();
    let cut = damaged(|bytes| bytes.truncate(5000));
    let flipped = damaged(|bytes| bytes[1300] ^= 1);
    let foreign = damaged(|bytes| bytes[0] = b'x');
    let tail = damaged(|bytes| bytes.extend([0; 7]));
    for ((_folder, path), expected) in [
        (&cut, ["offset 5000", "expected the rest of", "decoded until there: "].as_slice()),
        (&flipped, &["offset 1", "expected the checksum", "3 whole transactions"]),
        (&foreign, &["offset 0", "this is no binlog", "0 events"]),
        (&tail, &[&format!("offset {}", length + 7), "header"]),
    ] {
        let (status, out, error) = binlog(&["--format", "count"], path);
        assert_eq!(status, Some(7), "{error}");
        let none = error.contains("decoded until there: 0 events");
        assert_eq!(out.contains("all"), !none, "what was decoded is shown, if it is anything: {out}");
        assert!(error.contains("take a sound copy"), "{error}");
        for expected in expected {
            assert!(error.contains(expected), "{expected:?} is missing in {error}");
        }
        let (status, out, error) = binlog(&["--format", "rows", "--json"], path);
        let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        assert_eq!((status, &last["error"]["cause"]), (Some(7), &json!("corrupt")), "{error}");
    }
    let (status, _, error) = binlog(&[], Path::new("no such file"));
    assert_eq!(status, Some(1));
    assert!(error.contains("no such file"), "{error}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
    command.arg("binlog").args(["--format", "rows"]);
    // More than a pipe and our buffer hold.
    command.args(vec![recorded("types_full.binlog"); 40]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice(), first), (Some(0), [].as_slice(), *b"{"));
}

/// A file that holds the recorded schema and then one transaction, its two rows events so many times over.
fn one_transaction(times: usize) -> (tempfile::TempDir, PathBuf) {
    let recorded = std::fs::read(recorded("orders.binlog")).unwrap();
    let size = |at: usize| u32::from_le_bytes(recorded[at + 9..at + 13].try_into().unwrap()) as usize;
    let mut offsets = vec![4];
    while offsets.len() < 15 {
        offsets.push(offsets[offsets.len() - 1] + size(offsets[offsets.len() - 1]));
    }
    // The transaction's GTID and BEGIN end the beginning; then two tables with their rows, and its Xid.
    let (rows, xid) = (&offsets[10..14], offsets[14]);
    let mut bytes = recorded[..rows[0]].to_vec();
    let mut event = |at: usize| {
        let start = bytes.len();
        bytes.extend_from_slice(&recorded[at..at + size(at)]);
        let end = bytes.len() as u32;
        bytes[start + 13..start + 17].copy_from_slice(&end.to_le_bytes());
        let checked = bytes.len() - 4;
        let sum = crc32fast::hash(&bytes[start..checked]);
        bytes[checked..].copy_from_slice(&sum.to_le_bytes());
    };
    for _ in 0..times {
        rows.iter().for_each(|&at| event(at));
    }
    event(xid);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.binlog");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// The most resident memory a process had so far, in bytes.
fn peak(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn memory_depends_neither_on_the_file_nor_on_the_transaction() {
    let (_folder, path) = one_transaction(60_000);
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length > 40_000_000, "{length} bytes");
    for format in ["rows", "flat"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        let mut child = command.args(["binlog", "--format", format]).arg(&path).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let (mut read, mut piece, mut early, mut late) = (0, vec![0; 1 << 16], 0, 0);
        loop {
            let count = out.read(&mut piece).unwrap();
            if count == 0 {
                break;
            }
            // Its output is more than the file: it cannot have ended where this looks.
            read += count as u64;
            if early == 0 && read > 1 << 20 {
                early = peak(&child);
            } else if late == 0 && read > length {
                late = peak(&child);
            }
        }
        assert!(child.wait().unwrap().success());
        println!("{format}: {read} bytes printed of {length}, {early} bytes of memory soon, {late} late");
        assert!(late > 0 && late < 64 << 20 && late - early < 8 << 20, "{early} bytes of memory became {late}");
    }
    assert_eq!(counts(&[], &path)["rows"]["orders.order_item"]["insert"], json!(120_000));
}

#[test]
fn bad_arguments_are_refused_with_status_2() {
    let file = recorded("types_full.binlog");
    for (args, expected) in [
        (["--gtids", "nonsense"], "--gtids: not a GTID set"),
        (["--since", "yesterday"], "\"yesterday\" is not a time"),
        (["--tables", "nodot"], "database.table"),
        (["--start", "b.1:4"], "--server"),
    ] {
        let (status, _, error) = binlog(&args, &file);
        assert_eq!(status, Some(2), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}
