//! XA groups: withheld at their PREPARE, written at their COMMIT (protocol §1 and §4).
//!
//! A group's place goes into the state with the checkpoint that passes its PREPARE; its bytes are read again at its
//! COMMIT, or come from a small store of recent ones. Must not write rows: the encoder does, with the group's events in
//! its hands. Pure.

use std::collections::VecDeque;

use super::count::TransactionEnd;
use crate::binlog::{Event, EventHeader, EventType, MariaDbGtid, QueryKind, XaStatement};
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::ports::source::EventBatch;
use crate::position::{FilePosition, Position};
use crate::state::{PipelineState, PreparedXa, Witness};

/// What a transaction's end means for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum XaEnd {
    /// The group is prepared: its rows wait.
    Prepared(String),
    /// The group is committed or rolled back: nothing waits any more.
    Resolved(String),
}

/// Takes a transaction's end into a list of prepared groups.
pub fn carry_prepared(prepared: &mut Vec<PreparedXa>, end: &TransactionEnd) {
    match end.xa.as_deref() {
        None => {}
        Some(XaEnd::Prepared(xid)) => {
            prepared.retain(|group| group.xid != *xid);
            if !canary::on(Canary::PreparedForgotten) {
                prepared.push(PreparedXa { xid: xid.clone(), witness: end.witness() });
            }
        }
        Some(XaEnd::Resolved(xid)) => prepared.retain(|group| group.xid != *xid),
    }
}

/// Of two places in one server's files the later one is larger.
fn order(at: &FilePosition) -> (Option<u64>, u64) {
    (at.file_number(), at.position)
}

/// The groups that were prepared at a position to which the pipeline goes back: those of `now`, and those that were
/// committed or rolled back since, as the checkpoint and the kept ones at or after that position tell. (Exact where it
/// is that of one of them; else a group that came before it and went before the next one is missing.)
pub fn prepared_at(state: &PipelineState, now: &[PreparedXa], resume: &Position) -> Vec<PreparedXa> {
    let since = |kept: &Position| match (kept, resume) {
        (Position::Gtid(kept), Position::Gtid(set)) => set.is_subset(kept),
        (Position::File(kept), Position::File(at)) => order(kept) >= order(at),
        (kept, at) => kept == at,
    };
    let kept = state.ring.entries().iter().map(|entry| (&entry.resume, &entry.prepared));
    let kept = kept.chain(std::iter::once((&state.checkpoint.resume, &state.prepared)));
    let groups = kept.filter(|(resume, _)| since(resume)).flat_map(|(_, groups)| groups);
    let mut found: Vec<PreparedXa> = Vec::new();
    for group in prepared_before(&now.iter().chain(groups).cloned().collect::<Vec<_>>(), resume) {
        if !found.iter().any(|known| known.xid == group.xid) {
            found.push(group);
        }
    }
    found
}

/// The groups whose PREPARE lies before a position: later ones are met again.
fn prepared_before(prepared: &[PreparedXa], resume: &Position) -> Vec<PreparedXa> {
    let before = |group: &&PreparedXa| match resume {
        Position::Gtid(set) => group.witness.gtid.parse().is_ok_and(|gtid| set.contains(&gtid)),
        Position::File(at) => order(&place(&group.witness)) < order(at),
        Position::MariaDb(list) => mariadb_before(&group.witness.gtid, list),
    };
    prepared.iter().filter(before).cloned().collect()
}

/// Whether MariaDB's position lies at or after a GTID.
fn mariadb_before(gtid: &str, list: &str) -> bool {
    let read = |text: &str| {
        let mut parts = text.trim().split('-').map(|part| part.parse::<u64>().ok());
        Some((parts.next()??, parts.next()??, parts.next()??))
    };
    let Some((domain, _, sequence)) = read(gtid) else { return false };
    list.split(',').filter_map(read).any(|(other, _, reached)| other == domain && sequence <= reached)
}

fn place(witness: &Witness) -> FilePosition {
    FilePosition::new(witness.file.clone(), witness.start)
}

/// A group whose events must be given to the encoder before it takes the event at hand.
#[derive(Debug, Clone)]
pub struct GroupNeed {
    /// Where it lies.
    pub at: FilePosition,
    /// Its id, for a person.
    pub xid: String,
    /// Its events, if they are still at hand.
    pub events: Option<EventBatch>,
}

/// A group's events being given.
#[derive(Debug)]
struct Insertion {
    hasher: crc32fast::Hasher,
    length: u64,
    /// What its counted bytes must be.
    expected: (u64, u32),
    /// The XA_PREPARE is the event at hand itself, not the group's last one.
    one_phase: bool,
    xid: String,
}

