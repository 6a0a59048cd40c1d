//! Taking over, in the order of protocol §3: won → fence the log → write the state (guarded) → read the log's tail →
//! decide the epoch → write the state → produce.
//!
//! Must not stream.

use std::sync::Arc;
use tokio::time::Instant;

use super::course::{Course, Failure, Halt, SessionWatch};
use super::encode::Highest;
use super::epoch::{self, Plan, Rise};
use super::fallback::{Fallback, Wishes, in_order};
use super::leader::{Carried, Leader, announce, describe, open};
use super::rise::{commit_times, placed};
use super::schema_history::Boundary;
use super::schemas::{Keeper, read_definitions};
use super::store::Store;
use super::tail::{self, LogTail, TailMark};
use super::verify::Servers;
use super::xa::prepared_at;
use super::{Fencing, Role, Start, election, history, meta, schema_history, settings};
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::format::ControlKind;
use crate::ports::coordinator::{Candidate, Coordinator};
use crate::ports::log::{LogProducer, TopicInfo};
use crate::ports::source::{SchemaSnapshot, ServerIdentity};
use crate::position::Position;
use crate::schema::catalog::Catalog;
use crate::state::{
    Anchor, Checkpoint, EpochHistory, EpochRecord, LeaderMark, PipelineState, Ring, RingEntry, SCHEME, SchemaState,
    Witness,
};

/// What is gathered on the way.
struct Takeover {
    course: Course,
    session: SessionWatch,
    store: Store,
    state: Option<PipelineState>,
    term: i64,
    /// Definitions, once they are known.
    schemas: Option<Keeper>,
    fallback: Fallback,
}

/// Runs a step until it succeeds or there is no point in going on.
macro_rules! repeat {
    ($takeover:expr, $concern:literal, $attempt:expr) => {{
        let mut attempts = $takeover.course.attempts($concern);
        loop {
            $takeover.session.until_live().await?;
            match $attempt.await {
                Ok(value) => {
                    attempts.succeeded();
                    break value;
                }
                Err(error) => attempts.again(Failure::from(error), Some(&mut $takeover.session)).await?,
            }
        }
    }};
}

// After the macro, which it uses.
mod without_log;

/// Leads: returns when the candidacy ends.
pub async fn lead(
    course: Course,
    mut session: SessionWatch,
    coordinator: Arc<dyn Coordinator>,
    candidate: Candidate,
) -> Halt {
    course.status.update(|status| status.role = Role::TakingOver);
    course.meters.takeovers.add(1);
    let mut attempts = course.attempts("state");
    let store = loop {
        match Store::open(Arc::clone(&coordinator), Some(candidate.clone())).await {
            Ok(store) => break store,
            Err(error) => {
                if let Err(halt) = attempts.again(error.into(), Some(&mut session)).await {
                    return halt;
                }
            }
        }
    };
    attempts.succeeded();
    let state = match store.state() {
        Ok(state) => state,
        Err(stop) => return Halt::Stop(stop),
    };
    let term = election::term(state.as_ref().map_or(0, |state| state.term_base), &candidate);
    let wishes = course.direct.is_some().then(|| Wishes::new(coordinator));
    let fallback = Fallback::new(&course, wishes);
    let takeover = Takeover { course, session, store, state, term, schemas: None, fallback };
    match Box::pin(takeover.run(candidate.czxid)).await {
        Ok((leader, producer)) => Box::pin(leader.stream(producer)).await,
        Err(halt) => halt,
    }
}

