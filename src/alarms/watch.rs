//! The loop: looks once a second, tells changes in the log and to the webhook, and shows what holds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use towpath_engine::metrics::{Kind, Registry};

use super::AlarmConfig;
use super::catalogue::Severity;
use super::conditions::Conditions;
use super::delivery::Outbox;
use super::state::{Alarm, Alarms, Subject};
use crate::admin::board::{Board, wall_ms};
use crate::admin::exposition::{head, labels, series};

/// How often conditions are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// For how long a process that ends waits for its last notices.
const LAST_NOTICES: Duration = Duration::from_secs(5);

/// The alarms of a process, for `/readyz` and `/metrics`.
#[derive(Default)]
pub struct Firing(Mutex<Vec<Alarm>>);

/// One alarm in `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The stable name.
    pub alarm: &'static str,
    /// How soon a person is needed.
    pub severity: Severity,
    /// Of what.
    #[serde(flatten)]
    pub subject: Subject,
    /// Since when, ms since 1970.
    pub since_ms: u64,
    /// What is wrong and where.
    pub detail: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Firing {
    fn set(&self, alarms: Vec<Alarm>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = alarms;
    }

    /// What holds, for `/readyz`.
    pub fn shown(&self) -> Vec<Shown> {
        let firing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |Alarm { condition, since_ms, .. }: &Alarm| Shown {
            alarm: condition.alarm.name,
            severity: condition.alarm.severity,
            subject: condition.subject.clone(),
            since_ms: *since_ms,
            detail: condition.detail.clone(),
            remedy: condition.alarm.remedy,
        };
        firing.iter().map(shown).collect()
    }

    /// The same as a metric.
    pub fn exposition(&self) -> String {
        let mut out = String::new();
        head(&mut out, "towpath_alarm", Kind::Gauge, "1 while this alarm is told");
        for shown in self.shown() {
            let Subject { pipeline, part, sink } = &shown.subject;
            let mut of = vec![("alarm", shown.alarm), ("severity", shown.severity.name())];
            of.extend([("pipeline", pipeline.as_str()), ("part", *part), ("sink", sink.as_str())]);
            series(&mut out, "towpath_alarm", &labels(&of), 1);
        }
        out
    }
}

/// Watches over one process.
pub struct Watch {
    conditions: Conditions,
    alarms: Alarms,
    outbox: Option<Arc<Outbox>>,
    firing: Arc<Firing>,
    board: Arc<Board>,
}

impl Watch {
    /// Starts sending, if there is a webhook. `instance` names the process in notices.
    pub fn new(
        config: &AlarmConfig,
        registry: &Registry,
        board: Arc<Board>,
        firing: Arc<Firing>,
        instance: String,
    ) -> Self {
        let outbox = Outbox::new(registry);
        let outbox = config.webhook.clone().map(|webhook| {
            let sending = Arc::clone(&outbox);
            tokio::spawn(async move { sending.run(&webhook, &instance).await });
            outbox
        });
        let after_ms = u64::try_from(config.after.as_millis()).unwrap_or(u64::MAX);
        let conditions = Conditions::new(config.lag, registry.clone());
        Self { conditions, alarms: Alarms::new(after_ms), outbox, firing, board }
    }

    /// Looks for ever. Cancelling loses nothing.
    pub async fn run(&mut self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let now = wall_ms();
        let conditions = self.conditions.look(&self.board.readiness(), now);
        let changed = self.alarms.step(now, conditions);
        self.firing.set(self.alarms.firing());
        changed.iter().for_each(tell);
        if let Some(outbox) = &self.outbox {
            outbox.add(&changed);
        }
    }

    /// Looks a last time, and waits a little for the notices.
    pub async fn end(mut self) {
        self.look();
        if let Some(outbox) = &self.outbox
            && !outbox.flushed(LAST_NOTICES).await
        {
            tracing::warn!("the alarms' webhook has not taken the last notices");
        }
    }
}

fn tell(alarm: &Alarm) {
    let (definition, subject) = (&alarm.condition.alarm, &alarm.condition.subject);
    let (name, severity, detail) = (definition.name, definition.severity.name(), alarm.condition.detail.as_str());
    let Subject { pipeline, part, sink } = subject;
    match (alarm.ended_ms, definition.severity) {
        (Some(_), _) => tracing::info!(alarm = name, severity, pipeline, part, sink, "alarm resolved"),
        (None, Severity::Critical) => {
            tracing::error!(alarm = name, severity, pipeline, part, sink, detail, remedy = definition.remedy, "alarm");
        }
        (None, _) => {
            tracing::warn!(alarm = name, severity, pipeline, part, sink, detail, remedy = definition.remedy, "alarm");
        }
    }
}