/// The groups that one stream has met or found in the state.
#[derive(Debug)]
pub struct Groups {
    prepared: Vec<PreparedXa>,
    recent: Recent,
    /// The first event of the open transaction, which a group is known by only later.
    head: Vec<u8>,
    /// The open transaction is a group that is withheld.
    withheld: bool,
    insertion: Option<Insertion>,
    /// The group that the open transaction commits has been given.
    given: bool,
}

impl Groups {
    /// With what the state knows; recent groups are kept up to `limit` bytes.
    pub fn new(prepared: Vec<PreparedXa>, limit: usize) -> Self {
        Self {
            prepared,
            recent: Recent { limit, ..Recent::default() },
            head: Vec::new(),
            withheld: false,
            insertion: None,
            given: false,
        }
    }

    /// A transaction begins with this event.
    pub fn begin(&mut self, raw: &[u8]) {
        self.head.clear();
        self.head.extend_from_slice(raw);
        (self.withheld, self.given, self.insertion) = (false, false, None);
    }

    /// Takes note of an event. `true`: it makes the open transaction a group that is withheld.
    pub fn take(&mut self, event: &Event<'_>, raw: &[u8]) -> Result<bool, Stop> {
        if self.withheld {
            self.keep(raw);
            return Ok(false);
        }
        let first = match event {
            Event::MariaDbGtid(gtid) => gtid.flags & MariaDbGtid::PREPARED_XA != 0,
            _ => false,
        };
        if !first && !starts_group(event)? {
            return Ok(false);
        }
        branch::reached(Branch::XaWithheld);
        self.withheld = true;
        self.recent.open(&self.head);
        if !first {
            self.keep(raw);
        }
        Ok(true)
    }

    /// Whether the open transaction is withheld.
    pub fn withholds(&self) -> bool {
        self.withheld
    }

    /// Keeps an event of the withheld transaction.
    pub fn keep(&mut self, raw: &[u8]) {
        self.recent.keep(raw);
    }

    /// Whether events of this type are a group's content, of no interest until the group takes effect.
    pub fn is_content(kind: EventType) -> bool {
        !matches!(
            kind,
            EventType::QUERY
                | EventType::XID
                | EventType::XA_PREPARE
                | EventType::ROTATE
                | EventType::FORMAT_DESCRIPTION
                | EventType::HEARTBEAT
                | EventType::HEARTBEAT_V2
                | EventType::GTID
                | EventType::GTID_TAGGED
                | EventType::ANONYMOUS_GTID
                | EventType::MARIADB_GTID
        )
    }