impl Takeover {
    async fn run(mut self, czxid: i64) -> Result<(Leader, Box<dyn LogProducer>), Halt> {
        let config = Arc::clone(&self.course.config);
        tracing::info!(pipeline = config.pipeline, term = self.term, "taking over");
        let mut attempts = self.course.attempts("fence");
        let producer = loop {
            // Asked again after each failure: Kafka may have gone away just now, and documents do not wait for it.
            let topic;
            (self, topic) = Box::pin(self.topic()).await?;
            if topic.partitions() < config.partitions {
                let (found, wanted) = (topic.partitions(), config.partitions);
                let detail = format!("topic {} has {found} partitions, configured are {wanted}", config.topic);
                return Err(Halt::Stop(Stop::new(Cause::TopicUnfit, detail)));
            }
            match self.fence(topic.partitions()).await {
                Ok(producer) => break producer,
                Err(failure) => attempts.again(failure, Some(&mut self.session)).await?,
            }
        };
        attempts.succeeded();
        let (topic, tail) = repeat!(self, "tail", self.tail());
        let asked = self.state.as_ref().is_none_or(|state| state.order.is_some());
        let meta_epoch =
            if asked { repeat!(self, "meta", meta::highest(&self.course.ports.indexes, &config.pipeline)) } else { 0 };
        let plan = epoch::plan(self.state.as_ref(), &tail, meta_epoch, &topic, &config)?;
        // A leader that died between writing the epoch and making it known leaves it at offset 0.
        let fresh = self.state.as_ref().is_some_and(|state| state.checkpoint.offset == 0);
        let began = fresh || !matches!(plan, Plan::Resume);
        let (state, term) = match plan {
            Plan::Resume => {
                let mut state =
                    self.state.take().ok_or_else(|| Stop::new(Cause::Internal, "no state to resume from"))?;
                if state.topic_id.is_empty() {
                    state.topic_id.clone_from(&topic.id);
                }
                self.schemas = repeat!(self, "schemas", Keeper::resume(&self.course, self.term, &mut state));
                (state, self.term)
            }
            Plan::First(start) => (self.first(&start, &topic).await?, self.term),
            Plan::Rise(rise) => {
                let term = rise.term_base.saturating_add(czxid);
                (self.rise(rise, &topic).await?, term)
            }
        };
        self.term = term;
        let mut state = state;
        if !state.fallback.is_empty() {
            repeat!(self, "journals", self.fallback.seal(&self.course, &mut state, term));
        }
        let mut leader = self.leader(state, topic, &tail);
        leader.save("decided").await?;
        leader.show();
        leader.announced = if began { 0 } else { leader.state.epoch.number };
        Ok((leader, producer))
    }

    /// Fences the log: by the producer's epoch, or by a record in every partition. Then the guarded write, if there is
    /// a
    /// state yet (a first start's creation of it is as good: nothing is produced before).
    async fn fence(&mut self, partitions: u32) -> Result<Box<dyn LogProducer>, Failure> {
        let mut producer = open(&self.course).await?;
        if self.course.config.fencing == Fencing::Versions {
            let epoch = self.state.as_ref().map_or(0, |state| state.epoch.number);
            let about = (epoch, self.term, "");
            announce(&self.course, producer.as_mut(), partitions, &ControlKind::Fence, about).await?;
        }
        if let Some(state) = &mut self.state {
            let instance = self.course.config.instance.clone();
            let same = state.leader.term == self.term && state.leader.instance == instance;
            let producers = if same { state.leader.producers + 1 } else { 1 };
            state.leader = LeaderMark { term: self.term, instance, since_ms: self.course.env.wall_ms(), producers };
            self.store.write(state).await?;
        }
        Ok(producer)
    }

    /// Reads what predecessors left in the log.
    async fn tail(&self) -> Result<(TopicInfo, LogTail), Failure> {
        let (log, config) = (self.course.ports.log.as_ref(), &self.course.config);
        let topic = log.topic(&config.topic).await?;
        let mut tail = tail::read_newest(log, &config.topic, &config.pipeline, &topic).await?;
        if let Some(state) = self.state.as_ref().filter(|state| topic.may_be(&state.topic_id) && state.epoch.number > 0)
        {
            let from = &state.checkpoint.tail_from;
            let whole = tail::read_from(log, &config.topic, &config.pipeline, &topic, from).await?;
            tail.merge(whole);
        }
        Ok((topic, tail))
    }

