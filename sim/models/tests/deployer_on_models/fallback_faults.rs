//! Past Kafka, with faults: journals that cannot be written, histories that are rewritten, and anything in any order.

use std::time::Duration;

use tokio::time::sleep;
use towpath_engine::deployer::Fencing;
use towpath_engine::deployer::fallback::{Phase, Wish};
use towpath_engine::env::Rng;
use towpath_models::elasticsearch::ElasticsearchFault;

use super::delivery::BOTH;
use super::harness::Running;
use super::sinks::*;

#[tokio::test(start_paused = true)]
async fn whoever_cannot_write_its_journal_writes_no_document() {
    let (mut sinks, _, running, indexing) = in_an_outage(Fencing::Transactions, 0).await;
    let journal = sinks.journals().remove(0);
    sinks.es.set_write_block(&journal, true);
    sinks.world.insert(50);
    sleep(Duration::from_secs(60)).await;
    assert!(!sinks.documents().contains_key(&50), "a document that no journal knows of");
    sinks.es.set_write_block(&journal, false);
    sinks.until_fresh(Duration::from_secs(60), "its journal takes entries again").await;
    running.drain().await;
    indexing.stop().await;
}

/// The server loses what only the journal knows of, and gives its numbers to other transactions.
#[tokio::test(start_paused = true)]
async fn numbers_used_again_after_they_were_shown_are_told_apart() {
    for fencing in BOTH {
        for (dies, kafka_first) in [(false, false), (true, false), (true, true)] {
            let (mut sinks, _, running, indexing) = in_an_outage(fencing, 0).await;
            let mut running = Some(running);
            sinks.world.insert(90);
            sinks.world.update(2);
            sinks.until_fresh(FRESH, "before the crash").await;
            if dies && let Some(leader) = running.take() {
                leader.kill().await;
            }
            sinks.world.mysql.crash(2);
            sinks.world.insert(91);
            sinks.world.update(3);
            sinks.world.update(4);
            if kafka_first {
                sinks.world.kafka.start();
            }
            let running = running.unwrap_or_else(|| sinks.start(2, fencing, true));
            sinks.until_fresh(Duration::from_secs(120), "after the crash").await;
            assert!(!sinks.documents().contains_key(&90), "a row that never was");
            sinks.world.kafka.start();
            running.until("it is over", |status| status.fallback == Phase::Normal).await;
            sinks.world.until_settled().await;
            sinks.until_fresh(Duration::from_secs(120), "after the outage").await;
            assert_eq!(sinks.world.state().unwrap().epoch.number, 2);
            running.drain().await;
            indexing.stop().await;
        }
    }
}

/// What a fault history does next.
async fn anything(sinks: &mut Sinks, running: &mut Vec<Running>, fencing: Fencing, rng: &mut Rng) {
    let id = (rng.next_u64() % 30) as i64;
    let exists = sinks.rows().contains_key(&id);
    match rng.next_u64() % 20 {
        0 => sinks.world.kafka.stop(),
        1 => sinks.world.kafka.start(),
        2 => {
            if let Some(leader) = running.pop() {
                leader.kill().await;
            }
            running.push(sinks.start(1, fencing, true));
        }
        3 => sinks.ask([Wish::On, Wish::Off, Wish::Auto][(rng.next_u64() % 3) as usize]),
        4 => {
            let faults = [
                ElasticsearchFault::Unavailable,
                ElasticsearchFault::TimeoutApplied,
                ElasticsearchFault::ItemsTooMany,
                ElasticsearchFault::TooManyRequests,
            ];
            sinks.es.fail_next(faults[(rng.next_u64() % 4) as usize], 1 + (rng.next_u64() % 4) as u32);
        }
        5 => {
            sinks.es.stop();
            sleep(Duration::from_millis(rng.next_u64() % 5_000)).await;
            sinks.es.restart();
        }
        6 if rng.next_u64().is_multiple_of(2) => sinks.world.mysql.crash(1 + (rng.next_u64() % 3) as usize),
        7 => sinks.world.mysql.kill_connections(),
        8 => sleep(Duration::from_millis(rng.next_u64() % 20_000)).await,
        9 if exists => sinks.world.delete(id),
        _ if exists => sinks.world.update(id),
        _ => sinks.world.insert(id),
    }
    sleep(Duration::from_millis(rng.next_u64() % 700)).await;
}

#[tokio::test(start_paused = true)]
async fn any_order_of_outages_deaths_wishes_and_lost_tails_ends_with_every_document_equal() {
    let first: u64 = std::env::var("TOWPATH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in first..first + 12 {
        let fencing = BOTH[(seed % 2) as usize];
        println!("seed {seed} (TOWPATH_SEED)");
        let mut rng = Rng::new(seed);
        let mut sinks = Sinks::new();
        let mut running = vec![sinks.start(1, fencing, true)];
        let indexing = sinks.index(fencing);
        for id in 0..10 {
            sinks.world.insert(id);
        }
        sinks.world.until_checkpointed().await;
        for _ in 0..120 {
            anything(&mut sinks, &mut running, fencing, &mut rng).await;
        }
        sinks.ask(Wish::Auto);
        sinks.world.kafka.start();
        sinks.es.restart();
        sinks.world.insert(1_000);
        sinks.world.until_settled().await;
        sinks.until_fresh(Duration::from_secs(600), &format!("seed {seed}")).await;
        sinks.world.insert(1_001);
        sinks
            .world
            .until("no own run is left", |world| {
                let state = world.state().unwrap();
                state.fallback.is_empty()
            })
            .await;
        sinks.until_fresh(Duration::from_secs(600), &format!("seed {seed}, at the end")).await;
        for leader in running {
            leader.drain().await;
        }
        indexing.stop().await;
    }
}
