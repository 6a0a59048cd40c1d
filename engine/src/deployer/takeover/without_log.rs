//! Taking over while Kafka is down: the state and the predecessors' journals are all there is to go by (protocol §3).
//!
//! Must not produce, nor decide an epoch by a tail that cannot be read.

use std::sync::Arc;
use tokio::time::{Instant, timeout};

use super::Takeover;
use crate::cause::{Cause, Stop};
use crate::deployer::course::{Failure, Halt};
use crate::deployer::leader::Leader;
use crate::deployer::tail::LogTail;
use crate::ports::log::{LogError, TopicInfo};

impl Takeover {
    /// The topic, as soon as Kafka tells. Documents may be written directly until then.
    pub(super) async fn topic(mut self) -> Result<(Self, TopicInfo), Halt> {
        let config = Arc::clone(&self.course.config);
        let mut attempts = self.course.attempts("topic");
        loop {
            self.session.until_live().await?;
            let fit = self.state.as_ref().is_some_and(|state| {
                let same = state.topic == config.topic && state.partitions == config.partitions;
                // The history of definitions, where there is one, is in Kafka too.
                same && state.epoch.number > 0 && state.order.is_none() && state.schemas.is_none()
            });
            let asked = Instant::now();
            let answer = self.course.ports.log.ensure_topic(&config.topic, config.partitions);
            // The client waits for brokers as long as it may; documents need not.
            let answer = match self.fallback.patience().filter(|_| fit) {
                Some(patience) => timeout(patience, answer).await.unwrap_or_else(|_| {
                    Err(LogError::Unavailable(format!("no broker tells of the topic within {patience:?}")))
                }),
                None => answer.await,
            };
            let failure = match answer {
                Ok(topic) => {
                    attempts.succeeded();
                    return Ok((self, topic));
                }
                Err(error) => Failure::from(error),
            };
            self.fallback.silent_since(asked);
            let epoch = self.state.as_ref().map_or(0, |state| state.epoch.number);
            if fit && matches!(failure, Failure::Retry(_)) && self.fallback.due(&self.course, epoch, None) {
                self = self.direct().await?;
            } else {
                attempts.again(failure, Some(&mut self.session)).await?;
            }
        }
    }

    /// Leads without Kafka: writes the state (guarded), seals what predecessors left, writes documents directly. The
    /// log is fenced and its tail read when it is back.
    async fn direct(mut self) -> Result<Self, Halt> {
        let mut state = self.state.take().ok_or_else(|| Stop::new(Cause::Internal, "no state to go on from"))?;
        state.leader = self.mark();
        repeat!(self, "guard", self.store.write(&mut state));
        let term = self.term;
        repeat!(self, "journals", self.fallback.seal(&self.course, &mut state, term));
        let topic = TopicInfo { id: state.topic_id.clone(), watermarks: vec![(0, 0); state.partitions as usize] };
        let mut leader = self.leader(state, topic, &LogTail::default());
        // Whoever writes documents leads, for those who watch too.
        leader.leads();
        leader.show();
        leader.direct().await?;
        let Leader { course, session, store, state, term, fallback, .. } = leader;
        let store = store.ok_or_else(|| Stop::new(Cause::Internal, "the state is being written"))?;
        Ok(Self { course, session, store, state: Some(state), term, schemas: None, fallback })
    }
}