    /// Who the source is, and whether it is fit; the captured tables as they are.
    async fn survey(&mut self) -> Result<(ServerIdentity, SchemaSnapshot), Halt> {
        let config = Arc::clone(&self.course.config);
        let server = repeat!(self, "identify", self.course.ports.source.identify());
        if let Some(stop) = settings::findings(&server, &config).into_iter().next() {
            return Err(Halt::Stop(stop));
        }
        let named = server.row_metadata == "FULL";
        let source = Arc::clone(&self.course.ports.source);
        let tables = repeat!(self, "tables", read_definitions(source.as_ref(), &config, named));
        let captured = tables.tables.iter().filter(|table| config.tables.accepts(&table.database, &table.table));
        let captured: Vec<_> = captured.cloned().collect();
        if let Some(stop) = settings::table_findings(&captured, &config).into_iter().next() {
            return Err(Halt::Stop(stop));
        }
        Ok((server, tables))
    }

    async fn first(&mut self, start: &Start, topic: &TopicInfo) -> Result<PipelineState, Halt> {
        let (server, tables) = self.survey().await?;
        let ends: Vec<i64> = topic.watermarks.iter().map(|&(_, end)| end).collect();
        let reason = format!("first start at {start}");
        let (epoch, schemas) = self.anchored((1, reason), start, (&server, tables), None).await?;
        let config = &self.course.config;
        let mut state = PipelineState {
            pipeline: config.pipeline.clone(),
            leader: self.mark(),
            term_base: 0,
            topic: config.topic.clone(),
            topic_id: topic.id.clone(),
            partitions: config.partitions,
            checkpoint: checkpoint_at(&epoch.anchor, ends.clone(), ends),
            epoch,
            ring: Ring::default(),
            pending: Vec::new(),
            prepared: Vec::new(),
            fallback: Vec::new(),
            schemas,
            order: None,
            audit: Vec::new(),
        };
        if let Some(entry) = self.anchor_entry(&state, &server).await? {
            state.ring.add(entry);
        }
        let at = describe(&state.checkpoint.resume, state.epoch.anchor.file.as_ref());
        state.note(self.course.env.wall_ms(), format!("epoch 1 begins at {at}: {}", state.epoch.reason));
        Ok(state)
    }

    /// The anchor as the first point of the ring: until there is a checkpoint, a server is recognised by it.
    async fn anchor_entry(
        &mut self,
        state: &PipelineState,
        server: &ServerIdentity,
    ) -> Result<Option<RingEntry>, Halt> {
        let Position::Gtid(set) = &state.checkpoint.resume else { return Ok(None) };
        let none =
            Witness { file: String::new(), start: 0, gtid: String::new(), length: 0, crc32: 0, original_commit_us: 0 };
        let witness = match history::newest(set, server) {
            None => none,
            Some(gtid) => {
                let (source, config) = (Arc::clone(&self.course.ports.source), Arc::clone(&self.course.config));
                let wanted = std::iter::once(gtid).collect();
                let times = repeat!(self, "anchor", commit_times(source.as_ref(), &config, server, &wanted));
                let original_commit_us = times.get(&gtid).copied().unwrap_or(0);
                Witness { gtid: gtid.to_string(), original_commit_us, ..none }
            }
        };
        Ok(Some(RingEntry {
            epoch: state.epoch.number,
            resume: state.checkpoint.resume.clone(),
            offset: 0,
            witness,
            low_water: state.checkpoint.low_water.clone(),
            prepared: state.prepared.clone(),
            at_ms: self.course.env.wall_ms(),
        }))
    }

