//! The optional metadata of a table map: signedness and charsets (`binlog_row_metadata=MINIMAL`), names, members and
//! keys (`FULL`).
//!
//! Must not judge whether it suffices: [`super::resolve`] does. Layout: MySQL's `rows_event.h`,
//! "Optional_metadata_fields".

use super::read::{Read, Reader};
use super::table_map::{WireColumn, wire};

/// What the optional metadata says; what it does not say is `None`, or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// For each column: UNSIGNED. `None` without the field, and for columns that are not numbers.
    pub unsigned: Vec<Option<bool>>,
    /// For each column: its collation. `None` without the field, and for columns that are not text.
    pub collations: Vec<Option<u16>>,
    /// The columns' names.
    pub names: Option<Vec<String>>,
    /// For each column: its members as bytes in the column's charset. `None` unless ENUM or SET.
    pub members: Vec<Option<Vec<Vec<u8>>>>,
    /// Indexes of the primary key's columns, in key order.
    pub primary_key: Option<Vec<usize>>,
}

mod field {
    pub const SIGNEDNESS: u8 = 1;
    pub const DEFAULT_CHARSET: u8 = 2;
    pub const COLUMN_CHARSET: u8 = 3;
    pub const COLUMN_NAME: u8 = 4;
    pub const SET_STR_VALUE: u8 = 5;
    pub const ENUM_STR_VALUE: u8 = 6;
    pub const GEOMETRY_TYPE: u8 = 7;
    pub const SIMPLE_PRIMARY_KEY: u8 = 8;
    pub const PRIMARY_KEY_WITH_PREFIX: u8 = 9;
    pub const ENUM_AND_SET_DEFAULT_CHARSET: u8 = 10;
    pub const ENUM_AND_SET_COLUMN_CHARSET: u8 = 11;
    pub const COLUMN_VISIBILITY: u8 = 12;
    pub const VECTOR_DIMENSIONALITY: u8 = 13;
}

/// Columns that have a bit in SIGNEDNESS, in the order in which they have it. YEAR, which has no sign, is one of
/// them on
/// both families *(measured on MySQL 9.7 and MariaDB 10.11)*.
fn is_number(column: &WireColumn) -> bool {
    matches!(
        column.kind,
        wire::TINY
            | wire::SHORT
            | wire::INT24
            | wire::LONG
            | wire::LONGLONG
            | wire::NEWDECIMAL
            | wire::FLOAT
            | wire::DOUBLE
            | wire::YEAR
    )
}

/// Columns that have a collation in MySQL's charset fields (9.7: VECTOR has one, GEOMETRY has none).
fn is_text_in_mysql(column: &WireColumn) -> bool {
    matches!(column.kind, wire::STRING | wire::VARCHAR | wire::BLOB | wire::VECTOR)
}

/// Columns that have a collation in MariaDB's charset fields: GEOMETRY has one.
fn is_text_in_mariadb(column: &WireColumn) -> bool {
    matches!(column.kind, wire::STRING | wire::VARCHAR | wire::BLOB | wire::GEOMETRY)
}

fn is_enum_or_set(column: &WireColumn) -> bool {
    matches!(column.kind, wire::ENUM | wire::SET)
}

impl Metadata {
    /// Reads all fields up to the reader's end. The two families differ in which columns have a collation.
    pub fn parse(reader: &mut Reader<'_>, columns: &[WireColumn], mariadb: bool) -> Read<Self> {
        let is_text = if mariadb { is_text_in_mariadb } else { is_text_in_mysql };
        let mut metadata = Metadata::default();
        while !reader.is_empty() {
            let kind = reader.u8("a metadata field's type")?;
            let length = reader.packed_len("a metadata field's length")?;
            let base = reader.at();
            let mut value = Reader::new(reader.take(length, "a metadata field")?);
            metadata
                .field(kind, &mut value, columns, is_text)
                .map_err(|bad| super::read::Bad { offset: base + bad.offset, ..bad })?;
        }
        Ok(metadata)
    }

