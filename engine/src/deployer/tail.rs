//! What the log itself tells a new leader: the highest epoch, term and position that any predecessor has written; and
//! from where in the log that must be asked the next time.
//!
//! Must not judge what it finds: that is [`super::epoch`].

use crate::format::headers;
use crate::ports::log::{ConsumedRecord, EventLog, LogError, TopicInfo};
use crate::state::Witness;

/// The header that lets a successor recognise the transaction a record came from, bytes and all:
/// `FILE:START:LENGTH:CRC32`, of the transaction's counted bytes up to and with the record's event.
pub const WITNESS: &str = "towpath-witness";

/// Records read in one call.
const CHUNK: usize = 2_000;
/// How many records before a partition's end are looked at first when only the newest is wanted.
const BACK: i64 = 64;

/// A position that a record in the log proves to have been emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Offset of the event's first byte in the epoch.
    pub offset: u64,
    /// The text of its [`WITNESS`] header: the transaction up to and with that event; empty if it has none.
    pub text: String,
    /// The transaction's GTID; empty without.
    pub gtid: String,
}

/// What the log tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTail {
    /// The highest epoch in any header; 0 if there is none.
    pub epoch: u16,
    /// The highest term in any header; 0 if there is none.
    pub term: i64,
    /// The highest position under that epoch.
    pub highest: Option<Emitted>,
    /// Per partition, the offset after its last record when it was read.
    pub ends: Vec<i64>,
}

impl LogTail {
    /// Takes in one record of this pipeline; others are passed over.
    pub fn see(&mut self, record: &ConsumedRecord, pipeline: &str) {
        let text = |name: &str| record.header(name).and_then(|value| std::str::from_utf8(value).ok());
        if text(headers::PIPELINE).is_some_and(|name| !name.is_empty() && name != pipeline) {
            return;
        }
        let Some(epoch) = text(headers::EPOCH).and_then(|text| text.parse::<u16>().ok()) else { return };
        if let Some(term) = text(headers::TERM).and_then(|text| text.parse::<i64>().ok()) {
            self.term = self.term.max(term);
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.highest = None;
        }
        if epoch < self.epoch {
            return;
        }
        // Rows that were read prove no place in the binlog.
        if record.header(headers::READ).is_some() {
            return;
        }
        let Some(offset) = text(headers::OFFSET).and_then(|text| text.parse::<u64>().ok()) else { return };
        if self.highest.as_ref().is_none_or(|highest| offset >= highest.offset) {
            let own = |name| text(name).unwrap_or_default().to_owned();
            self.highest = Some(Emitted { offset, text: own(WITNESS), gtid: own(headers::GTID) });
        }
    }

    /// Takes in what another reading of the same log gave.
    pub fn merge(&mut self, other: LogTail) {
        self.term = self.term.max(other.term);
        let higher = (other.epoch, other.highest.as_ref().map(|highest| highest.offset))
            > (self.epoch, self.highest.as_ref().map(|highest| highest.offset));
        if higher {
            self.epoch = other.epoch;
            self.highest = other.highest;
        }
    }
}

/// Writes the header's text.
pub fn write_witness(file: &str, start: u64, length: u64, crc32: u32) -> String {
    format!("{file}:{start}:{length}:{crc32:08x}")
}

/// Reads the header's text.
pub fn read_witness(text: &str, gtid: &str) -> Option<Witness> {
    let mut parts = text.rsplitn(4, ':');
    let crc32 = u32::from_str_radix(parts.next()?, 16).ok()?;
    let length = parts.next()?.parse().ok()?;
    let start = parts.next()?.parse().ok()?;
    let file = parts.next()?.to_owned();
    Some(Witness { file, start, gtid: gtid.to_owned(), length, crc32, original_commit_us: 0 })
}

