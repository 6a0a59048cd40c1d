//! What the binlog says of the tables: rows events applied to texts, images with absent columns included.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use towpath_engine::binlog::text::Text;
use towpath_engine::binlog::{Field, GeometryText, RowsEvent};

/// A geometry with every byte it has, which GeoJSON would not show.
const TEXT: Text = Text { canal_quirks: false, geometry: GeometryText::Hex };

/// The texts of a row by column; `None` is NULL.
type Texts = BTreeMap<String, Option<String>>;

/// One table as the events leave it.
#[derive(Debug, Default)]
pub struct Table {
    /// Rows by `id`.
    pub rows: BTreeMap<String, Texts>,
    /// Rows seen, also those that are gone.
    pub changes: usize,
    /// An image came without all columns.
    pub partial: bool,
}

impl Table {
    /// Applies an event. A before image must be what is there.
    pub fn apply(&mut self, mut event: RowsEvent<'_>) -> Result<()> {
        let names: Vec<String> = event.table.columns.iter().map(|column| column.name.clone()).collect();
        let table = event.table.clone();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        while event.read_row(&mut before, &mut after)? {
            self.changes += 1;
            self.partial |= before.contains(&Field::Absent) || after.contains(&Field::Absent);
            let read = |fields: &[Field<'_>]| -> Result<Texts> {
                let mut texts = Texts::new();
                for ((column, name), field) in table.columns.iter().zip(&names).zip(fields) {
                    let mut out = vec![b'"'];
                    match field {
                        Field::Absent => continue,
                        Field::Null => {
                            texts.insert(name.clone(), None);
                            continue;
                        }
                        Field::Value(raw) => TEXT.write(column, raw, &mut out)?,
                        Field::Patched(patched) => TEXT.write_patched(column, patched, &mut out)?,
                    }
                    out.push(b'"');
                    texts.insert(name.clone(), Some(serde_json::from_slice(&out)?));
                }
                Ok(texts)
            };
            let (old, new) = (read(&before)?, read(&after)?);
            self.change(!before.is_empty(), old, !after.is_empty(), new)?;
        }
        Ok(())
    }

    fn change(&mut self, has_old: bool, old: Texts, has_new: bool, new: Texts) -> Result<()> {
        let mut row = Texts::new();
        if has_old {
            let Some(Some(id)) = old.get("id") else { bail!("a before image without its key: {old:?}") };
            let Some(there) = self.rows.remove(id) else { bail!("a before image of the absent row {id}") };
            row = there;
            for (name, value) in &old {
                ensure!(row.get(name) == Some(value), "row {id}: before, {name} is {value:?}, was {:?}", row.get(name));
            }
        }
        if has_new {
            row.extend(new);
            let Some(Some(id)) = row.get("id").cloned() else { bail!("an after image without its key: {row:?}") };
            ensure!(self.rows.insert(id.clone(), row).is_none(), "row {id} comes twice");
        }
        Ok(())
    }
}
