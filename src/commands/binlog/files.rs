//! Binlog files as input: read in pieces, checked by the engine's reader.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use towpath_engine::binlog::file::FileReader;
use towpath_engine::cause::Stop;

use super::Halt;
use super::reading::{Reading, Tally};
use crate::exit::Failure;

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// Reads the files, one after the other.
pub(super) fn read(files: &[PathBuf], reading: &mut Reading<'_>) -> Result<(), Halt> {
    files.iter().try_for_each(|path| one(path, reading))
}

fn one(path: &Path, reading: &mut Reading<'_>) -> Result<(), Halt> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let unreadable = |error| Failure::Other(format!("{}: cannot be read: {error}", path.display()));
    let mut file = File::open(path).map_err(unreadable)?;
    reading.file(&name).map_err(|stop| placed(stop, path, reading.tally()))?;
    let mut reader = FileReader::new();
    let mut piece = vec![0; PIECE];
    loop {
        let length = file.read(&mut piece).map_err(unreadable)?;
        if length == 0 {
            reader.finish().map_err(|stop| placed(stop, path, reading.tally()))?;
            return Ok(());
        }
        reader.push(&piece[..length]);
        loop {
            let event = reader.next_event().map_err(|stop| placed(stop, path, reading.tally()))?;
            let Some(event) = event else { break };
            match reading.event(event.raw, event.offset, event.checksummed) {
                Err(Halt::Failed(Failure::Stop(stop))) => {
                    let stop = Stop::new(stop.cause, format!("at offset {}: {}", event.offset, stop.detail));
                    return Err(placed(stop, path, reading.tally()));
                }
                other => other?,
            }
        }
    }
}

/// Adds the file, and what was decoded until there.
fn placed(stop: Stop, path: &Path, tally: &Tally) -> Halt {
    let Tally { events, transactions, rows, .. } = tally;
    let until = format!("decoded until there: {events} events, {transactions} whole transactions, {rows} rows");
    Stop::new(stop.cause, format!("{}: {}; {until}", path.display(), stop.detail)).into()
}
