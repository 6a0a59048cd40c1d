//! Profiles: a file's text, checked, or one sentence about what cannot be.

use serde::{Deserialize, Serialize};

use super::{Curve, Level, replayed};
use crate::refusal::{Refusal, did_you_mean};
use crate::scenario::Span;

/// What the file is called in a sentence.
const WHAT: &str = "profile";

/// The clusters that queries can be sent to.
pub const CLUSTERS: [&str; 3] = ["hot", "full", "remind"];

/// Who sells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Merchants {
    /// How many; each polls. `--scale` multiplies it.
    pub count: u32,
    /// The exponent of Zipf's law by which orders and lists fall to them; 0 makes all equal.
    pub zipf: f64,
}

impl Default for Merchants {
    fn default() -> Self {
        Self { count: 500, zipf: 1.05 }
    }
}

/// Orders through their life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderTraffic {
    /// New orders a second; each is followed by its later steps.
    pub rate: Curve,
    /// Arrivals are random (a Poisson process of that rate) instead of even.
    #[serde(default)]
    pub poisson: bool,
    /// The merchant accepts (or the customer cancels) once to two and a half times this after the order came.
    #[serde(default = "accept_after")]
    pub accept_after: Span,
    /// The mean time between later steps.
    #[serde(default = "step_every")]
    pub step_every: Span,
    /// Sessions that write.
    #[serde(default = "connections")]
    pub connections: u32,
}

fn accept_after() -> Span {
    Span::from_millis(8_000)
}

fn step_every() -> Span {
    Span::from_millis(4_000)
}

fn connections() -> u32 {
    8
}

/// Polls of the merchants' devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sounds {
    /// How often each device asks.
    pub every: Span,
    /// The share of `every` by which a device strays.
    #[serde(default = "jitter")]
    pub jitter: f64,
    /// The cluster that is asked.
    pub cluster: String,
    /// The most orders that one poll returns: of a merchant whose orders come faster, the oldest ring late.
    #[serde(default = "page")]
    pub page: u32,
}

fn jitter() -> f64 {
    0.2
}

fn page() -> u32 {
    50
}

/// Order-list queries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lists {
    /// Queries a second.
    pub rate: Curve,
    /// Arrivals are random instead of even.
    #[serde(default)]
    pub poisson: bool,
    /// The cluster that is asked.
    #[serde(default = "hot")]
    pub cluster: String,
}

fn hot() -> String {
    "hot".to_owned()
}

/// The adapters are killed for a while, so that a backlog builds up. Needs a stack of one's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// When.
    pub at: Span,
    /// For how long.
    pub lasts: Span,
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The file's name without suffix.
    #[serde(skip_deserializing)]
    pub name: String,
    /// What a user learns from it: one sentence.
    pub learn: String,
    /// How long orders come and lists are asked for.
    pub length: Span,
    /// What is meant to happen before this moment is done and not counted.
    #[serde(default)]
    pub warm_up: Span,
    /// Who sells.
    #[serde(default)]
    pub merchants: Merchants,
    /// Order writes, if any.
    pub orders: Option<OrderTraffic>,
    /// Prompt-sound polls, if any.
    pub sounds: Option<Sounds>,
    /// Order lists, if any.
    pub lists: Option<Lists>,
    /// An outage, if any.
    pub outage: Option<Outage>,
    /// What must hold at the end.
    #[serde(default)]
    pub levels: Vec<Level>,
    /// What must hold all the time after the warm-up, or the run ends early.
    #[serde(default)]
    pub abort: Vec<Level>,
    /// Multiplies rates and merchants.
    #[serde(skip_deserializing, default = "one")]
    pub scale: f64,
}

fn one() -> f64 {
    1.0
}

impl Profile {
    /// How many merchants there are at this scale, at least one.
    pub fn merchants(&self) -> u32 {
        ((f64::from(self.merchants.count) * self.scale).round() as u32).max(1)
    }

    /// How long polls go on after the last write: long enough for each device to ask once more.
    pub fn tail_us(&self) -> u64 {
        self.sounds.as_ref().map_or(0, |sounds| (longest_wait_ms(sounds) * 1000.0) as u64 + 3_000_000)
    }

    /// The most that is ever asked of the generator in a second: (transactions, queries). Of an order's steps as many
    /// as there can be are counted with its arrival.
    pub fn peak(&self) -> (f64, f64) {
        let length = self.length.millis() * 1000;
        let peak = |curve: &Curve| curve.peak(length) * self.scale;
        let orders = self.orders.as_ref().map_or(0.0, |orders| peak(&orders.rate) * 6.0);
        let polls = self
            .sounds
            .as_ref()
            .map_or(0.0, |sounds| f64::from(self.merchants()) * 1000.0 / sounds.every.millis().max(1) as f64);
        (orders, polls + self.lists.as_ref().map_or(0.0, |lists| peak(&lists.rate)))
    }