    fn field(
        &mut self,
        kind: u8,
        value: &mut Reader<'_>,
        columns: &[WireColumn],
        is_text: fn(&WireColumn) -> bool,
    ) -> Read<()> {
        match kind {
            field::SIGNEDNESS => self.signedness(value, columns)?,
            field::DEFAULT_CHARSET => self.default_charset(value, columns, is_text)?,
            field::COLUMN_CHARSET => self.column_charset(value, columns, is_text)?,
            field::ENUM_AND_SET_DEFAULT_CHARSET => self.default_charset(value, columns, is_enum_or_set)?,
            field::ENUM_AND_SET_COLUMN_CHARSET => self.column_charset(value, columns, is_enum_or_set)?,
            field::COLUMN_NAME => {
                let mut names = Vec::with_capacity(columns.len());
                for _ in columns {
                    let length = value.packed_len("a column name's length")?;
                    names.push(value.str(length, "a column name")?.to_owned());
                }
                self.names = Some(names);
            }
            field::SET_STR_VALUE => self.members(value, columns, wire::SET)?,
            field::ENUM_STR_VALUE => self.members(value, columns, wire::ENUM)?,
            field::SIMPLE_PRIMARY_KEY | field::PRIMARY_KEY_WITH_PREFIX => {
                let mut key = Vec::new();
                while !value.is_empty() {
                    let start = *value;
                    let index = value.packed("a key column's index")?;
                    if kind == field::PRIMARY_KEY_WITH_PREFIX {
                        value.packed("a key column's prefix")?;
                    }
                    match usize::try_from(index) {
                        Ok(index) if index < columns.len() && key.len() < columns.len() => key.push(index),
                        _ => return Err(start.bad("the index of a column")),
                    }
                }
                self.primary_key = Some(key);
            }
            // Neither changes how values are read; unknown fields are newer servers' and optional by definition.
            field::GEOMETRY_TYPE | field::COLUMN_VISIBILITY | field::VECTOR_DIMENSIONALITY => {}
            _ => {}
        }
        Ok(())
    }

    fn signedness(&mut self, value: &mut Reader<'_>, columns: &[WireColumn]) -> Read<()> {
        let numbers = columns.iter().filter(|column| is_number(column)).count();
        let bits = value.take(numbers.div_ceil(8), "a bit for each number column")?;
        let mut place = 0;
        self.unsigned = columns
            .iter()
            .map(|column| {
                if !is_number(column) {
                    return None;
                }
                // The first column has the highest bit.
                let unsigned = bits[place / 8] & (0x80 >> (place % 8)) != 0;
                place += 1;
                // A YEAR's bit only takes its place.
                (column.kind != wire::YEAR).then_some(unsigned)
            })
            .collect();
        Ok(())
    }

    /// One collation for most columns, then pairs of (index among the columns of this kind, collation).
    fn default_charset(
        &mut self,
        value: &mut Reader<'_>,
        columns: &[WireColumn],
        which: fn(&WireColumn) -> bool,
    ) -> Read<()> {
        let default = collation(value)?;
        let places = self.collation_places(columns, which);
        for &place in &places {
            self.collations[place] = Some(default);
        }
        while !value.is_empty() {
            let start = *value;
            let index = value.packed("the index of a text column")?;
            let place = usize::try_from(index).ok().and_then(|index| places.get(index));
            let &place = place.ok_or(start.bad("the index of a text column"))?;
            self.collations[place] = Some(collation(value)?);
        }
        Ok(())
    }

    fn column_charset(
        &mut self,
        value: &mut Reader<'_>,
        columns: &[WireColumn],
        which: fn(&WireColumn) -> bool,
    ) -> Read<()> {
        for place in self.collation_places(columns, which) {
            self.collations[place] = Some(collation(value)?);
        }
        if value.is_empty() { Ok(()) } else { Err(value.bad("one collation for each text column")) }
    }

