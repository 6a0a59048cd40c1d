//! `towpath binlog`: binlog files or a live server, as events, rows, messages or counts.
//!
//! Reads what is there as it is: nothing is asked for a definition, so columns that the binlog does not name are `@1`,
//! `@2`, …. Must not write anywhere but to standard output.

mod count;
mod events;
mod files;
mod flat;
mod reading;
mod rows;
mod selection;
mod server;

use std::io::{self, Write};

use crate::cli::{BinlogArgs, BinlogFormat};
use crate::exit::Failure;
use reading::{Output, Reading};
use selection::Selection;
use towpath_engine::cause::Stop;

/// Bytes gathered before they go to standard output.
const OUT_BUFFER: usize = 1 << 18;

/// Why reading ends before its end.
#[derive(Debug)]
enum Halt {
    /// Whoever read our output has gone: nothing is left to do, and nothing went wrong.
    Unheard,
    /// Anything else.
    Failed(Failure),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Failed(stop.into())
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Halt {
    /// Of writing to standard output; other errors are worded where they happen.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unheard,
            _ => Self::Failed(Failure::Other(format!("standard output cannot be written: {error}"))),
        }
    }
}

/// Carries it out.
pub fn binlog(args: &BinlogArgs) -> Result<(), Failure> {
    if args.server.is_none()
        && (args.start.is_some() || args.start_gtid.is_some() || args.stop_never || args.server_id.is_some())
    {
        let options = "--start, --start-gtid, --stop-never and --server-id";
        return Err(Failure::Usage(format!("{options} are for a live server: name it by --server, not FILE")));
    }
    let selection = Selection::new(args)?;
    let out = io::BufWriter::with_capacity(OUT_BUFFER, io::stdout().lock());
    let output: Box<dyn Output + '_> = match args.format {
        BinlogFormat::Events => Box::new(events::Events::new(out, args.json)),
        BinlogFormat::Rows => Box::new(rows::Rows::new(out, args.epoch)),
        BinlogFormat::Flat => Box::new(flat::Flat::new(out, args.epoch)),
        BinlogFormat::Count => Box::new(count::Count::new(out, args.json)),
    };
    let mut reading = Reading::new(selection, args.offset, output);
    let read = match &args.server {
        Some(url) => server::read(url, args, &mut reading),
        None => files::read(&args.files, &mut reading),
    };
    // What was decoded is shown also when reading failed, but not that it was nothing.
    let shown = if read.is_err() && reading.tally().events == 0 { Ok(()) } else { reading.finish() };
    match (read, shown) {
        (Err(Halt::Failed(failure)), _) | (Ok(()), Err(Halt::Failed(failure))) => Err(failure),
        _ => Ok(()),
    }
}

/// Writes `pieces` as one line.
fn line(out: &mut dyn Write, pieces: &[&[u8]]) -> io::Result<()> {
    pieces.iter().try_for_each(|piece| out.write_all(piece))?;
    out.write_all(b"\n")
}
