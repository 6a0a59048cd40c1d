//! Rule 2 by random histories: records repeated and out of order over two partitions, answers in any order, busy items,
//! requests that fail after they were applied, revocations, losses. Once that stops, each document equals its row.

use proptest::prelude::*;

use super::*;

const PARTITIONS: u32 = 2;
const KEYS: u32 = 4;

/// A history of rows that is possible in MySQL, from random numbers: each change with its version.
fn history(picks: &[(u32, u32, u32)]) -> (Vec<TestChange>, BTreeMap<u32, u32>) {
    let mut rows: BTreeMap<u32, u32> = BTreeMap::new();
    let mut changes = Vec::new();
    for &(key, action, status) in picks {
        let key = key % KEYS;
        let before = rows.get(&key).map(|&status| (key, status));
        let to = (key + 1 + action) % KEYS;
        let after = match (before, action % 4) {
            (Some(_), 0) => None,
            // The key changes, where the new one is free.
            (Some(_), 1) if !rows.contains_key(&to) => Some((to, status % 4)),
            _ => Some((key, status % 4)),
        };
        if let Some((key, _)) = before {
            rows.remove(&key);
        }
        if let Some((key, status)) = after {
            rows.insert(key, status);
        }
        changes.push(TestChange { before, after });
    }
    (changes, rows)
}

struct World {
    rig: Rig,
    log: Vec<Vec<ConsumedRecord>>,
    position: Vec<usize>,
    committed: BTreeMap<u32, Committed>,
    owned: BTreeSet<u32>,
}

impl World {
    fn assign(&mut self, partition: u32) {
        if self.owned.insert(partition) {
            let end = self.log[partition as usize].len() as i64;
            let start = start_at(partition, self.committed.get(&partition), (0, end), "topic").unwrap();
            self.position[partition as usize] = start.offset as usize;
            self.rig.flow.on_assigned(partition, start, "topic");
        }
    }

    fn fetch(&mut self, partition: u32, most: usize) {
        let place = partition as usize;
        let (from, to) = (self.position[place], (self.position[place] + most).min(self.log[place].len()));
        if self.owned.contains(&partition) && from < to {
            self.position[place] = to;
            let records = self.log[place][from..to].to_vec();
            self.rig.flow.on_records(records, self.rig.now);
        }
    }

    fn commit(&mut self) {
        for (partition, committed) in self.rig.flow.commits() {
            // Never backwards while owned, and never past what was read.
            assert!(committed.offset <= self.position[partition as usize] as i64);
            self.committed.insert(partition, committed);
        }
    }

    /// Lets the flow act, does what it asks, checks what must always hold.
    fn turn(&mut self) {
        self.rig.turn();
        for effect in std::mem::take(&mut self.rig.others) {
            if let Effect::Release(partitions) = effect {
                self.commit();
                self.rig.flow.on_released(&partitions);
                partitions.iter().for_each(|partition| {
                    self.owned.remove(partition);
                });
            }
        }
        let mut flying = BTreeSet::new();
        for op in self.rig.sent.iter().flat_map(|(_, operations)| operations) {
            assert!(flying.insert((op.id.clone(), op.routing.clone())), "two requests share document {}", op.id);
        }
    }

    fn answer(&mut self, which: usize, how: u32) {
        if self.rig.sent.is_empty() {
            return;
        }
        let which = which % self.rig.sent.len();
        self.rig.sent.swap(0, which);
        match how % 6 {
            0 => self.rig.fail(IndexError::Unavailable("lost before".into())),
            1 => {
                // The answer is lost, its effect is not.
                for op in &self.rig.sent[0].1 {
                    self.rig.index.apply(op);
                }
                self.rig.fail(IndexError::Unavailable("lost after".into()));
            }
            2 => self.rig.answer(&[busy(), None, busy()]),
            3 if self.rig.sent[0].1.len() > 1 => {
                self.rig.fail(IndexError::Rejected { status: 413, reason: "too large for now".into() })
            }
            _ => self.rig.answer(&[]),
        }
    }

