//! What was decoded against what the server says.

use anyhow::{Context, Result, ensure};

use super::case::{Case, name};
use super::replay::Table;
use super::types::Compare;

/// The most characters of a DOUBLE in MySQL's CAST; SELECT alone shows more, but not in hexadecimal.
const CAST_WIDTH: usize = 24;

/// A row as the server says it: its id, and each column's text or bytes in hexadecimal, `None` for NULL.
pub type Said = (String, Vec<Option<String>>);

/// Compares all rows; returns how many values of each column were compared.
pub fn table(case: &Case, decoded: &Table, said: &[Said]) -> Result<Vec<usize>> {
    let mut compared = vec![0; case.columns.len()];
    for (id, columns) in said {
        let row = decoded.rows.get(id).with_context(|| format!("row {id} is missing"))?;
        for (place, hex) in columns.iter().enumerate() {
            let column = &case.columns[place];
            let at = name(place);
            if column.generated && decoded.partial && !row.contains_key(&at) {
                // MariaDB writes what it computes into whole images only.
                continue;
            }
            compared[place] += 1;
            let ours = row.get(&at).with_context(|| format!("row {id}: no image held {at}"))?;
            let place = || format!("row {id}, {at} {}", column.definition);
            match (ours, hex) {
                (None, None) => {}
                (Some(ours), Some(hex)) => same(column.compare, ours, &bytes(hex)?).with_context(place)?,
                _ => ensure!(false, "{}: decoded {ours:?}, the server says {hex:?}", place()),
            }
        }
    }
    ensure!(decoded.rows.len() == said.len(), "{} rows decoded, {} are there", decoded.rows.len(), said.len());
    Ok(compared)
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2).map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
    digits.collect()
}

fn same(compare: Compare, ours: &str, theirs: &[u8]) -> Result<()> {
    let text = || String::from_utf8_lossy(theirs).into_owned();
    let number = || text().parse::<f64>().context("a number of the server");
    match compare {
        Compare::Text => ensure!(ours == text(), "decoded {ours:?}, the server says {:?}", text()),
        Compare::Bytes => {
            let bytes: Vec<u8> = ours.chars().map(|c| c as u8).collect();
            ensure!(
                bytes == theirs && ours.chars().all(|c| u32::from(c) < 256),
                "decoded {bytes:x?}, stored {theirs:x?}"
            );
        }
        Compare::Float => {
            let (single, stored): (f32, f32) = (ours.parse()?, number()? as f32);
            ensure!(
                single.to_bits() == stored.to_bits() || single == stored,
                "decoded {ours}, the server says {}",
                text()
            );
            let shortest = format!("{single:e}");
            // Of two forms as short and as near, either will do: it reads back, which was asked above.
            let lengths = (digits(ours).len(), digits(&shortest).len());
            ensure!(lengths.0 <= lengths.1, "decoded {ours}, which is not the shortest form: {shortest}");
        }
        Compare::Vector => {
            let numbers: Vec<f32> = serde_json::from_str(ours)?;
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            ensure!(bytes == theirs, "decoded {ours}, stored {theirs:x?}");
        }
        Compare::Real => {
            let shortened = ours.len() > CAST_WIDTH && text().contains('e') && ours.parse::<f64>()? == number()?;
            ensure!(ours == text() || shortened, "decoded {ours}, the server says {}", text());
        }
        Compare::Double => {
            ensure!(ours.parse::<f64>()? == number()?, "decoded {ours}, the server says {}", text());
        }
    }
    Ok(())
}

/// The significant digits of a number.
fn digits(text: &str) -> String {
    let mantissa = text.split('e').next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}
