//! One table under test with what is done to it, and how it is made smaller.

use super::random::Random;
use super::types::{Column, Maker, Values};
use super::values;

/// Rows of each table.
pub const ROWS: usize = 100;
/// Columns of each table, beside `id`.
pub const COLUMNS: usize = 9;
/// Rows of one INSERT.
const ROWS_A_STATEMENT: usize = 25;

/// A table, its rows as literals, and the statements that change them.
#[derive(Debug, Clone)]
pub struct Case {
    pub table: String,
    pub columns: Vec<Column>,
    /// `id` is the row's place here.
    pub rows: Vec<Vec<String>>,
    pub changes: Vec<Change>,
}

/// A statement after the rows are there.
#[derive(Debug, Clone)]
pub enum Change {
    /// Sets columns, by their place, of the rows whose id lies in the range.
    Update { first: usize, last: usize, set: Vec<(usize, String)> },
    /// Changes within a column's JSON.
    Json { first: usize, last: usize, column: usize, expression: String },
    /// Removes every row whose id has this remainder by ten.
    Delete { remainder: usize },
}

impl Case {
    /// A table of these types.
    pub fn new(table: String, makers: &[&Maker], random: &mut Random) -> Self {
        let columns: Vec<Column> = makers.iter().map(|maker| maker.make(random)).collect();
        let row = |random: &mut Random| columns.iter().map(|column| column.values.literal(random)).collect();
        let rows = (0..ROWS).map(|_| row(random)).collect();
        let mut changes: Vec<Change> = (0..8).filter_map(|_| update(&columns, random)).collect();
        for (at, column) in columns.iter().enumerate() {
            if matches!(column.values, Values::JsonMySql) {
                changes.extend((0..6).map(|_| {
                    let (first, last) = range(random);
                    Change::Json { first, last, column: at, expression: values::json_change(random, &name(at)) }
                }));
            }
        }
        changes.push(Change::Delete { remainder: random.below(10) as usize });
        changes.extend(update(&columns, random));
        Self { table, columns, rows, changes }
    }

    /// All of it as SQL, one statement an entry.
    pub fn statements(&self) -> Vec<String> {
        let mut all = vec![format!("DROP TABLE IF EXISTS {}", self.table), self.create()];
        let taking: Vec<usize> = (0..self.columns.len()).filter(|&at| !self.columns[at].generated).collect();
        let names: String = taking.iter().map(|&at| format!(", {}", name(at))).collect();
        let row = |id: usize| -> String {
            let values: String = taking.iter().map(|&at| format!(", {}", self.rows[id][at])).collect();
            format!("({id}{values})")
        };
        let ids: Vec<usize> = (0..self.rows.len()).collect();
        for some in ids.chunks(ROWS_A_STATEMENT) {
            let rows: Vec<String> = some.iter().map(|&id| row(id)).collect();
            all.push(format!("INSERT INTO {} (id{names}) VALUES {}", self.table, rows.join(", ")));
        }
        all.extend(self.changes.iter().map(|change| self.change(change)));
        all
    }

    fn create(&self) -> String {
        let columns = self.columns.iter().enumerate();
        let columns: String = columns.map(|(at, column)| format!(", {} {}", name(at), column.definition)).collect();
        format!("CREATE TABLE {} (id INT PRIMARY KEY{columns}) CHARACTER SET utf8mb4", self.table)
    }

    fn change(&self, change: &Change) -> String {
        let table = &self.table;
        match change {
            Change::Update { first, last, set } => {
                let set: Vec<String> = set.iter().map(|(at, value)| format!("{} = {value}", name(*at))).collect();
                format!("UPDATE {table} SET {} WHERE id BETWEEN {first} AND {last}", set.join(", "))
            }
            Change::Json { first, last, column, expression } => {
                format!("UPDATE {table} SET {} = {expression} WHERE id BETWEEN {first} AND {last}", name(*column))
            }
            Change::Delete { remainder } => format!("DELETE FROM {table} WHERE id % 10 = {remainder}"),
        }
    }

    /// What the server holds: one row a row, its id, then each column in hexadecimal.
    pub fn question(&self) -> String {
        let columns = self.columns.iter().enumerate();
        let asked: String =
            columns.map(|(at, column)| format!(", HEX({})", column.asked.replace("{}", &name(at)))).collect();
        format!("SELECT CAST(id AS CHAR){asked} FROM {} ORDER BY id", self.table)
    }

    /// Smaller ones, the smallest first: fewer changes, half of the rows, a column less.
    pub fn smaller(&self) -> Vec<Case> {
        let mut all = Vec::new();
        if self.rows.len() > 1 {
            let half = self.rows.len() / 2;
            all.push(Case { rows: self.rows[..half].to_vec(), ..self.clone() });
            all.push(Case { rows: self.rows[half..].to_vec(), ..self.clone() });
        }
        if self.changes.len() > 1 {
            all.push(Case { changes: Vec::new(), ..self.clone() });
        }
        for without in 0..self.changes.len() {
            let mut smaller = self.clone();
            smaller.changes.remove(without);
            all.push(smaller);
        }
        for without in 0..self.columns.len() {
            all.push(self.without_column(without));
        }
        all
    }

    fn without_column(&self, without: usize) -> Case {
        let mut smaller = self.clone();
        smaller.columns.remove(without);
        for row in &mut smaller.rows {
            row.remove(without);
        }
        let moved = |at: usize| if at > without { at - 1 } else { at };
        smaller.changes.retain_mut(|change| match change {
            Change::Update { set, .. } => {
                set.retain(|(at, _)| *at != without);
                set.iter_mut().for_each(|(at, _)| *at = moved(*at));
                !set.is_empty()
            }
            Change::Json { column, expression, .. } => {
                let kept = *column != without;
                let old = name(*column);
                *column = moved(*column);
                *expression = expression.replacen(&old, &name(*column), 1);
                kept
            }
            Change::Delete { .. } => true,
        });
        smaller
    }
}

/// The name of a column by its place.
pub fn name(at: usize) -> String {
    format!("c{at}")
}

fn range(random: &mut Random) -> (usize, usize) {
    let first = random.below(ROWS as u64);
    let length = *random.pick(&[1, 1, 3, 30]);
    (first as usize, (first + length) as usize)
}

fn update(columns: &[Column], random: &mut Random) -> Option<Change> {
    let mut set = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        if !column.generated && random.once_in(3) {
            set.push((at, column.values.literal(random)));
        }
    }
    let (first, last) = range(random);
    (!set.is_empty()).then_some(Change::Update { first, last, set })
}