    /// Squeezes or stretches the profile in time: rates stay, and what happens at a share of the length still does.
    pub fn squeeze(&mut self, seconds: u32) {
        let factor = f64::from(seconds) * 1000.0 / self.length.millis().max(1) as f64;
        let squeeze = |span: Span| Span::from_millis((span.millis() as f64 * factor).round() as u64);
        self.length = Span::from_millis(u64::from(seconds) * 1000);
        self.warm_up = squeeze(self.warm_up);
        if let Some(outage) = &mut self.outage {
            *outage = Outage { at: squeeze(outage.at), lasts: squeeze(outage.lasts) };
        }
        let curves = self.orders.as_mut().map(|orders| &mut orders.rate);
        for curve in curves.into_iter().chain(self.lists.as_mut().map(|lists| &mut lists.rate)) {
            match curve {
                Curve::Stages { stages, .. } => stages.iter_mut().for_each(|stage| stage.over = squeeze(stage.over)),
                Curve::Spike { at, lasts, .. } => (*at, *lasts) = (squeeze(*at), squeeze(*lasts)),
                Curve::Sine { period, .. } => *period = squeeze(*period).max(Span::from_millis(1)),
                Curve::Replay { rates, .. } => {
                    let read = |second: u32| rates.get((f64::from(second) / factor) as usize).or(rates.last()).copied();
                    *rates = (0..seconds).filter_map(read).collect();
                }
                Curve::Constant { .. } | Curve::Ramp { .. } => {}
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.learn.trim().is_empty() {
            return Err("`learn` must say what a user learns from it".into());
        }
        if self.length == Span::ZERO || self.warm_up >= self.length {
            return Err("`length` must be positive, and longer than `warm_up`".into());
        }
        if self.orders.is_none() && self.sounds.is_none() && self.lists.is_none() {
            return Err("it does nothing: it needs `[orders]`, `[sounds]` or `[lists]`".into());
        }
        if self.merchants.count == 0 || !(0.0..=10.0).contains(&self.merchants.zipf) {
            return Err("`merchants` needs a `count` of at least 1 and a `zipf` of 0 to 10".into());
        }
        let curves = [
            ("orders", self.orders.as_ref().map(|orders| &orders.rate)),
            ("lists", self.lists.as_ref().map(|lists| &lists.rate)),
        ];
        for (name, curve) in curves {
            if let Some(fault) = curve.and_then(Curve::fault) {
                return Err(format!("`{name}.rate`: {fault}"));
            }
        }
        let clusters = [self.sounds.as_ref().map(|part| &part.cluster), self.lists.as_ref().map(|part| &part.cluster)];
        for cluster in clusters.into_iter().flatten() {
            if !CLUSTERS.contains(&cluster.as_str()) {
                return Err(format!("unknown cluster `{cluster}`; {}", did_you_mean(cluster, &CLUSTERS)));
            }
        }
        if self.orders.as_ref().is_some_and(|orders| orders.connections == 0) {
            return Err("`orders.connections` must be at least 1".into());
        }
        if let Some(sounds) = &self.sounds {
            if sounds.every == Span::ZERO || !(0.0..=1.0).contains(&sounds.jitter) {
                return Err("`sounds` needs a positive `every` and a `jitter` of 0 to 1".into());
            }
            // Elasticsearch refuses more by default (`index.max_result_window`).
            if !(1..=10_000).contains(&sounds.page) {
                return Err("`sounds.page` must be 1 to 10000".into());
            }
            let accept = self.orders.as_ref().map(|orders| orders.accept_after.millis() as f64);
            if accept.is_some_and(|accept| accept < longest_wait_ms(sounds)) {
                return Err("`orders.accept_after` is shorter than a device waits between two polls: orders would be \
                            accepted that nobody has heard of"
                    .into());
            }
        }
        if let Some(outage) = &self.outage
            && (self.orders.is_none() || outage.at.millis() + outage.lasts.millis() >= self.length.millis())
        {
            return Err("`outage` needs `[orders]`, and must end before the run".into());
        }
        self.levels.iter().chain(&self.abort).try_for_each(|level| self.measurable(level))
    }

    /// A level on what this profile never does could not fail, and so would say nothing.
    fn measurable(&self, level: &Level) -> Result<(), String> {
        let (orders, sounds, lists) = (self.orders.is_some(), self.sounds.is_some(), self.lists.is_some());
        let (measured, part) = match level.figure.as_str() {
            "sound_delay" | "acknowledge_latency" => (orders && sounds, "[orders] and [sounds]"),
            "write_latency" | "write_service" | "backlog_growth" => (orders, "[orders]"),
            "poll_latency" | "poll_service" => (sounds, "[sounds]"),
            "list_latency" | "list_service" => (lists, "[lists]"),
            "query_latency" | "query_service" => (sounds || lists, "[sounds] or [lists]"),
            figure => (orders || !figure.starts_with("freshness"), "[orders]"),
        };
        if measured { Ok(()) } else { Err(format!("level `{level}` cannot be measured: it needs `{part}`")) }
    }
}

/// The longest time between two polls of one device.
fn longest_wait_ms(sounds: &Sounds) -> f64 {
    sounds.every.millis() as f64 * (1.0 + sounds.jitter / 2.0)
}

/// Reads a profile and checks it; `read` gives the text of a file that it names.
///
/// # Errors
/// An unknown key, a level that nothing in the profile measures, a curve with a gap, parts that contradict each other.
pub fn parse(name: &str, text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<Profile, Refusal> {
    let fail = |message| Refusal::of(WHAT, name, message);
    let mut profile: Profile = toml::from_str(text).map_err(|error| Refusal::of_toml(WHAT, name, text, &error))?;
    name.clone_into(&mut profile.name);
    let curves = profile.orders.as_mut().map(|orders| &mut orders.rate);
    for curve in curves.into_iter().chain(profile.lists.as_mut().map(|lists| &mut lists.rate)) {
        if let Curve::Replay { file, rates } = curve {
            let text = read(file).map_err(|why| fail(format!("curve `{file}` cannot be read: {why}")))?;
            *rates = replayed(&text).map_err(|why| fail(format!("curve `{file}`, {why}")))?;
        }
    }
    profile.check().map_err(|message| fail(message))?;
    Ok(profile)
}
