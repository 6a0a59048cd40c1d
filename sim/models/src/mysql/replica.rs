//! Replication between model servers, step by step: what is received, what is applied, what a promotion leaves behind.
//!
//! Nothing happens by itself: a test says when a replica receives and applies, so every lag and every lost tail can be
//! made. Whether a source's commits wait for it: `semi_sync`. Not modelled: an ALTER keeps none of a replica's own
//! rows.

use std::collections::VecDeque;

use super::server::Logged;
use super::{Gtids, MySql, MySqlConfig, SqlError};
use crate::faults::lock;

/// How a server follows another one.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    source: MySql,
    /// Received and not applied, in the source's order.
    pub relay: VecDeque<Logged>,
    /// Everything received through this channel.
    pub received: Gtids,
    pub receiving: bool,
    pub applying: bool,
}

impl MySql {
    /// A new, empty, read-only server that follows this one.
    pub fn replica(&self, config: MySqlConfig) -> MySql {
        let replica = MySql::new(MySqlConfig { read_only: true, ..config }, self.env.clone());
        replica.follow(self);
        replica
    }

    /// CHANGE REPLICATION SOURCE TO, START REPLICA: follows `source` from now on; what was received from another and
    /// not applied is gone.
    pub fn follow(&self, source: &MySql) {
        self.change(|inner, _| {
            let (relay, received) = (VecDeque::new(), Gtids::default());
            let source = source.clone();
            inner.channel = Some(Channel { source, relay, received, receiving: true, applying: true });
        });
    }

    /// Receives all that the source has and this server neither executed nor received. An error if the source has
    /// purged some of it, does not answer, or nothing is followed.
    pub fn receive(&self) -> Result<usize, SqlError> {
        let (source, known) = {
            let inner = lock(&self.inner);
            let Some(channel) = inner.channel.as_ref().filter(|channel| channel.receiving) else {
                return Err(SqlError("no replication channel receives".into()));
            };
            (channel.source.clone(), inner.received())
        };
        // The two servers are never locked together.
        let news: Vec<Logged> = {
            let source = lock(&source.inner);
            if !source.up || source.silent {
                return Err(SqlError("the replication source does not answer".into()));
            }
            if !source.server.purged.is_subset(&known) {
                return Err(SqlError("the replication source has purged needed binary logs".into()));
            }
            let history = source.server.history.iter();
            history.filter(|logged| !known.contains(&logged.source, logged.number)).cloned().collect()
        };
        let count = news.len();
        if count > 0 {
            self.change(|inner, _| {
                let Some(channel) = &mut inner.channel else { return };
                for logged in news {
                    channel.received.add(&logged.source, logged.number);
                    channel.relay.push_back(logged);
                }
            });
        }
        Ok(count)
    }

    /// Applies up to `count` received transactions in order; how many were.
    pub fn apply(&self, count: usize) -> Result<usize, SqlError> {
        let mut applied = 0;
        while applied < count && self.apply_one(0)? {
            applied += 1;
        }
        Ok(applied)
    }

    /// Applies the received transaction at `place` before those in front of it, as parallel appliers do with
    /// independent ones. `false` if there is none.
    pub fn apply_one(&self, place: usize) -> Result<bool, SqlError> {
        self.change(|inner, now| {
            let Some(channel) = inner.channel.as_mut().filter(|channel| channel.applying) else { return Ok(false) };
            let Some(logged) = channel.relay.get(place).cloned() else { return Ok(false) };
            inner.server.apply_logged(&logged, now)?;
            channel.relay.remove(place);
            Ok(true)
        })
    }

    /// Receives and applies everything.
    pub fn catch_up(&self) -> Result<(), SqlError> {
        self.receive()?;
        self.apply(usize::MAX).map(drop)
    }

    /// STOP REPLICA: the channel stays set up, with what was received.
    pub fn stop_replication(&self) {
        self.change(|inner, _| {
            if let Some(channel) = &mut inner.channel {
                (channel.receiving, channel.applying) = (false, false);
            }
        });
    }

    /// START REPLICA.
    pub fn start_replication(&self) {
        self.change(|inner, _| {
            if let Some(channel) = &mut inner.channel {
                (channel.receiving, channel.applying) = (true, true);
            }
        });
    }

    /// STOP REPLICA, RESET REPLICA ALL, and writes allowed: what was received and not applied is lost here.
    pub fn promote(&self) {
        self.change(|inner, _| {
            inner.channel = None;
            inner.server.config.read_only = false;
        });
    }
}
