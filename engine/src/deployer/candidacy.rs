//! From candidacy to candidacy: join, wait for the lead, lead, and join again when the lead was lost.
//!
//! Must not touch log or source: only a leader does.

use std::sync::Arc;
use std::time::Duration;

use super::Role;
use super::course::{Course, Failure, Halt, SessionWatch};
use super::election::{Standing, standing};
use super::takeover;
use crate::cause::{Cause, Stop};
use crate::ports::coordinator::{Candidate, Coordinator};

/// How long giving the lead away may take; afterwards the session's end does it.
const RESIGN_WITHIN: Duration = Duration::from_secs(5);

/// Runs candidacies until an orderly end (`Ok`) or a named cause.
pub async fn run(course: &Course) -> Result<(), Stop> {
    let mut attempts = course.attempts("candidacy");
    let mut number = 0u64;
    loop {
        if course.draining() {
            return Ok(());
        }
        let takeovers = course.meters.takeovers.get();
        let halt = candidacy(course, number).await;
        number += 1;
        course.meters.leading.set(0);
        course.meters.term.set(0);
        course.status.update(|status| {
            status.role = Role::Joining;
            status.term = 0;
        });
        match halt {
            Halt::Drained => return Ok(()),
            Halt::Stop(stop) => return Err(stop),
            Halt::Lost(why) => {
                tracing::warn!("{}: {why}; joining again", Cause::Deposed);
                if course.meters.takeovers.get() > takeovers {
                    attempts.succeeded();
                }
                let stop = Stop::new(Cause::CoordinatorUnavailable, why);
                match attempts.again(Failure::Retry(stop), None).await {
                    Ok(()) => {}
                    Err(Halt::Stop(stop)) => return Err(stop),
                    Err(_) => return Ok(()),
                }
            }
        }
    }
}

/// One candidacy, on a session of its own.
async fn candidacy(course: &Course, number: u64) -> Halt {
    let mut attempts = course.attempts("session");
    let coordinator: Arc<dyn Coordinator> = loop {
        match course.ports.coordinator.connect().await {
            Ok(coordinator) => break Arc::from(coordinator),
            Err(error) => {
                if let Err(halt) = attempts.again(error.into(), None).await {
                    return halt;
                }
            }
        }
    };
    let mut session = SessionWatch::new(coordinator.session(), course.config.session_timeout);
    // Unique to this candidacy: after an unknown outcome of the create the node is found by it.
    let id = format!("{}-{:x}-{number}", course.config.instance, course.env.wall_ms());
    let candidate = loop {
        match coordinator.join(&id).await {
            Ok(candidate) => break candidate,
            Err(error) => {
                if let Err(halt) = attempts.again(error.into(), Some(&mut session)).await {
                    return halt;
                }
            }
        }
    };
    attempts.succeeded();
    tracing::info!(node = candidate.node, czxid = candidate.czxid, "joined the election");
    let halt = match wait_for_lead(course, coordinator.as_ref(), &candidate, &mut session).await {
        Ok(()) => Box::pin(takeover::lead(course.clone(), session, Arc::clone(&coordinator), candidate.clone())).await,
        Err(halt) => halt,
    };
    // If this fails the node goes with the session.
    match tokio::time::timeout(RESIGN_WITHIN, coordinator.resign(&candidate)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("the candidate node was not removed: {error}"),
        Err(_) => tracing::debug!("the candidate node was not removed in time"),
    }
    halt
}

/// Returns when the own candidate leads.
async fn wait_for_lead(
    course: &Course,
    coordinator: &dyn Coordinator,
    own: &Candidate,
    session: &mut SessionWatch,
) -> Result<(), Halt> {
    let mut attempts = course.attempts("election");
    loop {
        session.until_live().await?;
        let all = match coordinator.candidates().await {
            Ok(all) => all,
            Err(error) => {
                attempts.again(error.into(), Some(session)).await?;
                continue;
            }
        };
        attempts.succeeded();
        match standing(own, &all) {
            Standing::Leads => return Ok(()),
            Standing::Gone => return Err(Halt::Lost("one's own candidate node is gone".to_owned())),
            Standing::Waits(before) => {
                tracing::debug!(before, "standing by");
                course.status.update(|status| {
                    status.role = Role::Standby;
                    // The leader says what it holds.
                    status.held.clear();
                });
            }
        }
        let changed = tokio::select! {
            biased;
            () = course.drained() => return Err(Halt::Drained),
            () = session.until_over() => return Err(Halt::Lost("the session with the coordinator is over".to_owned())),
            changed = coordinator.candidates_changed(&all) => changed,
        };
        if let Err(error) = changed {
            attempts.again(error.into(), Some(session)).await?;
        }
    }
}