    fn collation_places(&mut self, columns: &[WireColumn], which: fn(&WireColumn) -> bool) -> Vec<usize> {
        self.collations.resize(columns.len(), None);
        (0..columns.len()).filter(|&index| which(&columns[index])).collect()
    }

    fn members(&mut self, value: &mut Reader<'_>, columns: &[WireColumn], kind: u8) -> Read<()> {
        self.members.resize(columns.len(), None);
        for (index, _) in columns.iter().enumerate().filter(|(_, column)| column.kind == kind) {
            // Each member takes at least its length's byte, so the count cannot exceed what is left.
            let count = value.packed_len("a count of members")?;
            let mut list = Vec::with_capacity(count);
            for _ in 0..count {
                let length = value.packed_len("a member's length")?;
                list.push(value.take(length, "a member")?.to_vec());
            }
            self.members[index] = Some(list);
        }
        Ok(())
    }
}

fn collation(value: &mut Reader<'_>) -> Read<u16> {
    let start = *value;
    let id = value.packed("a collation's id")?;
    u16::try_from(id).map_err(|_| start.bad("a collation's id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(kinds: &[u8]) -> Vec<WireColumn> {
        kinds.iter().map(|&kind| WireColumn { kind, meta: 0, nullable: false }).collect()
    }

    #[test]
    fn signedness_has_one_bit_a_number_from_the_highest() {
        let columns = columns(&[wire::LONG, wire::VARCHAR, wire::TINY, wire::NEWDECIMAL]);
        let metadata = Metadata::parse(&mut Reader::new(&[1, 1, 0b0100_0000]), &columns, false).unwrap();
        assert_eq!(metadata.unsigned, vec![Some(false), None, Some(true), Some(false)]);
    }

    #[test]
    fn a_year_takes_a_bit_of_signedness_but_has_no_sign() {
        // As MySQL 9.7 and MariaDB 10.11 write (INT, YEAR, TINYINT, BIT, TINYINT UNSIGNED, INT).
        let columns = columns(&[wire::LONG, wire::YEAR, wire::TINY, wire::BIT, wire::TINY, wire::LONG]);
        for mariadb in [false, true] {
            let metadata = Metadata::parse(&mut Reader::new(&[1, 1, 0b0101_0000]), &columns, mariadb).unwrap();
            assert_eq!(metadata.unsigned, vec![Some(false), None, Some(false), None, Some(true), Some(false)]);
        }
    }

    #[test]
    fn a_default_collation_has_exceptions_by_text_column() {
        let columns = columns(&[wire::LONG, wire::VARCHAR, wire::ENUM, wire::BLOB]);
        let bytes = [2, 5, 252, 255, 0, 1, 63, 10, 1, 8];
        let metadata = Metadata::parse(&mut Reader::new(&bytes), &columns, false).unwrap();
        assert_eq!(metadata.collations, vec![None, Some(255), Some(8), Some(63)]);
    }

    #[test]
    fn members_belong_to_their_columns() {
        let columns = columns(&[wire::SET, wire::ENUM, wire::SET]);
        let bytes = [5, 6, 1, 1, b'a', 1, 1, b'b', 6, 3, 1, 1, b'c'];
        let metadata = Metadata::parse(&mut Reader::new(&bytes), &columns, false).unwrap();
        let one = |member: &[u8]| Some(vec![member.to_vec()]);
        assert_eq!(metadata.members, vec![one(b"a"), one(b"c"), one(b"b")]);
    }

    #[test]
    fn an_unknown_field_is_passed_over_and_a_cut_one_refused() {
        let columns = columns(&[wire::LONG]);
        assert_eq!(Metadata::parse(&mut Reader::new(&[99, 2, 1, 2]), &columns, false), Ok(Metadata::default()));
        assert_eq!(Metadata::parse(&mut Reader::new(&[99, 2, 1]), &columns, false).unwrap_err().offset, 1);
        assert_eq!(Metadata::parse(&mut Reader::new(&[8, 1, 1]), &columns, false).unwrap_err().offset, 2);
    }
}
