//! Sends notices to the webhook, again until they are taken. Holds of each alarm only the newest state, so that a
//! webhook that is down for a day costs no memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use towpath_connectors::Webhook;
use towpath_engine::metrics::{Metric, Registry};

use super::notice;
use super::state::{Alarm, Key};

/// The first pause after a failure; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// What waits to be sent.
pub struct Outbox {
    waiting: Mutex<BTreeMap<Key, Alarm>>,
    more: Notify,
    empty: Notify,
    sent: Metric,
    failures: Metric,
    pending: Metric,
}

impl Outbox {
    /// An empty one, with its metrics.
    pub fn new(registry: &Registry) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            more: Notify::new(),
            empty: Notify::new(),
            sent: registry.counter("towpath_alarm_notices_total", "Notices that the webhook has taken", &[]),
            failures: registry.counter("towpath_alarm_notice_failures_total", "Notices that failed, each try", &[]),
            pending: registry.gauge(
                "towpath_alarm_notices_pending",
                "Alarms that the webhook is still to hear of",
                &[],
            ),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Alarm>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds alarms; a newer state of one takes the older's place.
    pub fn add(&self, alarms: &[Alarm]) {
        if alarms.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        for alarm in alarms {
            waiting.insert(alarm.condition.key(), alarm.clone());
        }
        self.pending.set(waiting.len() as i64);
        drop(waiting);
        self.more.notify_one();
    }

    /// Takes away what was sent, unless it has changed meanwhile.
    fn taken(&self, batch: &[Alarm]) {
        let mut waiting = self.lock();
        for alarm in batch {
            let key = alarm.condition.key();
            if waiting.get(&key) == Some(alarm) {
                waiting.remove(&key);
            }
        }
        self.pending.set(waiting.len() as i64);
        if waiting.is_empty() {
            self.empty.notify_waiters();
        }
    }

    /// Waits until everything is taken, at most `within`; whether it is.
    pub async fn flushed(&self, within: Duration) -> bool {
        let empty = async {
            loop {
                let notified = self.empty.notified();
                if self.lock().is_empty() {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(within, empty).await.is_ok()
    }

    /// Sends for ever.
    pub async fn run(&self, webhook: &Webhook, instance: &str) {
        let mut pause = FIRST;
        loop {
            let batch: Vec<Alarm> = self.lock().values().cloned().collect();
            if batch.is_empty() {
                self.more.notified().await;
                continue;
            }
            match webhook.post(&notice::body(&batch, instance)).await {
                Ok(()) => {
                    self.sent.add(1);
                    self.taken(&batch);
                    if pause > FIRST {
                        tracing::info!("the alarms' webhook takes notices again");
                    }
                    pause = FIRST;
                }
                Err(why) => {
                    self.failures.add(1);
                    if pause == FIRST {
                        let waiting = batch.len();
                        tracing::warn!(
                            why,
                            waiting,
                            "the alarms' webhook does not take notices; sent again until it does"
                        );
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::catalogue::LAGGING;
    use crate::alarms::state::{Condition, Subject};
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;
    use serde_json::Value;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use towpath_connectors::Secret;

    fn alarm(sink: &str, ended_ms: Option<u64>) -> Alarm {
        let subject = Subject { pipeline: "orders".into(), part: "sink", sink: sink.into() };
        let condition = Condition { alarm: LAGGING, subject, detail: "behind".into(), at_once: false };
        Alarm { condition, since_ms: 1, ended_ms }
    }

    #[tokio::test]
    async fn what_a_webhook_refuses_is_sent_again_until_it_is_taken() {
        let tries = Arc::new(AtomicUsize::new(0));
        let (taken, mut bodies) = tokio::sync::mpsc::unbounded_channel();
        let counting = Arc::clone(&tries);
        let take = move |body: String| async move {
            if counting.fetch_add(1, Ordering::Relaxed) == 0 {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            let body: Value = serde_json::from_str(&body).unwrap();
            taken.send(body).map_or(StatusCode::GONE, |()| StatusCode::OK)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", post(take))).await });
        let webhook = Webhook::new(Secret::new(url), &[], Duration::from_secs(10)).unwrap();

        let registry = Registry::default();
        let outbox = Outbox::new(&registry);
        outbox.add(&[alarm("hot", None)]);
        let sending = Arc::clone(&outbox);
        tokio::spawn(async move { sending.run(&webhook, "here").await });
        let first = bodies.recv().await.unwrap();
        assert_eq!((&first["status"], first["alerts"].as_array().unwrap().len()), (&"firing".into(), 1));
        assert!(outbox.flushed(Duration::from_secs(30)).await);
        assert_eq!((outbox.sent.get(), outbox.failures.get(), outbox.pending.get()), (1, 1, 0));

        outbox.add(&[alarm("hot", Some(9))]);
        assert_eq!(bodies.recv().await.unwrap()["status"], "resolved");
    }

    /// An alarm that is resolved while its beginning is on the way is still to be told.
    #[test]
    fn what_changed_while_it_was_sent_stays() {
        let outbox = Outbox::new(&Registry::default());
        let sending = [alarm("hot", None), alarm("full", None)];
        outbox.add(&sending);
        outbox.add(&[alarm("hot", Some(9))]);
        outbox.taken(&sending);
        let left: Vec<Alarm> = outbox.lock().values().cloned().collect();
        assert_eq!(left, [alarm("hot", Some(9))]);
        assert_eq!(outbox.pending.get(), 1);
    }

    #[tokio::test]
    async fn a_webhook_that_is_not_there_costs_one_entry_an_alarm_and_stops_nothing() {
        // Bound and dropped: nobody listens there.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = Secret::new(format!("http://{address}/"));
        let webhook = Webhook::new(url, &[], Duration::from_secs(10)).unwrap();
        let registry = Registry::default();
        let outbox = Outbox::new(&registry);
        let sending = Arc::clone(&outbox);
        tokio::spawn(async move { sending.run(&webhook, "here").await });
        for at in 0..1000 {
            outbox.add(&[alarm("hot", (at % 2 == 0).then_some(at)), alarm("full", None)]);
        }
        assert_eq!(outbox.pending.get(), 2);
        while outbox.failures.get() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!outbox.flushed(Duration::ZERO).await);
        assert_eq!(outbox.pending.get(), 2);
    }
}