/// Reads every record from `from` on (per partition), up to the ends in `info`.
pub async fn read_from(
    log: &dyn EventLog,
    topic: &str,
    pipeline: &str,
    info: &TopicInfo,
    from: &[i64],
) -> Result<LogTail, LogError> {
    let mut tail = LogTail { ends: info.watermarks.iter().map(|&(_, end)| end).collect(), ..LogTail::default() };
    for (partition, &(first, end)) in info.watermarks.iter().enumerate() {
        let start = from.get(partition).copied().unwrap_or(first).max(first);
        scan(log, topic, partition as u32, (start, end), |record| tail.see(record, pipeline)).await?;
    }
    Ok(tail)
}

/// Looks for the newest records of each partition only: enough for the highest epoch and term, since both only rise
/// with the offset but for what zombies add.
pub async fn read_newest(
    log: &dyn EventLog,
    topic: &str,
    pipeline: &str,
    info: &TopicInfo,
) -> Result<LogTail, LogError> {
    let mut tail = LogTail { ends: info.watermarks.iter().map(|&(_, end)| end).collect(), ..LogTail::default() };
    for (partition, &(first, end)) in info.watermarks.iter().enumerate() {
        let (mut to, mut back) = (end, BACK);
        while to > first {
            let start = to.saturating_sub(back).max(first);
            let mut found = false;
            scan(log, topic, partition as u32, (start, to), |record| {
                found |= record.header(headers::EPOCH).is_some();
                tail.see(record, pipeline);
            })
            .await?;
            // Aborted records and commit markers take offsets too: go back until something can be read.
            if found {
                break;
            }
            to = start;
            back = back.saturating_mul(4);
        }
    }
    Ok(tail)
}

async fn scan(
    log: &dyn EventLog,
    topic: &str,
    partition: u32,
    (mut next, end): (i64, i64),
    mut see: impl FnMut(&ConsumedRecord),
) -> Result<(), LogError> {
    while next < end {
        let (records, reached) = log.read(topic, partition, next, end, CHUNK).await?;
        records.iter().for_each(&mut see);
        if reached <= next {
            return Err(LogError::Unavailable(format!("partition {partition} of {topic} ends at {next}, below {end}")));
        }
        next = reached;
    }
    Ok(())
}

/// From where the log's tail must be read: per partition an offset before which no record of the epoch lies above the
/// carried position. Advances with the acknowledged prefix only; after a takeover or a rewind it stays until the
/// carried
/// position has passed all that may have been in the log then (protocol §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailMark {
    at: Vec<i64>,
    /// Set while copies of later transactions may lie anywhere up to the log's end: the highest of their offsets.
    hold: Option<u64>,
    /// Where the log ended when the hold began, if that is known.
    ends: Vec<i64>,
}

impl TailMark {
    /// The mark as the state holds it.
    pub fn new(at: Vec<i64>) -> Self {
        Self { at, hold: None, ends: Vec::new() }
    }

    /// Records up to `highest` (offset of an event) may lie anywhere before `ends` (empty: not known).
    pub fn hold(&mut self, highest: u64, ends: Vec<i64>) {
        self.hold = Some(self.hold.map_or(highest, |before| before.max(highest)));
        self.ends = ends;
    }

    /// Whether it stands still at this carried offset.
    pub fn held(&self, carried: u64) -> bool {
        self.hold.is_some_and(|highest| carried <= highest)
    }

    /// Takes in how far the acknowledged prefix reaches: its end's offset in the epoch, and per partition the place
    /// after
    /// its last record (-1: none). Returns the mark.
    pub fn advance(&mut self, carried: u64, acknowledged: &[i64]) -> &[i64] {
        if !self.held(carried) {
            if self.hold.take().is_some() {
                raise(&mut self.at, &std::mem::take(&mut self.ends));
            }
            raise(&mut self.at, acknowledged);
        }
        &self.at
    }

    /// The mark.
    pub fn offsets(&self) -> &[i64] {
        &self.at
    }
}