    /// A new epoch with its repair put on the pending list in the same write.
    async fn rise(&mut self, rise: Rise, topic: &TopicInfo) -> Result<PipelineState, Halt> {
        let (server, tables) = self.survey().await?;
        let now_ms = self.course.env.wall_ms();
        let mut state = self.state.take().ok_or_else(|| Stop::new(Cause::Internal, "no state to rise from"))?;
        let ends: Vec<i64> = topic.watermarks.iter().map(|&(_, end)| end).collect();
        let repair = epoch::repair_of(&rise, &state, now_ms);
        let start = match &rise.to {
            Some(start) => start.clone(),
            None => restored_start(&state, &server)?,
        };
        // Those of a kept point, else of a restored state's own checkpoint if the server has all of it.
        let own = || {
            let whole = match &state.checkpoint.resume {
                Position::Gtid(set) => set.is_subset(&server.gtid_executed),
                Position::File(_) | Position::MariaDb(_) => true,
            };
            let schemas = state.schemas.as_ref().filter(|_| rise.to.is_none() && whole)?;
            let (epoch, offset) = (state.epoch.number, state.checkpoint.offset);
            Some(EpochHistory { epoch, offset, history: schemas.history.clone() })
        };
        let definitions = state.order.as_ref().and_then(|order| order.definitions.clone()).or_else(own);
        let reason = rise.reason.clone();
        let (epoch, schemas) = self.anchored((rise.number, reason), &start, (&server, tables), definitions).await?;
        let low_water =
            if repair.low_water.len() == ends.len() { repair.low_water.clone() } else { vec![0; ends.len()] };
        let groups = prepared_at(&state, &state.prepared, &epoch.anchor.resume);
        state.checkpoint = checkpoint_at(&epoch.anchor, ends, low_water);
        let (source, config) = (Arc::clone(&self.course.ports.source), Arc::clone(&self.course.config));
        state.prepared = repeat!(self, "groups", placed(source.as_ref(), &config, &server, &groups));
        state.epoch = epoch;
        state.schemas = schemas.map(|new| match state.schemas.take() {
            // What is held stays held, and what was decided by hand holds wherever its transaction comes again.
            Some(old) => SchemaState { quarantine: old.quarantine, orders: old.orders, ..new },
            None => new,
        });
        state.term_base = rise.term_base;
        state.topic = self.course.config.topic.clone();
        state.topic_id = topic.id.clone();
        state.partitions = self.course.config.partitions;
        // Of one that was cut short all is read again.
        state.pending.iter_mut().filter(|earlier| earlier.seen.is_none()).for_each(|earlier| earlier.seen_at_ms = 0);
        state.pending.push(repair);
        state.order = None;
        let at = describe(&state.checkpoint.resume, None);
        state.note(now_ms, format!("epoch {} begins at {at}: {}", rise.number, rise.reason));
        Ok(state)
    }

    fn mark(&self) -> LeaderMark {
        let instance = self.course.config.instance.clone();
        LeaderMark { term: self.term, instance, since_ms: self.course.env.wall_ms(), producers: 1 }
    }

    /// The epoch's record, and the table definitions to keep where the binlog does not name columns.
    async fn anchored(
        &mut self,
        (number, reason): (u16, String),
        start: &Start,
        (server, tables): (&ServerIdentity, SchemaSnapshot),
        definitions: Option<EpochHistory>,
    ) -> Result<(EpochRecord, Option<SchemaState>), Halt> {
        let named = server.row_metadata == "FULL";
        let (resume, file) = match start {
            // The definitions hold from here on, so the epoch begins here.
            Start::Now if !named => (tables.after.clone(), None),
            start => epoch::anchor(start, server)?,
        };
        let mut schemas = None;
        if !named {
            let (catalog, boundary) = match definitions {
                Some(kept) => {
                    repeat!(self, "schemas", schema_history::load(&self.course, &kept, kept.offset))
                }
                None => begin_catalog(&resume, &tables),
            };
            let about = (self.term, number);
            let keeper =
                repeat!(self, "schemas", Keeper::begin(&self.course, about, catalog.clone(), boundary.clone()));
            schemas = Some(keeper.state());
            self.schemas = Some(keeper);
        }
        let epoch = EpochRecord {
            number,
            scheme: SCHEME,
            server: server.server_uuid.clone(),
            anchor: Anchor { resume, file },
            reason,
            began_ms: self.course.env.wall_ms(),
            in_order_from: None,
        };
        Ok((epoch, schemas))
    }

