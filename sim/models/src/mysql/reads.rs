//! Rows read by key, as the port gives them: each value in the bytes of a row image, without its length.
//!
//! The model finds rows by integer, text and binary keys; other kinds of key are refused.

use towpath_engine::schema::{Column, ColumnType};

use super::rows::{Refusal, put_value};
use super::server::Table;
use super::value::{Value, key_bytes};

/// A row's values in the form of the port.
type RawRow = Vec<Option<Vec<u8>>>;

/// The rows with these keys; each key has one text for each of `columns`.
pub(crate) fn rows_by_key(
    table: Option<&Table>,
    columns: &[String],
    keys: &[Vec<String>],
) -> Result<Vec<RawRow>, Refusal> {
    let Some(table) = table else { return Ok(Vec::new()) };
    let place = |column: &String| {
        table.schema.column_index(column).ok_or_else(|| format!("1054: unknown column '{column}' in 'where clause'"))
    };
    let places = columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    if places != table.schema.primary_key {
        return Err("the model finds rows by their whole primary key, in its order".into());
    }
    let mut found = Vec::new();
    for key in keys {
        let parts = places.iter().zip(key);
        let key = parts.map(|(&place, text)| key_value(&table.schema.columns[place], text));
        if let Some(row) = table.rows.get(&key_bytes(&key.collect::<Result<Vec<_>, _>>()?)) {
            let values = table.schema.columns.iter().zip(row);
            found.push(values.map(|(column, value)| raw_value(column, value)).collect::<Result<_, _>>()?);
        }
    }
    Ok(found)
}

fn key_value(column: &Column, text: &str) -> Result<Value, Refusal> {
    let wrong = || format!("{text:?} is no value of {:?}", column.kind);
    match &column.kind {
        ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::MediumInt | ColumnType::Int | ColumnType::BigInt => {
            match text.parse() {
                Ok(number) => Ok(Value::Int(number)),
                Err(_) => text.parse().map(Value::UInt).map_err(|_| wrong()),
            }
        }
        ColumnType::Char { .. } | ColumnType::VarChar { .. } if column.collation != Some(63) => {
            Ok(Value::Text(text.to_owned()))
        }
        ColumnType::Char { .. } | ColumnType::VarChar { .. } => {
            let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).map_err(|_| wrong()));
            Ok(Value::Bytes(bytes.collect::<Result<_, _>>()?))
        }
        kind => Err(format!("the model finds no rows by a key of {kind:?}")),
    }
}

fn raw_value(column: &Column, value: &Value) -> Result<Option<Vec<u8>>, Refusal> {
    if *value == Value::Null {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    put_value(&mut bytes, column, value)?;
    let prefix = match column.kind {
        ColumnType::Char { max_bytes } | ColumnType::VarChar { max_bytes } => 1 + usize::from(max_bytes > 255),
        ColumnType::Blob { length_bytes } => usize::from(length_bytes),
        ColumnType::Json | ColumnType::Geometry | ColumnType::Vector => 4,
        _ => 0,
    };
    Ok(Some(bytes.split_off(prefix)))
}
