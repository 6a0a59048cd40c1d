//! How a ZooKeeper ensemble keeps candidates and state.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, timeout};
use towpath_engine::ports::coordinator::{Coordinator, CoordinatorError, NodeWrite, SessionState};

use crate::lab::ZooKeeperLab;

crate::bodies! { ZooKeeper:
    "zk-missing-root" => missing_root,
    "zk-candidates-in-order-of-joining" => order,
    "zk-czxid-rises" => czxid,
    "zk-join-again-finds-own-node" => join_again,
    "zk-ended-session-frees-its-node" => session_ends,
    "zk-resign-frees-its-node" => resign,
    "zk-candidates-changed-wakes" => wakes,
    "zk-candidates-changed-misses-nothing" => misses_nothing,
    "zk-absent-node-reads-none" => absent,
    "zk-compare-and-set" => compare_and_set,
    "zk-create-existing-conflicts" => create_existing,
    "zk-set-absent-conflicts" => set_absent,
    "zk-multi-all-or-nothing" => all_or_nothing,
    "zk-check-own-node-blocks-zombie" => zombie,
    "zk-version-restarts-at-zero" => restarts_at_zero,
    "zk-too-large" => too_large,
    "zk-stop-disconnects-and-session-survives" => stop,
}

const WAIT: Duration = Duration::from_secs(30);

async fn session(lab: &dyn ZooKeeperLab, pipeline: &str) -> Result<Box<dyn Coordinator>> {
    Ok(lab.factory(pipeline).connect().await?)
}

fn write<'a>(node: &'a str, data: &'a [u8], expected: Option<i32>) -> NodeWrite<'a> {
    NodeWrite { node, data, expected }
}

async fn missing_root(lab: &dyn ZooKeeperLab) -> Result<()> {
    let error = lab.without_root().connect().await.err();
    ensure!(matches!(error, Some(CoordinatorError::NoPath(_))), "{error:?}");
    Ok(())
}

async fn order(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let (a, b) = (session(lab, &pipeline).await?, session(lab, &pipeline).await?);
    // Ids in the other order than joining, so that sorting by name would show.
    let (first, second) = (a.join("zz").await?, b.join("aa").await?);
    let third = a.join("mm").await?;
    let all = b.candidates().await?;
    ensure!(all == [first, second, third], "{all:?}");
    Ok(())
}

async fn czxid(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let coordinator = session(lab, &pipeline).await?;
    let first = coordinator.join("one").await?;
    coordinator.resign(&first).await?;
    let second = coordinator.join("one").await?;
    ensure!(second.czxid > first.czxid && second.node != first.node, "{first:?}, then {second:?}");
    Ok(())
}

async fn join_again(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let coordinator = session(lab, &pipeline).await?;
    let (first, second) = (coordinator.join("same").await?, coordinator.join("same").await?);
    ensure!(first == second && coordinator.candidates().await?.len() == 1, "{first:?} and {second:?}");
    Ok(())
}

/// Waits until the candidates' number is this.
async fn count(coordinator: &dyn Coordinator, wanted: usize) -> Result<()> {
    let deadline = Instant::now() + WAIT;
    loop {
        let seen = coordinator.candidates().await?;
        if seen.len() == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{} candidates, not {wanted}", seen.len());
        timeout(WAIT, coordinator.candidates_changed(&seen)).await.context("no change")??;
    }
}

async fn session_ends(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let (a, b) = (session(lab, &pipeline).await?, session(lab, &pipeline).await?);
    a.join("a").await?;
    b.join("b").await?;
    drop(a);
    count(b.as_ref(), 1).await
}

async fn resign(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let coordinator = session(lab, &pipeline).await?;
    let candidate = coordinator.join("a").await?;
    coordinator.resign(&candidate).await?;
    ensure!(coordinator.candidates().await?.is_empty(), "still a candidate");
    coordinator.resign(&candidate).await.context("resigning twice")?;
    Ok(())
}

async fn wakes(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let (a, b) = (session(lab, &pipeline).await?, session(lab, &pipeline).await?);
    a.join("a").await?;
    let seen = a.candidates().await?;
    let waiting = a.candidates_changed(&seen);
    tokio::pin!(waiting);
    let early = timeout(Duration::from_millis(300), &mut waiting).await;
    ensure!(early.is_err(), "it wakes without a change: {early:?}");
    b.join("b").await?;
    timeout(WAIT, waiting).await.context("it does not wake")??;
    count(a.as_ref(), 2).await
}

async fn misses_nothing(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let (a, b) = (session(lab, &pipeline).await?, session(lab, &pipeline).await?);
    let seen = a.candidates().await?;
    b.join("b").await?;
    timeout(WAIT, a.candidates_changed(&seen)).await.context("a change before the wait is missed")??;
    Ok(())
}

async fn absent(lab: &dyn ZooKeeperLab) -> Result<()> {
    let coordinator = session(lab, &lab.fresh()).await?;
    let found = coordinator.read("state").await?;
    ensure!(found.is_none(), "{found:?}");
    Ok(())
}

