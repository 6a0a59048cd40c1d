//! The bare dump: the whole binlog over TCP, thrown away. What a server and loopback give at most.
//!
//! By the client library alone: no checksum is verified, no event put together again. Must not decode.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Conn, Opts};
use std::time::Instant;

/// Of no replica that a stack has.
const SERVER_ID: u32 = 4_000_000_001;

/// What a dump amounted to.
#[derive(Debug, Clone, Copy)]
pub struct Dumped {
    /// Seconds from the request to the end of the binlog.
    pub seconds: f64,
    /// Bytes of all events, as they lie in the server's files.
    pub bytes: u64,
}

impl Dumped {
    /// Megabytes (10^6) a second.
    pub fn mb_per_s(self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds
    }
}

/// Streams all binlog files of the server at `url` once.
///
/// # Errors
/// When the server refuses the dump or breaks it off.
pub async fn dump(url: &str) -> Result<Dumped> {
    let mut conn = Conn::new(Opts::from_url(url)?).await?;
    conn.query_drop("SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'").await?;
    let first: Option<(String, u64, String)> = conn.query_first("SHOW BINARY LOGS").await?;
    let (file, ..) = first.context("the server has no binlog")?;
    let begun = Instant::now();
    let request = BinlogStreamRequest::new(SERVER_ID).with_filename(file.as_bytes()).with_pos(4u64).with_non_blocking();
    let mut events = conn.get_binlog_stream(request).await?;
    let mut bytes = 0;
    while let Some(event) = events.next().await {
        bytes += u64::from(event?.header().event_size());
    }
    Ok(Dumped { seconds: begun.elapsed().as_secs_f64(), bytes })
}

/// The fastest of several dumps: others slow a dump down, nothing makes it faster than it is.
///
/// # Errors
/// As [`dump`].
pub async fn fastest(url: &str, rounds: u32) -> Result<Dumped> {
    let mut best = dump(url).await?;
    for _ in 1..rounds {
        let next = dump(url).await?;
        if next.seconds < best.seconds {
            best = next;
        }
    }
    Ok(best)
}
