//! What the oracles are shown: of each source what it has in the log and in the state, of all together what the index
//! accepted and what searches show.
//!
//! Looks at the models directly, past the network: an observer is not part of what it observes. Must not judge.

mod source;

pub use source::OfSource;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value as Json;
use towpath_engine::ports::index::SearchIndex;
use towpath_engine::version::Version;
use towpath_scenarios::load::Poll;
use towpath_scenarios::oracle::Violation;
use towpath_scenarios::oracle::documents::{Document, SINKS, Verdict};
use towpath_scenarios::oracle::freshness;
use towpath_scenarios::oracle::history::{Accepted, History};
use towpath_scenarios::oracle::search::Searches;
use towpath_scenarios::oracle::sound::Sound;
use towpath_scenarios::scenario::{Deletes, Scenario, sinks};
use towpath_scenarios::workload::{ARCHIVE, DATABASE, Row};

use crate::world::{ARCHIVED_IN, World};

/// What a search of a sink shows: id and source.
type Page = (&'static str, Vec<(String, bytes::Bytes)>);
/// Documents of all aliases, as searches show them.
type Shown = Arc<Mutex<Option<Vec<Page>>>>;

/// All oracles with what they have seen.
pub struct Observer {
    /// In the order of the pipelines.
    sources: Vec<OfSource>,
    operations: usize,
    history: History,
    searches: Searches,
    /// What people's lists have shown. Judged apart: they are seen at once, searches at the next look.
    lists: Searches,
    /// When the last search was asked for.
    searched: Duration,
    soft: bool,
    shown: Shown,
    sound: Sound,
    /// What people or devices saw that they must not see.
    seen: Option<Violation>,
}

impl Observer {
    /// For a run of this scenario.
    pub fn new(scenario: &Scenario, world: &World) -> Self {
        let (topology, expect) = (&scenario.topology, &scenario.expect);
        Self {
            sources: world.pipelines.iter().map(|pipeline| OfSource::new(pipeline, topology, expect)).collect(),
            operations: 0,
            history: History::default(),
            searches: Searches::default(),
            lists: Searches::default(),
            searched: Duration::ZERO,
            soft: topology.deletes == Deletes::Soft,
            shown: Shown::default(),
            sound: Sound::new(expect.sound_within.map(|within| within.duration())),
            seen: None,
        }
    }

    /// What is known of the source of the pipeline at this place.
    pub fn of(&mut self, place: usize) -> &mut OfSource {
        &mut self.sources[place]
    }

    /// Adds up over all sources.
    pub fn sum(&self, of: impl Fn(&OfSource) -> usize) -> usize {
        self.sources.iter().map(of).sum()
    }

    /// Faults end: documents may take their time from now on.
    pub fn calm(&mut self) {
        self.sources.iter_mut().for_each(OfSource::calm);
        self.sound.calm();
    }

    /// An order came whose sound must play.
    pub fn rings(&mut self, order: i64, now: Duration) {
        self.sound.rings(order, now);
    }

    /// It must not play any more.
    pub fn is_silent(&mut self, order: i64) {
        self.sound.is_silent(order);
    }

    /// A device's poll was answered. Gives the orders that it hears for the first time.
    pub fn polled(&mut self, poll: Poll<Duration>, orders: &[i64]) -> Vec<i64> {
        self.sound.polled(poll, orders).unwrap_or_else(|violation| {
            self.seen.get_or_insert(violation);
            Vec::new()
        })
    }

    /// A list was shown.
    pub fn listed(&mut self, alias: &str, documents: &[(String, bytes::Bytes)]) {
        if self.are_judged()
            && let Err(violation) = show(&mut self.lists, alias, documents)
        {
            self.seen.get_or_insert(violation);
        }
    }

    /// Orders that devices have heard.
    pub fn sounds(&self) -> usize {
        self.sound.heard()
    }

    /// After a step, before faults begin: sources whose histories are others now.
    pub fn look_back(&mut self) {
        self.sources.iter_mut().for_each(OfSource::look_back);
    }

    /// After a step: the states, and the log where a state says something new about it.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub fn step(&mut self, world: &World) -> Result<(), Violation> {
        if let Some(violation) = self.seen.take() {
            return Err(violation);
        }
        self.sources.iter_mut().try_for_each(|source| source.step(world))
    }

    /// From time to time: the log, what the index accepted, and what searches show.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub fn look(&mut self, world: &World) -> Result<(), Violation> {
        self.sources.iter_mut().try_for_each(|source| source.log(world))?;
        if self.soft {
            self.index(world)?;
        }
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.are_fresh(shown.as_deref())?;
        self.sound.at(self.searched)?;
        if self.are_judged() {
            shown.iter().flatten().try_for_each(|(alias, documents)| show(&mut self.searches, alias, documents))?;
        }
        Ok(())
    }

    /// Whether searches must not show older orders than before.
    fn are_judged(&self) -> bool {
        self.soft && !self.sources.iter().any(OfSource::has_turned_back)
    }

    /// Judges what the last search has shown of the orders.
    fn are_fresh(&mut self, shown: Option<&[Page]>) -> Result<(), Violation> {
        let Some((_, orders)) = shown.and_then(|shown| shown.iter().find(|(sink, _)| *sink == freshness::SINK)) else {
            return Ok(());
        };
        let updated = |(id, source): &(String, bytes::Bytes)| {
            let source: Json = serde_json::from_slice(source).ok()?;
            Some((id.clone(), source["updated_at"].as_str()?.to_owned()))
        };
        let orders = orders.iter().filter_map(updated).collect();
        self.sources.iter_mut().try_for_each(|source| source.is_fresh(&orders, self.searched))
    }

    /// Asks for a search of every sink, on the services' clock; [`Observer::look`] finds it after the next step.
    pub fn search(&mut self, world: &World, now: Duration) {
        self.searched = now;
        let (cluster, shown) = (world.elasticsearch.clone(), Arc::clone(&self.shown));
        world.at_services(move || {
            let all = serde_json::json!({ "match_all": {} });
            let found = sinks().filter_map(|sink| {
                let page = cluster.scan(sink, &all, None, 100_000).now_or_never()?.ok()?;
                Some((sink, page))
            });
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.collect());
        });
    }

    fn index(&mut self, world: &World) -> Result<(), Violation> {
        for operation in world.elasticsearch.history_since(self.operations) {
            self.operations += 1;
            let source = operation.source.map(|source| String::from_utf8_lossy(&source).into_owned());
            let source = source.filter(|source| !source.contains("_towpath_deleted"));
            let (index, id, version) = (operation.index, operation.id, operation.version);
            let sources = &self.sources;
            self.history.accepted(Accepted { index, id, version, source }, |version| is_streamed(sources, version))?;
        }
        Ok(())
    }

    /// Says where everything stands, for a picture of the run.
    pub fn sample(&self, world: &World) {
        self.sources.iter().for_each(|source| source.sample(world));
    }

    /// Whether nothing is under way at any source.
    pub fn is_quiet(&self, world: &World) -> bool {
        self.sources.iter().all(|source| source.is_quiet(world))
    }

    /// At rest: everything is in the log, and documents equal rows.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
        self.look(world)?;
        self.sources.iter_mut().try_for_each(|source| source.at_rest(world))?;
        self.history.at_rest(|version| is_streamed(&self.sources, version))?;
        let rows = |database: &str| -> Result<BTreeMap<i64, Row>, Violation> {
            let mut rows = BTreeMap::new();
            for source in &self.sources {
                rows.extend(source.orders(database)?);
            }
            Ok(rows)
        };
        let (hot, mut all) = (rows(DATABASE)?, rows(ARCHIVE)?);
        // A row in both is on its way, and the archive's counts.
        for (key, row) in &hot {
            all.entry(*key).or_insert_with(|| row.clone());
        }
        let documents: BTreeMap<&str, Vec<Document>> = shown
            .iter()
            .map(|(alias, page)| {
                let document = |(id, source): &(String, bytes::Bytes)| {
                    Some(Document { id: id.clone(), source: serde_json::from_slice(source).ok()? })
                };
                (*alias, page.iter().filter_map(document).collect())
            })
            .collect();
        let mut verdict = Verdict { rows: all.len() as u64, ..Verdict::default() };
        for sink in SINKS {
            let rows = if sink.name == ARCHIVED_IN { &all } else { &hot };
            verdict.add_sink(sink, rows, documents.get(sink.name).map_or(&[], Vec::as_slice));
        }
        if verdict.good() { Ok(()) } else { Err(Violation::new("documents", format!("{verdict:?}"))) }
    }
}

fn show(searches: &mut Searches, alias: &str, documents: &[(String, bytes::Bytes)]) -> Result<(), Violation> {
    for (id, source) in documents {
        if let Ok(source) = serde_json::from_slice::<Json>(source) {
            searches.shows(alias, id, &source)?;
        }
    }
    Ok(())
}

/// Whether the log of the version's source has a streamed row of it. A source of both ranks is alone.
fn is_streamed(sources: &[OfSource], version: u64) -> bool {
    let version = i64::try_from(version).ok().and_then(Version::from_number);
    let of = |version: Version| sources.get(usize::from(version.rank())).or(sources.last());
    version.is_some_and(|version| of(version).is_some_and(|source| source.has_streamed(version)))
}