async fn compare_and_set(lab: &dyn ZooKeeperLab) -> Result<()> {
    let coordinator = session(lab, &lab.fresh()).await?;
    let me = coordinator.join("me").await?;
    let versions = coordinator.write(Some(&me), &[write("state", b"one", None)]).await?;
    ensure!(versions == [0], "a new node's version is {versions:?}");
    let versions = coordinator.write(Some(&me), &[write("state", b"two", Some(0))]).await?;
    ensure!(versions == [1], "the next is {versions:?}");
    let stale = coordinator.write(Some(&me), &[write("state", b"three", Some(0))]).await;
    ensure!(matches!(stale, Err(CoordinatorError::Conflict)), "{stale:?}");
    let found = coordinator.read("state").await?;
    ensure!(found == Some((b"two".to_vec(), 1)), "{found:?}");
    Ok(())
}

async fn create_existing(lab: &dyn ZooKeeperLab) -> Result<()> {
    let coordinator = session(lab, &lab.fresh()).await?;
    coordinator.write(None, &[write("state", b"one", None)]).await?;
    let again = coordinator.write(None, &[write("state", b"two", None)]).await;
    ensure!(matches!(again, Err(CoordinatorError::Conflict)), "{again:?}");
    Ok(())
}

async fn set_absent(lab: &dyn ZooKeeperLab) -> Result<()> {
    let coordinator = session(lab, &lab.fresh()).await?;
    let me = coordinator.join("me").await?;
    let result = coordinator.write(Some(&me), &[write("state", b"one", Some(0))]).await;
    ensure!(matches!(result, Err(CoordinatorError::Conflict)), "{result:?}");
    Ok(())
}

async fn all_or_nothing(lab: &dyn ZooKeeperLab) -> Result<()> {
    let coordinator = session(lab, &lab.fresh()).await?;
    let me = coordinator.join("me").await?;
    coordinator.write(Some(&me), &[write("state", b"one", None), write("previous", b"zero", None)]).await?;
    let result =
        coordinator.write(Some(&me), &[write("previous", b"one", Some(0)), write("state", b"two", Some(9))]).await;
    ensure!(matches!(result, Err(CoordinatorError::Conflict)), "{result:?}");
    let found = (coordinator.read("state").await?, coordinator.read("previous").await?);
    ensure!(found == (Some((b"one".to_vec(), 0)), Some((b"zero".to_vec(), 0))), "{found:?}");
    Ok(())
}

async fn zombie(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let (a, b) = (session(lab, &pipeline).await?, session(lab, &pipeline).await?);
    let old = a.join("same-id").await?;
    a.write(Some(&old), &[write("state", b"of the old leader", None)]).await?;
    a.resign(&old).await?;
    let new = b.join("same-id").await?;
    ensure!(new.node != old.node, "the new candidate has the old one's node");
    let late = a.write(Some(&old), &[write("state", b"of a zombie", Some(0))]).await;
    ensure!(matches!(late, Err(CoordinatorError::NotCandidate)), "{late:?}");
    b.write(Some(&new), &[write("state", b"of the new leader", Some(0))]).await?;
    let found = a.read("state").await?;
    ensure!(found == Some((b"of the new leader".to_vec(), 1)), "{found:?}");
    Ok(())
}

async fn restarts_at_zero(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let coordinator = session(lab, &pipeline).await?;
    coordinator.write(None, &[write("state", b"one", None)]).await?;
    coordinator.write(None, &[write("state", b"two", Some(0))]).await?;
    lab.delete(&pipeline, "state").await?;
    coordinator.write(None, &[write("state", b"new", None)]).await?;
    // A version alone cannot tell the new node from the old one: the zombie's write passes.
    let zombie = coordinator.write(None, &[write("state", b"zombie", Some(0))]).await;
    ensure!(matches!(zombie.as_deref(), Ok([1])), "{zombie:?}");
    Ok(())
}

async fn too_large(lab: &dyn ZooKeeperLab) -> Result<()> {
    let coordinator = session(lab, &lab.fresh()).await?;
    coordinator.write(None, &[write("state", &vec![b'x'; 1_000_000], None)]).await.context("1,000,000 bytes")?;
    let result = coordinator.write(None, &[write("state", &vec![b'x'; 1 << 20], Some(0))]).await;
    ensure!(matches!(result, Err(CoordinatorError::TooLarge(_))), "{result:?}");
    ensure!(coordinator.read("state").await?.map(|(_, version)| version) == Some(0), "something was written");
    Ok(())
}

async fn reaches(coordinator: &dyn Coordinator, wanted: SessionState) -> Result<()> {
    let mut state = coordinator.session();
    let reached = timeout(WAIT, state.wait_for(|state| *state == wanted)).await;
    reached.with_context(|| format!("never {wanted:?}"))?.context("the session's state ended")?;
    Ok(())
}

async fn stop(lab: &dyn ZooKeeperLab) -> Result<()> {
    let pipeline = lab.fresh();
    let coordinator = session(lab, &pipeline).await?;
    let me = coordinator.join("me").await?;
    lab.stop().await?;
    reaches(coordinator.as_ref(), SessionState::Disconnected).await?;
    let result = coordinator.write(Some(&me), &[write("state", b"lost", None)]).await;
    lab.start().await?;
    ensure!(matches!(result, Err(CoordinatorError::Unknown(_))), "{result:?}");
    reaches(coordinator.as_ref(), SessionState::Connected).await?;
    let all = coordinator.candidates().await?;
    ensure!(all == [me], "{all:?}");
    ensure!(coordinator.read("state").await?.is_none(), "a write while disconnected took effect");
    Ok(())
}
