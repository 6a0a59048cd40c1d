//! Records that are written and not yet handed to the producer, with the marks of their transactions.
//!
//! Must not know the log: it says what comes next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::count::TransactionEnd;
use crate::format::{RecordBuffer, RecordView};

/// A buffer is closed at this size, so that memory comes back piece by piece.
const CHUNK_BYTES: usize = 256 << 10;
/// Empty buffers kept for use again.
const SPARE: usize = 4;

/// What comes next.
// Boxing the record would cost an allocation for each, and the value is taken apart at once.
#[expect(clippy::large_enum_variant)]
pub enum Next<'a> {
    /// A record, with its witness' header text.
    Record(RecordView<'a>, &'a Arc<str>),
    /// The open transaction is complete.
    End(TransactionEnd),
}

enum Mark {
    /// Records of the chunk below this index belong to one event with this witness.
    Records(usize, Arc<str>),
    End(TransactionEnd),
}

#[derive(Default)]
struct Chunk {
    buffer: RecordBuffer,
    marks: VecDeque<Mark>,
    next: usize,
    /// Records below this index have a mark: only then may another chunk begin.
    marked: usize,
}

/// The queue between decoding and producing.
#[derive(Default)]
pub struct Outbox {
    chunks: VecDeque<Chunk>,
    spare: Vec<RecordBuffer>,
    /// Bytes of all chunks but the last, which still grows.
    closed: usize,
}

impl Outbox {
    /// Where the next event's records are to be written. Follow with [`Outbox::wrote`].
    pub fn buffer(&mut self) -> &mut RecordBuffer {
        let full = |chunk: &Chunk| chunk.buffer.bytes() >= CHUNK_BYTES && chunk.marked == chunk.buffer.len();
        if self.chunks.back().is_none_or(full) {
            self.closed += self.chunks.back().map_or(0, |chunk| chunk.buffer.bytes());
            let buffer = self.spare.pop().unwrap_or_default();
            self.chunks.push_back(Chunk { buffer, ..Chunk::default() });
        }
        // Pushed above if there was none.
        let last = self.chunks.len() - 1;
        &mut self.chunks[last].buffer
    }

    /// The buffer now holds all records of the event with this witness.
    pub fn wrote(&mut self, witness: Arc<str>) {
        if let Some(chunk) = self.chunks.back_mut() {
            let upto = chunk.buffer.len();
            chunk.marked = upto;
            chunk.marks.push_back(Mark::Records(upto, witness));
        }
    }

    /// The open transaction is complete.
    pub fn end(&mut self, end: TransactionEnd) {
        if self.chunks.is_empty() {
            self.chunks.push_back(Chunk { buffer: self.spare.pop().unwrap_or_default(), ..Chunk::default() });
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.marks.push_back(Mark::End(end));
        }
    }

    /// What comes next, without taking it.
    pub fn peek(&mut self) -> Option<Next<'_>> {
        self.settle();
        let chunk = self.chunks.front()?;
        match chunk.marks.front()? {
            Mark::Records(_, witness) => Some(Next::Record(chunk.buffer.get(chunk.next)?, witness)),
            Mark::End(end) => Some(Next::End(end.clone())),
        }
    }

    /// Takes what [`Outbox::peek`] showed.
    pub fn advance(&mut self) {
        if let Some(chunk) = self.chunks.front_mut() {
            match chunk.marks.front() {
                Some(Mark::Records(..)) => chunk.next += 1,
                Some(Mark::End(_)) => drop(chunk.marks.pop_front()),
                None => {}
            }
        }
    }

    /// Drops what is used up at the front.
    fn settle(&mut self) {
        while let Some(chunk) = self.chunks.front_mut() {
            match chunk.marks.front() {
                Some(Mark::Records(upto, _)) if chunk.next >= *upto => drop(chunk.marks.pop_front()),
                Some(_) => return,
                None if chunk.next < chunk.buffer.len() => return,
                None => {
                    let mut buffer = std::mem::take(&mut chunk.buffer);
                    self.chunks.pop_front();
                    if !self.chunks.is_empty() {
                        self.closed -= buffer.bytes();
                    }
                    buffer.clear();
                    if self.spare.len() < SPARE {
                        self.spare.push(buffer);
                    }
                }
            }
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.closed + self.chunks.back().map_or(0, |chunk| chunk.buffer.bytes())
    }

    /// Throws all away.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.closed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployer::count::TransactionId;
    use crate::format::{ControlContext, ControlKind, write_control};

    fn end(offset: u64) -> TransactionEnd {
        TransactionEnd {
            id: TransactionId::Anonymous,
            offset,
            file: "b.1".into(),
            start: 0,
            end: 0,
            length: 0,
            crc32: 0,
            original_commit_us: 0,
            commit_ms: 0,
            xa: None,
        }
    }

    /// Takes everything out: terms of the records (which number them here) and ends.
    fn drain(outbox: &mut Outbox, limit: usize) -> Vec<String> {
        let mut out = Vec::new();
        while out.len() < limit {
            match outbox.peek() {
                None => break,
                Some(Next::End(end)) => out.push(format!("end {}", end.offset)),
                Some(Next::Record(view, witness)) => {
                    let fields = view.headers.as_slice();
                    let term = fields.iter().find(|(name, _)| *name == crate::format::headers::TERM).unwrap().1;
                    out.push(format!("{} {witness}", String::from_utf8_lossy(term)));
                }
            }
            outbox.advance();
        }
        out
    }

    #[test]
    fn everything_comes_out_once_and_in_order_and_memory_comes_back() {
        let mut outbox = Outbox::default();
        let pipeline = "p".repeat(2000);
        let (mut expected, mut got, mut term) = (Vec::new(), Vec::new(), 0u64);
        for transaction in 0..3000u64 {
            for event in 0..transaction % 3 {
                for _ in 0..event + 1 {
                    let context = ControlContext { epoch: 1, term, pipeline: &pipeline, server: "", ts_ms: 0 };
                    write_control(&ControlKind::Fence, &context, 0, outbox.buffer());
                    expected.push(format!("{term} {transaction}-{event}"));
                    term += 1;
                }
                outbox.wrote(format!("{transaction}-{event}").into());
            }
            outbox.end(end(transaction));
            expected.push(format!("end {transaction}"));
            if transaction % 700 == 699 {
                got.extend(drain(&mut outbox, 900));
            }
        }
        assert!(outbox.bytes() > 2 * CHUNK_BYTES, "several chunks were open");
        got.extend(drain(&mut outbox, usize::MAX));
        assert_eq!(got, expected);
        assert!(outbox.is_empty());
        assert_eq!((outbox.bytes(), outbox.chunks.len()), (0, 0));
    }
}