    fn leader(self, mut state: PipelineState, topic: TopicInfo, tail: &LogTail) -> Leader {
        if state.leader.term != self.term {
            state.leader = self.mark();
        }
        let mut mark = TailMark::new(state.checkpoint.tail_from.clone());
        let highest = tail.highest.as_ref().filter(|_| tail.epoch == state.epoch.number);
        if let Some(highest) = highest {
            if highest.offset > state.checkpoint.offset {
                branch::reached(Branch::TailAhead);
            }
            mark.hold(highest.offset, tail.ends.clone());
        }
        let highest = highest.map(|emitted| Highest {
            offset: emitted.offset,
            witness: emitted.text.as_str().into(),
            gtid: emitted.gtid.clone(),
        });
        let (highest, apart) = in_order(highest, self.fallback.shown(state.epoch.number));
        let carried = Carried {
            resume: state.checkpoint.resume.clone(),
            offset: state.checkpoint.offset + if canary::on(Canary::OffsetsShift) { 16 } else { 0 },
            last: None,
            prepared: state.prepared.clone(),
        };
        Leader {
            course: self.course,
            session: self.session,
            store: Some(self.store),
            state,
            term: self.term,
            topic,
            carried,
            schemas: self.schemas,
            tail: mark,
            highest,
            apart,
            unsaved: false,
            saved_at: Instant::now(),
            moved_at: Instant::now(),
            announced: 0,
            servers: Servers::default(),
            fallback: self.fallback,
        }
    }
}

impl Leader {
    /// Makes the epoch known where it must be known before anything is written under it: in every index, in the log.
    pub async fn begin_epoch(&mut self, producer: &mut dyn LogProducer) -> Result<(), Halt> {
        let (pipeline, number) = (self.course.config.pipeline.clone(), self.state.epoch.number);
        // A record of a producer that was given up may arrive after the repair of what it tells, and no fence of the
        // same term stops it: the next term's does.
        let fenced_by_term = self.course.config.fencing == Fencing::Versions && !self.fallback.is_direct();
        if fenced_by_term && self.state.leader.producers > 1 {
            return Err(Halt::Lost(format!("epoch {number} begins under a term of its own")));
        }
        repeat!(self, "meta", meta::raise(&self.course.ports.indexes, &pipeline, number));
        let about = (number, self.term, self.state.epoch.server.as_str());
        let partitions = self.topic.partitions();
        // The fence before was written under the term that the old base gave; a rise may have raised the base.
        let kinds: &[ControlKind] = match self.course.config.fencing {
            Fencing::Transactions => &[ControlKind::Epoch],
            Fencing::Versions => &[ControlKind::Fence, ControlKind::Epoch],
        };
        for kind in kinds {
            // After a failure the producer is beyond use: give the lead up, and take it again with a new one.
            announce(&self.course, producer, partitions, kind, about).await.map_err(|error| {
                match Failure::from(error) {
                    Failure::Halt(halt) => halt,
                    Failure::Retry(stop) => Halt::Lost(stop.to_string()),
                }
            })?;
        }
        self.announced = number;
        Ok(())
    }
}

/// The definitions at an epoch's beginning: those that were read, or (before they hold) nothing but what statements
/// will tell.
fn begin_catalog(resume: &Position, read: &SchemaSnapshot) -> (Catalog, Option<Boundary>) {
    if *resume == read.after {
        return (Catalog::at(read.book(), read.fold_names), None);
    }
    let from_nothing = matches!(resume, Position::Gtid(set) if set.is_empty());
    let boundary = (read.after.clone(), read.end.clone());
    (Catalog::before(read.book(), read.fold_names, from_nothing), Some(boundary))
}

/// Where a restored state goes on: at its checkpoint, less what this server does not have.
fn restored_start(state: &PipelineState, server: &ServerIdentity) -> Result<Start, Stop> {
    match &state.checkpoint.resume {
        Position::Gtid(set) => Ok(Start::Gtid(set.intersect(&server.gtid_executed))),
        Position::File(at) if state.epoch.server == server.server_uuid => Ok(Start::File(at.clone())),
        Position::File(at) => {
            Err(Stop::new(Cause::NoGtid, format!("{at} lies on {}, not on {}", state.epoch.server, server.server_uuid)))
        }
        Position::MariaDb(list) => {
            Err(Stop::new(Cause::Config, format!("an epoch cannot begin at MariaDB's {list} yet: set FILE:POSITION")))
        }
    }
}

/// The checkpoint at an epoch's anchor.
pub fn checkpoint_at(anchor: &Anchor, tail_from: Vec<i64>, low_water: Vec<i64>) -> Checkpoint {
    Checkpoint {
        resume: anchor.resume.clone(),
        offset: 0,
        file: None,
        event_ms: 0,
        witness: None,
        tail_from,
        low_water,
    }
}
