//! A sink against the real columns of its tables: condition, id, routing, fields.

use std::sync::Arc;

use towpath_engine::adapter::condition::Condition;
use towpath_engine::adapter::document::DocumentPlan;
use towpath_engine::adapter::shape::Shape;
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::schema::TableSchema;

use super::report::Part;
use crate::config::Sink;

/// Checks a sink against the captured tables.
pub fn columns(sink: &Sink, tables: &[TableSchema], part: &mut Part) {
    let config = &sink.config;
    for (source, written) in config.sources.iter().zip(&sink.tables) {
        let mut any = false;
        for table in tables.iter().filter(|table| source.table.matches(&table.database, &table.table)) {
            any = true;
            let shape = Arc::new(Shape::of_schema(table));
            let condition = config.when.as_deref().map(|when| Condition::new(when, &shape, &config.time_zone));
            if let Some(Err(stop)) = condition {
                part.problem(
                    Stop::new(stop.cause, format!("when, for {}: {}", shape.full_name(), stop.detail)),
                    Vec::new(),
                );
            }
            if let Err(stop) = DocumentPlan::new(config, Arc::clone(&shape)) {
                part.problem(stop, Vec::new());
            }
        }
        if !any {
            let detail = format!("no table of the source is {written}");
            part.problem(Stop::new(Cause::Config, detail), Vec::new());
        }
    }
}
