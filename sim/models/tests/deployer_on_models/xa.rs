//! XA transactions: rows that were prepared come at their COMMIT, whole, once in version order, over any restart
//! (protocol §1 and §4).

use super::delivery::BOTH;
use super::harness::*;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;
use towpath_engine::cause::Cause;
use towpath_engine::deployer::{DeployerConfig, Fencing, Start};
use towpath_engine::gtid::GtidSet;
use towpath_engine::state::PositionOrder;
use towpath_models::mysql::{Commit, RowOp, Value};

/// What a client does next.
#[derive(Debug, Clone, Copy)]
enum Act {
    Prepare(&'static str, [i64; 2]),
    Commit(&'static str),
    Rollback(&'static str),
    OnePhase(&'static str, i64),
    Insert(i64),
    Update(i64),
    Rotate,
    Restart,
}

use Act::*;

/// Several groups at once, among other transactions, in one file and over several; `a` of many events.
const COURSE: [Act; 17] = [
    Insert(1),
    Prepare("a", [10, 11]),
    Insert(2),
    Prepare("b", [20, 21]),
    Update(2),
    Rotate,
    Prepare("c", [30, 31]),
    Rollback("b"),
    OnePhase("d", 40),
    Restart,
    Insert(20),
    Commit("a"),
    Update(10),
    Prepare("a", [12, 13]),
    Commit("c"),
    Commit("a"),
    Insert(3),
];

impl World {
    /// Two rows in a prepared group; `lost` rows are never to be seen.
    fn prepare(&mut self, xid: &str, ids: [i64; 2], lost: bool) -> Commit {
        let ops = ids.map(|id| {
            let row = if lost {
                vec![Value::Int(id), Value::Int(-id), Value::Text("rolled back".into())]
            } else {
                self.row(id)
            };
            RowOp::insert("orders", "order_main", row)
        });
        self.mysql.xa_prepare(xid, &ops).unwrap()
    }

    fn act(&mut self, act: Act) {
        match act {
            Prepare(xid, ids) => drop(self.prepare(xid, ids, xid == "b")),
            Commit(xid) => drop(self.mysql.xa_commit(xid).unwrap()),
            Rollback(xid) => drop(self.mysql.xa_rollback(xid).unwrap()),
            OnePhase(xid, id) => {
                let op = RowOp::insert("orders", "order_main", self.row(id));
                self.mysql.xa_one_phase(xid, &[op]).unwrap();
            }
            Insert(id) => self.insert(id),
            Update(id) => self.update(id),
            Rotate => self.mysql.rotate(),
            Restart => self.mysql.restart(),
        }
    }

    /// The groups in the state.
    fn waiting(&self) -> Vec<String> {
        self.state().map(|state| state.prepared.into_iter().map(|group| group.xid).collect()).unwrap_or_default()
    }
}

fn prompt(world: &World, instance: u32, fencing: Fencing) -> DeployerConfig {
    let mut config = world.config(instance, fencing);
    config.checkpoint_interval = Duration::from_millis(20);
    config
}

#[tokio::test(start_paused = true)]
async fn a_restart_at_any_point_changes_nothing() {
    for fencing in BOTH {
        let mut versions: Option<BTreeMap<i64, u64>> = None;
        for cut in 0..=COURSE.len() {
            // At even points in order, at odd ones as SIGKILL does, with half of what it did not in the checkpoint.
            let mut world = World::new();
            let mut config = prompt(&world, 1, fencing);
            if cut % 4 == 1 {
                config.checkpoint_interval = Duration::from_secs(3600);
            }
            let first = world.start(config);
            first.leads().await;
            for act in &COURSE[..cut] {
                world.act(*act);
                sleep(Duration::from_millis(9)).await;
            }
            if cut % 4 != 1 {
                world.until_checkpointed().await;
            }
            if cut % 2 == 0 {
                first.drain().await
            } else {
                first.kill().await
            }
            let second = world.start(prompt(&world, 2, fencing));
            for act in &COURSE[cut..] {
                world.act(*act);
                sleep(Duration::from_millis(9)).await;
            }
            world.until_checkpointed().await;
            world.judge(fencing);
            assert_eq!(world.waiting(), [] as [&str; 0], "nothing waits in the end");
            let found: BTreeMap<i64, u64> =
                world.changes().iter().map(|change| (change.number, change.offset)).collect();
            let known = versions.get_or_insert_with(|| found.clone());
            assert_eq!(found, *known, "the versions depend on where it was restarted (cut {cut}, {fencing:?})");
            second.drain().await;
        }
        // Version order is the order in which changes took effect.
        let order: Vec<i64> = {
            let mut by_offset: Vec<(u64, i64)> = versions.unwrap().into_iter().map(|(n, offset)| (offset, n)).collect();
            by_offset.sort_unstable();
            by_offset.into_iter().map(|(_, number)| number).collect()
        };
        // 1 insert, 2 and 3 prepared as `a`, 4 insert, 5 update, 6 and 7 prepared as `c`, 8 in one phase, 9 insert,
        // 10 update, 11 and 12 prepared as the second `a`, 13 insert.
        assert_eq!(order, [1, 4, 5, 8, 9, 2, 3, 10, 6, 7, 11, 12, 13]);
    }
}

/// The sizes of a transaction's events without checksums, and their types, as they lie in the file.
fn events(world: &World, at: &Commit) -> Vec<(u8, u64)> {
    let (_, bytes) = world.mysql.binlog_files().into_iter().find(|(name, _)| *name == at.at.file).unwrap();
    let (mut position, mut found) = (at.at.position as usize, Vec::new());
    while position < at.end as usize {
        let size = u32::from_le_bytes(bytes[position + 9..position + 13].try_into().unwrap());
        found.push((bytes[position + 4], u64::from(size) - 4));
        position += size as usize;
    }
    found
}

fn sum(events: &[(u8, u64)]) -> u64 {
    events.iter().map(|(_, size)| size).sum()
}

#[tokio::test(start_paused = true)]
async fn a_group_is_counted_at_its_commit_event_by_event() {
    const WRITE_ROWS: u8 = 30;
    let mut world = World::new();
    let running = world.start(prompt(&world, 1, Fencing::Transactions));
    let plain = |world: &mut World, id| {
        let op = RowOp::insert("orders", "order_main", world.row(id));
        world.mysql.commit(&[op]).unwrap()
    };
    let before = plain(&mut world, 1);
    let prepare = world.prepare("a", [10, 11], false);
    let between = plain(&mut world, 2);
    let commit = world.mysql.xa_commit("a").unwrap();
    let after = plain(&mut world, 3);
    world.until_checkpointed().await;
    let offset = |id: i64| world.changes().into_iter().find(|change| change.id == id).unwrap().offset;
    let [before, prepare, between, end, after] =
        [before, prepare, between, commit.clone(), after].map(|at| events(&world, &at));
    let until_rows = |of: &[(u8, u64)]| sum(&of[..of.iter().position(|(kind, _)| *kind == WRITE_ROWS).unwrap()]);
    let start = |id: i64, of: &[(u8, u64)]| offset(id) - until_rows(of);
    assert_eq!(start(2, &between) - start(1, &before), sum(&before), "a group that is prepared takes no offsets");
    let commit_at = start(2, &between) + sum(&between);
    // Within the COMMIT: its GTID event, the group, the statement.
    assert_eq!(offset(10), commit_at + end[0].1 + until_rows(&prepare));
    assert_eq!(offset(11), offset(10) + 1, "the second row of the same event");
    assert_eq!(start(3, &after), commit_at + sum(&end) + sum(&prepare));
    let group = world.changes().into_iter().find(|change| change.id == 10).unwrap();
    assert_eq!(group.gtid, Some(commit.gtid), "the rows belong to the transaction that makes them true");
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_too_large_to_keep_is_read_again_at_its_commit() {
    for fencing in BOTH {
        let mut world = World::new();
        let mut config = prompt(&world, 1, fencing);
        config.budget_bytes = 1 << 20;
        let running = world.start(config);
        running.leads().await;
        let large: Vec<RowOp> = (100..3100)
            .map(|id| {
                let mut row = world.row(id);
                row[2] = Value::Text("x".repeat(1000));
                RowOp::insert("orders", "order_main", row)
            })
            .collect();
        world.mysql.xa_prepare("large", &large).unwrap();
        world.prepare("small", [1, 2], false);
        world.until_checkpointed().await;
        assert_eq!(running.metric("towpath_rows_total"), 0);
        assert_eq!(running.metric("towpath_xa_prepared"), 2);
        world.mysql.xa_commit("small").unwrap();
        world.until_checkpointed().await;
        assert_eq!(running.metric("towpath_xa_read_again_total"), 0, "a small one is at hand");
        world.mysql.xa_commit("large").unwrap();
        world.until_checkpointed().await;
        assert_eq!(running.metric("towpath_xa_read_again_total"), 1);
        assert_eq!(running.metric("towpath_rows_total"), 3002);
        let peak = running.metric("towpath_in_flight_peak_bytes");
        assert!(peak < 3 << 19, "{peak} bytes: far below the group's 3 MB");
        world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_purged_group_is_told_at_once_and_stops_at_its_commit() {
    let mut world = World::new();
    let first = world.start(prompt(&world, 1, Fencing::Transactions));
    world.prepare("a", [10, 11], false);
    world.prepare("b", [20, 21], true);
    world.mysql.rotate();
    world.insert(1);
    world.until_checkpointed().await;
    first.drain().await;
    let newest = world.mysql.binlog_files().last().unwrap().0.clone();
    world.mysql.purge_to(&newest).unwrap();
    let second = world.start(prompt(&world, 2, Fencing::Transactions));
    world.insert(2);
    world.until_checkpointed().await;
    assert_eq!(second.metric("towpath_xa_unreadable"), 2, "it is told while nothing is lost yet");
    // A rolled back group needs no bytes.
    world.mysql.xa_rollback("b").unwrap();
    world.until_checkpointed().await;
    assert_eq!(world.waiting().len(), 1);
    world.mysql.xa_commit("a").unwrap();
    let stop = second.stopped().await;
    assert_stop(&stop, Cause::XaPurged, "oldest file");
}

#[tokio::test(start_paused = true)]
async fn a_group_prepared_before_the_start_stops_by_name() {
    let mut world = World::new();
    world.prepare("early", [10, 11], false);
    let mut config = prompt(&world, 1, Fencing::Transactions);
    config.start = Some(Start::Now);
    let running = world.start(config);
    world.insert(1);
    world.until_checkpointed().await;
    world.mysql.xa_commit("early").unwrap();
    let stop = running.stopped().await;
    assert_stop(&stop, Cause::XaPurged, "XA COMMIT X'6561726c79',X'',1");
}

#[tokio::test(start_paused = true)]
async fn a_rewritten_group_is_not_emitted_as_if_it_were_the_old_one() {
    let mut world = World::new();
    let first = world.start(prompt(&world, 1, Fencing::Transactions));
    world.prepare("a", [10, 11], false);
    world.until_checkpointed().await;
    first.drain().await;
    // The state says that the group had other bytes.
    let mut state = world.state().unwrap();
    state.prepared[0].witness.crc32 ^= 1;
    world.put_state(&state);
    let second = world.start(prompt(&world, 2, Fencing::Transactions));
    world.mysql.xa_commit("a").unwrap();
    let stop = second.stopped().await;
    assert_stop(&stop, Cause::HistoryRewritten, "reads differently");
}

#[tokio::test(start_paused = true)]
async fn a_position_set_before_the_prepare_meets_the_group_again() {
    let mut world = World::new();
    world.insert(1);
    let before: GtidSet = world.mysql.executed().to_string().parse().unwrap();
    let first = world.start(prompt(&world, 1, Fencing::Transactions));
    world.prepare("a", [10, 11], false);
    world.until_checkpointed().await;
    assert_eq!(world.waiting().len(), 1);
    first.drain().await;
    for (to, kept) in [(before, 0), (world.mysql.executed().to_string().parse().unwrap(), 1)] {
        let mut state = world.state().unwrap();
        state.order = Some(PositionOrder {
            to: Some(Start::Gtid(to)),
            reason: "set by hand".into(),
            at_ms: 1,
            definitions: None,
        });
        world.put_state(&state);
        let mut config = prompt(&world, 2, Fencing::Transactions);
        config.unrepaired = true;
        // Before the first checkpoint: what the rise itself leaves in the state.
        config.checkpoint_interval = Duration::from_secs(60);
        let second = world.start(config);
        second.leads().await;
        assert_eq!(world.waiting().len(), kept);
        world.insert(100 + kept as i64);
        world.until_checkpointed().await;
        assert_eq!(world.waiting().len(), 1, "prepared before the position, or met again after it");
        second.drain().await;
    }
    let mut config = prompt(&world, 3, Fencing::Transactions);
    config.unrepaired = true;
    let third = world.start(config);
    world.mysql.xa_commit("a").unwrap();
    world.until_checkpointed().await;
    world.judge(Fencing::Transactions);
    third.drain().await;
}

/// Groups come and go around the point that two servers have in common. On the promoted one all are prepared that were
/// not ended before it: their COMMITs come with the stream again, or from the application.
#[tokio::test(start_paused = true)]
async fn a_failover_knows_the_groups_of_the_common_point() {
    for fencing in BOTH {
        for lost in [false, true] {
            let mut world = World::new();
            let replica = world.add_replica(2);
            let running = world.start(world.config(1, fencing));
            running.leads().await;
            world.insert(1);
            world.prepare("a", [10, 11], false);
            world.prepare("b", [20, 21], false);
            world.prepare("c", [30, 31], true);
            // A kept checkpoint has them: the point that will be common.
            sleep(Duration::from_secs(31)).await;
            world.insert(2);
            world.until_checkpointed().await;
            replica.catch_up().unwrap();
            world.mysql.xa_commit("a").unwrap();
            world.mysql.xa_rollback("c").unwrap();
            world.update(2);
            world.until_checkpointed().await;
            assert_eq!(world.waiting(), ["X'62',X'',1"]);
            if !lost {
                replica.catch_up().unwrap();
            }
            world.fail_over_to(&replica);
            if lost {
                world.mysql.xa_commit("a").unwrap();
                world.mysql.xa_rollback("c").unwrap();
            }
            world.mysql.xa_commit("b").unwrap();
            world.update(2);
            world.until_settled().await;
            world.judge(fencing);
            assert_eq!(world.waiting(), [] as [&str; 0]);
            running.drain().await;
        }
    }
}

/// Kills at any moment, while groups come and go.
#[tokio::test(start_paused = true)]
async fn kills_among_many_groups_lose_nothing() {
    for (round, fencing) in BOTH.into_iter().cycle().take(6).enumerate() {
        // A fixed sequence that depends on the round alone.
        let mut random = 0x9e37_79b9_7f4a_7c15u64 ^ (round as u64 + 1);
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut world = World::new();
        let mut open: Vec<String> = Vec::new();
        let mut running = world.start(prompt(&world, 1, fencing));
        for step in 0..200i64 {
            match next(6) {
                0 | 1 => {
                    let name = format!("x{step}");
                    world.prepare(&name, [1000 + step * 2, 1001 + step * 2], false);
                    open.push(name);
                }
                2 | 3 if !open.is_empty() => {
                    let which = next(open.len() as u64) as usize;
                    world.mysql.xa_commit(&open.swap_remove(which)).unwrap();
                }
                4 => world.mysql.rotate(),
                _ => world.insert(step),
            }
            sleep(Duration::from_millis(next(40))).await;
            if step % 20 == 19 {
                running.kill().await;
                running = world.start(prompt(&world, step as u32, fencing));
            }
        }
        for name in open {
            world.mysql.xa_commit(&name).unwrap();
        }
        world.until_checkpointed().await;
        world.judge(fencing);
        running.drain().await;
    }
}
