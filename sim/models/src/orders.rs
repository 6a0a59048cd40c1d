//! The workload's operations in the model server's terms, and its rows back.
//!
//! Must not lose a difference: what the model holds is compared with the documents.

use crate::mysql::{RowOp as ModelOp, SqlError, Value as Model};
use towpath_scenarios::calendar::{civil, days};
use towpath_scenarios::workload::{Change, DATABASE, Row, RowOp, Transaction, Value, key_of};

/// A transaction for the model.
pub fn operations(transaction: &Transaction) -> Vec<ModelOp> {
    transaction.ops.iter().map(operation).collect()
}

fn operation(op: &RowOp) -> ModelOp {
    let (table, key) = (op.table.name(), vec![Model::Int(op.key())]);
    match &op.change {
        Change::Insert(row) => ModelOp::insert(DATABASE, table, to_model(row)),
        Change::Update { after, .. } => ModelOp::update(DATABASE, table, key, to_model(after)),
        Change::Delete(row) => ModelOp::delete(DATABASE, table, vec![Model::Int(key_of(row))]),
    }
}

fn to_model(row: &Row) -> Vec<Model> {
    row.iter().map(value).collect()
}

fn value(value: &Value) -> Model {
    match value {
        Value::Null => Model::Null,
        Value::Int(number) => Model::Int(*number),
        Value::Cents(cents) => Model::Decimal(decimal(*cents)),
        Value::Text(text) => Model::Text(text.clone()),
        Value::Json(json) => Model::Json(json.clone()),
        Value::DateTime(ms) => {
            let (year, month, day) = civil(ms.div_euclid(86_400_000));
            let of_day = ms.rem_euclid(86_400_000) as u32;
            Model::DateTime {
                year: year as u16,
                month,
                day,
                hour: (of_day / 3_600_000) as u8,
                minute: (of_day / 60_000 % 60) as u8,
                second: (of_day / 1_000 % 60) as u8,
                micros: of_day % 1_000 * 1_000,
            }
        }
        Value::Timestamp(ms) => {
            Model::Timestamp { seconds: ms.div_euclid(1_000) as u32, micros: ms.rem_euclid(1_000) as u32 * 1_000 }
        }
    }
}

fn decimal(cents: i64) -> String {
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
}

/// A row of the model as the workload would have planned it.
///
/// # Errors
/// A value of a type that the workload's tables do not have.
pub fn from_model(row: &[Model]) -> Result<Row, SqlError> {
    row.iter().map(back).collect()
}

fn back(value: &Model) -> Result<Value, SqlError> {
    Ok(match value {
        Model::Null => Value::Null,
        Model::Int(number) => Value::Int(*number),
        Model::Decimal(text) => {
            let digits: String = text.chars().filter(|&c| c != '.').collect();
            Value::Cents(digits.parse().map_err(|_| SqlError(format!("{text} is no amount")))?)
        }
        Model::Text(text) => Value::Text(text.clone()),
        Model::Json(json) => Value::Json(json.clone()),
        Model::DateTime { year, month, day, hour, minute, second, micros } => {
            let seconds = days(i64::from(*year), *month, *day) * 86_400
                + i64::from(*hour) * 3_600
                + i64::from(*minute) * 60
                + i64::from(*second);
            Value::DateTime(seconds * 1_000 + i64::from(*micros / 1_000))
        }
        Model::Timestamp { seconds, micros } => {
            Value::Timestamp(i64::from(*seconds) * 1_000 + i64::from(*micros / 1_000))
        }
        other => return Err(SqlError(format!("the order tables have no value like {other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_scenarios::workload::{Workload, WorkloadConfig};

    #[test]
    fn rows_survive_the_way_there_and_back() {
        for op in Workload::new(WorkloadConfig::new(1, 500)).flat_map(|transaction| transaction.ops) {
            if let Change::Insert(row) = &op.change {
                assert_eq!(from_model(&to_model(row)).unwrap(), *row);
            }
        }
        assert_eq!(decimal(-5), "-0.05");
    }
}