    /// The group that must be given before the event is taken. `own`: the open transaction so far.
    pub fn need(
        &mut self,
        event: &Event<'_>,
        raw: &[u8],
        own: impl FnOnce() -> Witness,
    ) -> Result<Option<GroupNeed>, Stop> {
        if self.given {
            return Ok(None);
        }
        let (witness, xid, one_phase) = match event {
            Event::XaPrepare(prepare) if prepare.one_phase => (own(), prepare.xid.to_string(), true),
            Event::Query(query) if query.kind() == QueryKind::Xa => match XaStatement::parse(&query.sql) {
                Some(XaStatement::Commit(xid)) => {
                    let xid = xid.to_string();
                    (self.find(&xid)?.witness.clone(), xid, false)
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let events = if one_phase {
            // What ends the group when it is read again ends it here too.
            self.keep(raw);
            self.withheld = false;
            self.recent.open_group()
        } else {
            self.recent.find(&xid)
        };
        if events.is_none() {
            branch::reached(Branch::XaReadAgain);
        }
        self.insertion = Some(Insertion {
            hasher: crc32fast::Hasher::new(),
            length: 0,
            expected: (witness.length, witness.crc32),
            one_phase,
            xid: xid.clone(),
        });
        Ok(Some(GroupNeed { at: place(&witness), xid, events }))
    }

    fn find(&self, xid: &str) -> Result<&PreparedXa, Stop> {
        self.prepared.iter().find(|group| group.xid == xid).ok_or_else(|| {
            Stop::new(
                Cause::XaPurged,
                format!("XA COMMIT {xid}: its PREPARE lies before the position that reading began at"),
            )
        })
    }

    /// Takes note of a group's next event. `true`: it is to be written; `false`: the group had ended before it.
    pub fn give(&mut self, header: &EventHeader, raw: &[u8]) -> Result<bool, Stop> {
        let Some(insertion) = &mut self.insertion else {
            return Err(Stop::new(Cause::Internal, "an XA group is given that none asked for"));
        };
        let ends = header.event_type == EventType::XA_PREPARE;
        if !(ends && insertion.one_phase) && header.counts() {
            insertion.length += raw.len() as u64;
            insertion.hasher.update(raw);
        }
        if ends {
            let found = (insertion.length, insertion.hasher.clone().finalize());
            if found != insertion.expected {
                return Err(Stop::new(
                    Cause::HistoryRewritten,
                    format!("the XA group {} reads differently than when it was prepared", insertion.xid),
                ));
            }
            self.given = true;
        }
        Ok(!(ends && self.insertion.take_if(|_| ends).is_some_and(|insertion| insertion.one_phase)))
    }

    /// Whether the group asked for has been given in full.
    pub fn is_given(&self) -> bool {
        self.given
    }

    /// What the event, which ends the open transaction, means.
    pub fn end(&mut self, event: &Event<'_>) -> Option<XaEnd> {
        match event {
            Event::XaPrepare(prepare) if !prepare.one_phase => {
                let xid = prepare.xid.to_string();
                self.recent.close(&xid);
                Some(XaEnd::Prepared(xid))
            }
            Event::Query(query) if query.kind() == QueryKind::Xa => match XaStatement::parse(&query.sql)? {
                XaStatement::Rollback(xid) => {
                    branch::reached(Branch::XaRolledBack);
                    let xid = xid.to_string();
                    self.recent.forget(&xid);
                    Some(XaEnd::Resolved(xid))
                }
                XaStatement::Commit(xid) => {
                    let xid = xid.to_string();
                    self.recent.forget(&xid);
                    Some(XaEnd::Resolved(xid))
                }
                XaStatement::Start(_) | XaStatement::End(_) => None,
            },
            _ => None,
        }
    }

    /// Takes in the end of a transaction that was read.
    pub fn carry(&mut self, end: &TransactionEnd) {
        carry_prepared(&mut self.prepared, end);
        self.withheld = false;
    }

    /// Groups that wait for their COMMIT or ROLLBACK.
    pub fn waiting(&self) -> usize {
        self.prepared.len()
    }

    /// Bytes of events that are kept.
    pub fn bytes(&self) -> usize {
        self.recent.bytes + self.recent.open.bytes.len()
    }
}

fn starts_group(event: &Event<'_>) -> Result<bool, Stop> {
    match event {
        Event::Query(query) if query.kind() == QueryKind::Xa => match XaStatement::parse(&query.sql) {
            Some(statement) => Ok(matches!(statement, XaStatement::Start(_))),
            None => Err(Stop::new(Cause::Undecoded, format!("an XA statement of unknown form: {}", query.sql))),
        },
        _ => Ok(false),
    }
}

/// A transaction's events, copied.
#[derive(Debug, Default)]
struct Copied {
    xid: String,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// It grew too large to be kept.
    dropped: bool,
}

impl Copied {
    fn batch(&self) -> EventBatch {
        EventBatch { bytes: self.bytes.clone().into(), ends: self.ends.clone(), checksummed: false }
    }
}

/// Recent groups' events, the oldest forgotten first.
#[derive(Debug, Default)]
struct Recent {
    limit: usize,
    groups: VecDeque<Copied>,
    bytes: usize,
    open: Copied,
}

impl Recent {
    fn open(&mut self, first: &[u8]) {
        self.open = Copied::default();
        self.keep(first);
    }

    fn keep(&mut self, raw: &[u8]) {
        let open = &mut self.open;
        if open.dropped || open.bytes.len() + raw.len() > self.limit {
            *open = Copied { dropped: true, ..Copied::default() };
            return;
        }
        open.bytes.extend_from_slice(raw);
        open.ends.push(open.bytes.len() as u32);
    }

    fn open_group(&mut self) -> Option<EventBatch> {
        (!self.open.dropped).then(|| self.open.batch())
    }

    fn close(&mut self, xid: &str) {
        let mut open = std::mem::take(&mut self.open);
        self.forget(xid);
        if open.dropped {
            return;
        }
        open.xid = xid.to_owned();
        self.bytes += open.bytes.len();
        self.groups.push_back(open);
        while self.bytes > self.limit {
            let Some(oldest) = self.groups.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }

    fn find(&self, xid: &str) -> Option<EventBatch> {
        self.groups.iter().find(|group| group.xid == xid).map(Copied::batch)
    }

    fn forget(&mut self, xid: &str) {
        self.groups.retain(|group| group.xid != xid);
        self.bytes = self.groups.iter().map(|group| group.bytes.len()).sum();
    }
}