fn raise(at: &mut [i64], to: &[i64]) {
    for (at, to) in at.iter_mut().zip(to) {
        *at = (*at).max(*to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(headers: &[(&str, &str)]) -> ConsumedRecord {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        ConsumedRecord { partition: 0, offset: 0, key: None, value: None, headers, timestamp_ms: 0 }
    }

    #[test]
    fn the_highest_position_of_the_highest_epoch_is_kept() {
        let mut tail = LogTail::default();
        let change = |epoch: &str, offset: &str, term: &str, pipeline: &str| {
            record(&[
                (headers::EPOCH, epoch),
                (headers::OFFSET, offset),
                (headers::TERM, term),
                (headers::GTID, "g"),
                (headers::PIPELINE, pipeline),
                (WITNESS, "dir:b.000001:157:900:00c0ffee"),
            ])
        };
        tail.see(&record(&[("other", "1")]), "p");
        assert_eq!(tail, LogTail::default());
        tail.see(&change("1", "900", "3", "p"), "p");
        tail.see(&change("2", "50", "4", "p"), "p");
        tail.see(&change("2", "20", "4", "p"), "p");
        tail.see(&change("1", "5000", "9", "p"), "p");
        tail.see(&change("7", "1", "99", "another"), "p");
        assert_eq!((tail.epoch, tail.term), (2, 9), "a zombie's term counts, its epoch's position does not");
        let highest = tail.highest.unwrap();
        let witness = read_witness(&highest.text, &highest.gtid).unwrap();
        assert_eq!((highest.offset, witness.file.as_str(), witness.start), (50, "dir:b.000001", 157));
        assert_eq!((witness.length, witness.crc32, witness.gtid.as_str()), (900, 0x00c0_ffee, "g"));
        assert_eq!(write_witness(&witness.file, 157, 900, witness.crc32), "dir:b.000001:157:900:00c0ffee");
    }

    #[test]
    fn a_control_record_counts_without_an_offset() {
        let mut tail = LogTail::default();
        tail.see(&record(&[(headers::CONTROL, "fence"), (headers::EPOCH, "3"), (headers::TERM, "8")]), "p");
        assert_eq!((tail.epoch, tail.term, tail.highest), (3, 8, None));
    }

    #[test]
    fn a_mark_stays_until_the_carried_position_has_passed_the_old_tail() {
        let mut mark = TailMark::new(vec![10, 20]);
        mark.hold(500, vec![90, 95]);
        assert_eq!(mark.advance(300, &[100, -1]), [10, 20]);
        assert_eq!(mark.advance(500, &[101, -1]), [10, 20], "the event at 500 itself is not carried yet");
        assert_eq!(mark.advance(501, &[101, -1]), [101, 95], "then all that was in the log is carried");
        assert_eq!(mark.advance(600, &[99, 120]), [101, 120], "never back");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Leaders come and go; each resumes at the carried position and may write again what its predecessor wrote.
        /// No record before the mark ever lies above what is carried.
        #[test]
        fn no_record_above_the_carried_position_lies_before_the_mark(
            lives in proptest::collection::vec((1usize..12, 0usize..12, 0usize..12), 1..8),
        ) {
            // One partition; transaction n is one record at offset 10 n, its end is 10 n + 10.
            let mut log: Vec<u64> = Vec::new();
            let (mut carried, mut checkpoint) = (0u64, (0u64, vec![0i64]));
            for (produced, acknowledged, checkpointed) in lives {
                let mut mark = TailMark::new(checkpoint.1.clone());
                let tail = &log[checkpoint.1[0] as usize..];
                prop_assert!(log[..checkpoint.1[0] as usize].iter().all(|&offset| offset < checkpoint.0));
                if let Some(&highest) = tail.iter().max() {
                    mark.hold(highest, vec![log.len() as i64]);
                }
                let (start, base) = (checkpoint.0 / 10, log.len());
                log.extend((0..produced as u64).map(|n| (start + n) * 10));
                for n in 1..=acknowledged.min(produced) {
                    let end = (start + n as u64) * 10;
                    carried = carried.max(end);
                    let at = mark.advance(end, &[(base + n) as i64]).to_vec();
                    prop_assert!(log[..at[0] as usize].iter().all(|&offset| offset < end), "{log:?} {at:?} {end}");
                    if n <= checkpointed {
                        checkpoint = (end, at);
                    }
                }
            }
        }
    }
}
