//! `towpath position history`: the checkpoints that are kept, and what was done by hand; and the choice among them by
//! time. Changes nothing.

use comfy_table::{CellAlignment, Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};
use towpath_engine::deployer::Start;
use towpath_engine::position::Position;
use towpath_engine::state::{PipelineState, RingEntry};

use super::{chosen, connect};
use crate::cli::ShowArgs;
use crate::config;
use crate::exit::Failure;
use crate::output;
use crate::services::Services;

/// Carries it out.
pub(super) async fn history(args: &ShowArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let mut shown = Vec::new();
    for pipeline in chosen(&config, args.pipeline.as_deref())? {
        let coordinator = connect(pipeline, &Services::new(pipeline)?).await?;
        let state = super::state(pipeline, coordinator.as_ref()).await?;
        if !args.json {
            output::text(&text(&pipeline.name, state.as_ref()));
        }
        shown.push(value(&pipeline.name, state.as_ref()));
    }
    if args.json {
        output::line(json!({ "pipelines": shown }));
    }
    Ok(())
}

fn value(pipeline: &str, state: Option<&PipelineState>) -> Value {
    let kept = |entry: &RingEntry| {
        json!({
            "epoch": entry.epoch, "offset": entry.offset, "resume": entry.resume, "taken_ms": entry.at_ms,
            "committed_ms": committed_ms(entry), "gtid": entry.witness.gtid,
            "file": format!("{}:{}", entry.witness.file, entry.witness.start + entry.witness.length),
        })
    };
    json!({
        "pipeline": pipeline,
        "checkpoints": state.map_or_else(Vec::new, |state| state.ring.entries().iter().map(kept).collect()),
        "audit": state.map_or_else(Vec::new, |state| state.audit.clone()),
    })
}

fn text(pipeline: &str, state: Option<&PipelineState>) -> String {
    let Some(state) = state else { return format!("pipeline {pipeline}\n  no state yet\n") };
    let mut checkpoints = table(&["epoch", "offset", "last commit (UTC)", "last transaction", "resume"]);
    for entry in state.ring.entries() {
        let offset = entry.offset.to_string();
        let row = [&entry.epoch.to_string(), &offset, &at(committed_ms(entry)), &entry.witness.gtid];
        checkpoints.add_row(row.into_iter().map(String::as_str).chain([entry.resume.to_string().as_str()]));
    }
    for column in 0..2 {
        if let Some(column) = checkpoints.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut audit = table(&["when (UTC)", "what"]);
    for entry in &state.audit {
        audit.add_row([at(entry.at_ms).as_str(), &entry.what]);
    }
    format!("pipeline {pipeline}\n\nkept checkpoints, oldest first\n{checkpoints}\n\naudit trail\n{audit}\n")
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heads);
    table
}

fn at(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

/// When the checkpoint's last transaction was committed; where its server writes no such time, when it was taken.
fn committed_ms(entry: &RingEntry) -> u64 {
    match entry.witness.original_commit_us {
        0 => entry.at_ms,
        us => us / 1000,
    }
}

/// The newest kept checkpoint whose last transaction was committed before a time: everything from then on is read
/// again. A place in files is one of the server whose epoch it is, so only those of the present epoch count.
pub(super) fn before(state: &PipelineState, seconds: i64) -> Result<Start, Failure> {
    let ms = u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    let usable = |entry: &&RingEntry| match entry.resume {
        Position::Gtid(_) => true,
        Position::File(_) => entry.epoch == state.epoch.number,
        Position::MariaDb(_) => false,
    };
    let mut kept = state.ring.entries().iter().filter(usable);
    let found = kept.rfind(|entry| committed_ms(entry) < ms).map(|entry| &entry.resume);
    match found {
        Some(Position::Gtid(set)) => Ok(Start::Gtid(set.clone())),
        Some(Position::File(place)) => Ok(Start::File(place.clone())),
        _ => {
            let time = at(ms);
            Err(Failure::Usage(format!(
                "no kept checkpoint lies before {time} (`towpath position history` shows them; `failover.horizon` says \
                 for how long they are kept): find the place by `towpath binlog --server URL --since {time}` and give it \
                 by --gtid or --file"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_engine::state::Witness;

    fn entry(epoch: u16, resume: &str, committed_ms: u64) -> RingEntry {
        let witness = Witness {
            file: "b.000001".into(),
            start: 4,
            gtid: String::new(),
            length: 10,
            crc32: 0,
            original_commit_us: committed_ms * 1000,
        };
        let resume = match resume.parse() {
            Ok(Start::Gtid(set)) => Position::Gtid(set),
            Ok(Start::File(place)) => Position::File(place),
            other => panic!("{other:?}"),
        };
        RingEntry {
            epoch,
            resume,
            offset: 0,
            witness,
            low_water: Vec::new(),
            prepared: Vec::new(),
            at_ms: committed_ms,
        }
    }

    #[test]
    fn a_time_finds_the_newest_checkpoint_before_it() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let mut state = super::super::blank_state("orders", "orders", 1);
        state.epoch.number = 2;
        state.ring.add(entry(1, "binlog.000001:100", 10_000));
        state.ring.add(entry(2, &format!("{uuid}:1-5"), 20_000));
        state.ring.add(entry(2, &format!("{uuid}:1-9"), 30_000));
        let found = |seconds| before(&state, seconds).map(|start| start.to_string());
        assert_eq!(found(30).unwrap(), format!("{uuid}:1-5"));
        assert_eq!(found(31).unwrap(), format!("{uuid}:1-9"));
        // Of the epoch before only a place in files is left, and the files were another server's.
        assert!(matches!(found(15), Err(Failure::Usage(text)) if text.contains("--since 1970-01-01T00:00:15Z")));
    }
}
