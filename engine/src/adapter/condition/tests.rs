//! Conditions that must be refused, with the words that must be said, and conditions that must hold.

use super::*;
use crate::adapter::shape::ShapeColumn;
use crate::adapter::testing::{TestRow, orders_shape, row};

fn shape() -> Shape {
    let mut shape = orders_shape();
    for (name, kind) in [
        ("flags", TypeKind::Set(vec!["vip".into()])),
        ("total", TypeKind::UInt),
        ("odd name", TypeKind::Int),
        ("day", TypeKind::Date),
        ("token", TypeKind::Bytes),
    ] {
        shape.columns.push(ShapeColumn { name: name.into(), kind });
    }
    shape
}

fn check(text: &str) -> Result<Condition, Stop> {
    Condition::new(text, &shape(), &TimeZone::UTC)
}

fn refused(text: &str) -> String {
    match check(text) {
        Ok(_) => panic!("`{text}` was taken"),
        Err(stop) => {
            assert_eq!(stop.cause, Cause::Config);
            stop.detail
        }
    }
}

fn holds(text: &str, row: &TestRow) -> Result<bool, String> {
    check(text).unwrap_or_else(|stop| panic!("{stop}")).matches(row)
}

#[test]
fn what_cel_would_quietly_answer_with_false_is_refused() {
    let rows: &[(&str, &[&str])] = &[
        ("row.statsu == 1", &["no column \"statsu\"", "did you mean row.status?"]),
        ("row['statsu'] == 1", &["did you mean row.status?"]),
        ("row.status == '1'", &["row.status is an integer", "'1' is a string", "write row.status == 1"]),
        ("row.status == true", &["write row.status == 1"]),
        ("row.status in ['1', '2']", &["can never be one of them"]),
        ("row.remark == 5", &["in quotes"]),
        ("row.created_at > '2026-01-01'", &["no order", "timestamp('"]),
        ("row.status", &["its result is an integer, it must be a bool"]),
        ("row.status && true", &["&& wants a bool", "row.status is an integer"]),
        ("!row.status", &["wants a bool"]),
        ("row.status < null", &["no order"]),
        ("row.amount + 1 > 2.0", &["same type"]),
        ("row.total * 2 > 10u", &["2u is unsigned"]),
        ("status == 1", &["did you mean row.status?"]),
        ("rwo.status == 1", &["\"rwo\" is not known"]),
        ("row == null", &["name a column"]),
        ("has(row.remark)", &["row.remark != null"]),
        ("row.remark.startWith('x')", &["did you mean startsWith()?"]),
        ("row.status.startsWith('x')", &["wants a string", "row.status is an integer"]),
        ("row.remark.startsWith('x', 'y')", &["takes 2 argument(s), not 3"]),
        ("size(row.status) > 1", &["which is an integer"]),
        ("row.flags.exists(f, f == 1)", &["f is a string"]),
        ("row.status.exists(f, f == 1)", &["only lists and maps"]),
        ("[1, 2].exists(x, row.x == x)", &["no column \"x\""]),
        ("row.status == 1 ? row.remark : false", &["must be a bool"]),
        ("row.address.city", &["it must be a bool"]),
        ("row.status == ", &["is not CEL"]),
        ("row.flags == 'vip'", &["can never be equal"]),
    ];
    for (text, words) in rows {
        let detail = refused(text);
        for word in *words {
            assert!(detail.contains(word), "`{text}` says: {detail}");
        }
    }
}

#[test]
fn values_reach_cel_with_their_types() {
    let row = row(&[
        ("status", "2"),
        ("amount", "10.50"),
        ("remark", "hello"),
        ("address", r#"{"city":"Kiel","tags":[1,2]}"#),
        ("created_at", "2026-11-23 07:00:00.500"),
    ]);
    for (text, expected) in [
        ("row.status == 2", true),
        ("row.status == 2.0", true),
        ("row.status in [1, 2]", true),
        ("row.status in [3]", false),
        ("row['status'] > 1 && row.amount >= 10.5", true),
        ("row.remark.startsWith('he') && size(row.remark) == 5", true),
        ("row.remark == 'Hello'", false),
        ("row.address.city == 'Kiel' && row.address.tags[1] == 2", true),
        ("has(row.address.street)", false),
        ("row.address.tags.exists(t, t == 2)", true),
        ("row.created_at > timestamp('2026-11-23T06:59:59Z')", true),
        ("row.created_at + duration('1s') < timestamp('2026-11-23T07:00:01Z')", false),
        ("row.created_at.getFullYear() == 2026", true),
        ("[1, 2, 3].filter(x, x > row.status) == [3]", true),
        ("[1, 2].map(x, x * 2).exists(y, y == row.status)", true),
        ("row.status == 1 ? false : row.remark == 'hello'", true),
        ("row.status % 2 == 0", true),
    ] {
        assert_eq!(holds(text, &row), Ok(expected), "{text}");
    }
}

#[test]
fn null_is_null_and_what_it_makes_unanswerable_is_false() {
    let nothing = row(&[]);
    for (text, expected) in [
        ("row.remark == null", true),
        ("row.status == 1", false),
        ("row.status != 1", true),
        ("row.status in [1, 2]", false),
        ("row.amount > 1.0", false),
        ("!(row.amount > 1.0)", false),
        ("row.remark.startsWith('x')", false),
        ("row.amount > 1.0 || row.remark == null", true),
        ("row.address.city == 'Kiel'", false),
        ("row.created_at == null", true),
    ] {
        assert_eq!(holds(text, &nothing), Ok(expected), "{text}");
    }
    assert_eq!(holds("row.created_at == null", &row(&[("created_at", "0000-00-00 00:00:00")])), Ok(true));
}

#[test]
fn failures_that_null_does_not_explain_are_errors_of_the_row() {
    assert!(holds("10 / row.status > 1", &row(&[("status", "0")])).unwrap_err().contains("zero"));
    assert!(holds("row.status == 1", &row(&[("status", "x")])).unwrap_err().contains("column status"));
    assert!(holds("row.address.city == 'Kiel'", &row(&[("address", "{}")])).is_err());
    assert!(holds("row.address.open && true", &row(&[("address", r#"{"open":5}"#)])).is_err());
}

#[test]
fn the_zone_of_datetime_counts() {
    let zone = crate::adapter::config::parse_time_zone("Asia/Shanghai").unwrap();
    let text = "row.created_at == timestamp('2026-11-22T23:00:00Z')";
    let condition = Condition::new(text, &shape(), &zone).unwrap();
    assert_eq!(condition.matches(&row(&[("created_at", "2026-11-23 07:00:00")])), Ok(true));
}

#[test]
fn only_the_columns_named_are_touched() {
    struct Watch(std::sync::Mutex<Vec<usize>>);
    impl Row for Watch {
        fn cell(&self, column: usize) -> Field<'_> {
            self.0.lock().unwrap().push(column);
            Field::Text("1")
        }
    }
    let watch = Watch(std::sync::Mutex::new(Vec::new()));
    let condition = check("row.status == 2 && row.remark == 'x'").unwrap();
    assert_eq!(condition.matches(&watch), Ok(false));
    assert_eq!(*watch.0.lock().unwrap(), vec![1], "remark is not reached once status decides");
    assert_eq!(condition.columns(), &[1, 3]);
}
