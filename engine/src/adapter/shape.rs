//! What the adapter must know of a table: column names, the meaning of their texts, the key. And a row's cells.
//!
//! Must not convert values: see [`super::value`] (JSON) and [`super::condition`] (CEL).

use crate::format::{self, Field, RowRef, TypeKind};
use crate::schema::{Column, ColumnType, TableSchema};

/// The collation id that means "bytes, not characters".
const BINARY_COLLATION: u16 = 63;

/// A table as a sink sees it: from the source's definition, or from a record's own type map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The database's name.
    pub database: String,
    /// The table's name.
    pub table: String,
    /// The columns, in the order of a row's cells.
    pub columns: Vec<ShapeColumn>,
    /// Indexes into `columns` of the primary key, in key order.
    pub primary_key: Vec<usize>,
}

/// A column: its name and what its text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeColumn {
    /// Its name.
    pub name: String,
    /// The meaning of its text.
    pub kind: TypeKind,
}

impl Shape {
    /// From a table's definition.
    pub fn of_schema(schema: &TableSchema) -> Self {
        let column = |column: &Column| ShapeColumn { name: column.name.clone(), kind: kind_of(column) };
        Self {
            database: schema.database.clone(),
            table: schema.table.clone(),
            columns: schema.columns.iter().map(column).collect(),
            primary_key: schema.primary_key.clone(),
        }
    }

    /// From what a record says of its table.
    pub fn of_record(shape: &format::Shape) -> Self {
        let column =
            |column: &format::ShapeColumn| ShapeColumn { name: column.name.clone(), kind: column.kind.clone() };
        Self {
            database: shape.database.clone(),
            table: shape.table.clone(),
            columns: shape.columns.iter().map(column).collect(),
            primary_key: shape.primary_key.clone(),
        }
    }

    /// The index of a column by its exact name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The column name most like `name`, if one is like it at all.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.columns.iter().map(|column| column.name.as_str()))
    }

    /// `database.table`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}

/// The candidate most like `name`: fewest edits, at most a third of the longer name.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let close = |candidate: &str| {
        let distance = edit_distance(&name.to_lowercase(), &candidate.to_lowercase());
        (distance * 3 <= name.chars().count().max(candidate.chars().count()).max(3)).then_some(distance)
    };
    candidates
        .filter_map(|candidate| close(candidate).map(|distance| (distance, candidate)))
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance, with a swap of neighbours as one edit (the commonest slip of the fingers).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

fn kind_of(column: &Column) -> TypeKind {
    let binary = column.collation == Some(BINARY_COLLATION);
    match &column.kind {
        ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::MediumInt | ColumnType::Int | ColumnType::BigInt => {
            if column.unsigned {
                TypeKind::UInt
            } else {
                TypeKind::Int
            }
        }
        ColumnType::Float => TypeKind::Float,
        ColumnType::Double => TypeKind::Double,
        ColumnType::Decimal { .. } => TypeKind::Decimal,
        ColumnType::Bit { .. } => TypeKind::Bit,
        ColumnType::Year => TypeKind::Year,
        ColumnType::Date => TypeKind::Date,
        ColumnType::Time { .. } | ColumnType::OldTime => TypeKind::Time,
        ColumnType::DateTime { .. } | ColumnType::OldDateTime => TypeKind::DateTime,
        ColumnType::Timestamp { .. } | ColumnType::OldTimestamp => TypeKind::Timestamp,
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. } if binary => TypeKind::Bytes,
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. } => TypeKind::Text,
        ColumnType::Enum { members } => TypeKind::Enum(members.clone()),
        ColumnType::Set { members } => TypeKind::Set(members.clone()),
        ColumnType::Json => TypeKind::Json,
        ColumnType::Geometry => TypeKind::Geometry,
        ColumnType::Vector => TypeKind::Vector,
    }
}

/// A row's cells, by the index of the column in its [`Shape`].
pub trait Row: Sync {
    /// The cell.
    fn cell(&self, column: usize) -> Field<'_>;
}

/// A row as it is after an insert or update, or was before a delete.
pub struct Image<'a>(pub RowRef<'a>);

impl Row for Image<'_> {
    fn cell(&self, column: usize) -> Field<'_> {
        self.0.data(column)
    }
}

/// A row as it was before an update.
pub struct Before<'a>(pub RowRef<'a>);

impl Row for Before<'_> {
    fn cell(&self, column: usize) -> Field<'_> {
        self.0.before(column)
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggestions_are_near_and_only_near() {
        let names = ["status", "store_id", "merchant_id"];
        assert_eq!(nearest("statsu", names.into_iter()), Some("status"));
        assert_eq!(nearest("Status", names.into_iter()), Some("status"));
        assert_eq!(nearest("merchantid", names.into_iter()), Some("merchant_id"));
        assert_eq!(nearest("amount", names.into_iter()), None);
    }
}