    fn step(&mut self, (what, which, how): (u32, usize, u32)) {
        let partition = which as u32 % PARTITIONS;
        match what % 8 {
            0 | 1 => self.fetch(partition, 1 + how as usize % 4),
            2 | 3 => self.answer(which, how),
            4 => self.assign(partition),
            5 if how % 3 == 0 && self.owned.contains(&partition) => self.rig.flow.on_revoked(&[partition]),
            6 if how % 3 == 0 && self.owned.remove(&partition) => self.rig.flow.on_lost(&[partition]),
            7 => self.commit(),
            _ => self.rig.now += Duration::from_millis(u64::from(how % 500)),
        }
        self.turn();
    }

    /// Faults stop: everything is read, answered and committed.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 1_000, "it does not come to rest");
            for partition in 0..PARTITIONS {
                self.assign(partition);
                self.fetch(partition, 1_000);
            }
            self.rig.now += Duration::from_secs(20);
            self.turn();
            while !self.rig.sent.is_empty() {
                self.rig.answer(&[]);
                self.turn();
            }
            self.rig.acknowledge_letters();
            self.commit();
            let end = |partition: u32| self.log[partition as usize].len() as i64;
            let at = |partition: u32| self.committed.get(&partition).map_or(0, |committed| committed.offset);
            if (0..PARTITIONS).all(|partition| at(partition) == end(partition)) {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_each_document_equals_its_row_in_the_end(
        picks in proptest::collection::vec((any::<u32>(), 0u32..8, any::<u32>()), 1..25),
        repeats in proptest::collection::vec((any::<prop::sample::Index>(), any::<u32>(), any::<u16>()), 0..25),
        places in proptest::collection::vec((any::<u32>(), any::<u16>()), 25),
        steps in proptest::collection::vec((any::<u32>(), any::<usize>(), any::<u32>()), 0..120),
        concurrency in 1usize..4,
    ) {
        let (changes, rows) = history(&picks);
        // Every change at least once, some more often, in any order, in any partition.
        let mut copies: Vec<(usize, u32, u16)> =
            places.iter().take(changes.len()).enumerate().map(|(i, &(partition, at))| (i, partition, at)).collect();
        copies.extend(repeats.iter().map(|(which, partition, at)| (which.index(changes.len()), *partition, *at)));
        copies.sort_by_key(|&(_, _, at)| at);
        let mut log: Vec<Vec<ConsumedRecord>> = vec![Vec::new(); PARTITIONS as usize];
        for (which, partition, _) in copies {
            let records = &mut log[(partition % PARTITIONS) as usize];
            let partition = partition % PARTITIONS;
            let at = At { partition, offset: records.len() as i64, epoch: 1, version: which as u64 * 10, term: 1 };
            records.push(record(at, &changes[which]));
        }
        let sink = match concurrency {
            1 => |sink: &mut SinkConfig| sink.bulk.linger = Duration::from_millis(3),
            2 => |sink: &mut SinkConfig| (sink.bulk.concurrency, sink.bulk.operations) = (2, 2),
            _ => |sink: &mut SinkConfig| sink.bulk.concurrency = 3,
        };
        let rig = rig(Setup { sink, ..Setup::default() });
        let position = vec![0; log.len()];
        let mut world = World { rig, log, position, committed: BTreeMap::new(), owned: BTreeSet::new() };
        for step in steps {
            world.step(step);
        }
        world.settle();
        let expected: BTreeMap<String, u64> = rows
            .into_iter()
            .filter(|(_, status)| [1, 2].contains(status))
            .map(|(key, status)| (key.to_string(), u64::from(status)))
            .collect();
        prop_assert_eq!(world.rig.index.visible(), expected);
        prop_assert_eq!(world.rig.flow.metrics.dead_letters.get(), 0);
        prop_assert_eq!(world.rig.flow.buffered(), 0);
    }
}
