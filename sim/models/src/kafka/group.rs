//! A consumer group: members, generations, cooperative (incremental) rebalance, committed offsets.
//!
//! What a member owns it keeps until it must give it up; a partition goes to its next owner only when its last one has
//! released it. No waiting here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;
use towpath_engine::ports::log::Committed;

/// A member as the coordinator knows it.
#[derive(Debug)]
pub(crate) struct Member {
    /// Owned and usable.
    pub owned: BTreeSet<u32>,
    /// Owned, told to give up, not yet released.
    pub revoking: BTreeSet<u32>,
    /// Given, not yet told.
    pub assigned: BTreeSet<u32>,
    /// To be given up, not yet told.
    pub to_revoke: BTreeSet<u32>,
    /// The generation it last heard of.
    pub generation: u64,
    /// When it was last heard of.
    pub seen: Instant,
}

/// A group on one topic.
#[derive(Debug)]
pub(crate) struct Group {
    pub partitions: u32,
    pub generation: u64,
    pub members: BTreeMap<u64, Member>,
    pub committed: BTreeMap<(String, u32), Committed>,
}

impl Group {
    pub fn new(partitions: u32) -> Self {
        Self { partitions, generation: 0, members: BTreeMap::new(), committed: BTreeMap::new() }
    }

    /// A new member: everybody hears of a new generation.
    pub fn join(&mut self, member: u64, partitions: u32) {
        self.partitions = partitions;
        let fresh = Member {
            owned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            assigned: BTreeSet::new(),
            to_revoke: BTreeSet::new(),
            generation: 0,
            seen: Instant::now(),
        };
        self.members.insert(member, fresh);
        self.rebalance();
    }

    /// A member leaves, or is thrown out; what it owned is free at once.
    pub fn leave(&mut self, member: u64) {
        if self.members.remove(&member).is_some() {
            self.rebalance();
        }
    }

    /// Members not heard of for too long are thrown out.
    pub fn expire(&mut self, timeout: Duration) -> bool {
        let late: Vec<u64> =
            self.members.iter().filter(|(_, member)| member.seen.elapsed() >= timeout).map(|(id, _)| *id).collect();
        late.iter().for_each(|member| self.leave(*member));
        !late.is_empty()
    }

    /// When the next member will be thrown out.
    pub fn next_expiry(&self, timeout: Duration) -> Option<Instant> {
        self.members.values().map(|member| member.seen + timeout).min()
    }

    /// A new generation: shares differ by one at most, and nobody gives up more than it must.
    fn rebalance(&mut self) {
        self.generation += 1;
        let count = self.members.len() as u32;
        if count == 0 {
            return;
        }
        let (share, extra) = ((self.partitions / count) as usize, (self.partitions % count) as usize);
        // Those who own most keep the larger shares.
        let mut order: Vec<(usize, u64)> = self.members.iter().map(|(id, m)| (m.holding().len(), *id)).collect();
        order.sort_by_key(|(held, id)| (std::cmp::Reverse(*held), *id));
        for (rank, (_, id)) in order.into_iter().enumerate() {
            let target = share + usize::from(rank < extra);
            if let Some(member) = self.members.get_mut(&id) {
                // Not yet told: simply not given.
                while member.keeping() > target
                    && let Some(partition) = member.assigned.pop_last()
                {
                    let _ = partition;
                }
                while member.keeping() > target
                    && let Some(partition) = member.owned.pop_last()
                {
                    member.to_revoke.insert(partition);
                }
            }
        }
        self.assign_free();
    }

    /// Gives what nobody owns to those who own least.
    pub fn assign_free(&mut self) {
        let taken: BTreeSet<u32> = self.members.values().flat_map(Member::holding).collect();
        for partition in (0..self.partitions).filter(|partition| !taken.contains(partition)) {
            let least = self.members.iter_mut().min_by_key(|(id, member)| (member.keeping(), **id));
            if let Some((_, member)) = least {
                member.assigned.insert(partition);
            }
        }
    }

    /// Ends a revocation.
    pub fn release(&mut self, member: u64, partitions: &[u32]) {
        if let Some(member) = self.members.get_mut(&member) {
            partitions.iter().for_each(|partition| {
                member.revoking.remove(partition);
            });
        }
        self.assign_free();
    }
}

impl Member {
    /// What no other may have.
    fn holding(&self) -> BTreeSet<u32> {
        [&self.owned, &self.revoking, &self.assigned, &self.to_revoke].into_iter().flatten().copied().collect()
    }

    /// What it will still have when the rebalance is over.
    fn keeping(&self) -> usize {
        self.owned.len() + self.assigned.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_member_gets_its_half_only_after_release() {
        let mut group = Group::new(4);
        group.join(1, 4);
        let first = group.members.get_mut(&1).unwrap();
        first.owned = std::mem::take(&mut first.assigned);
        group.join(2, 4);
        assert_eq!(group.members[&1].to_revoke, BTreeSet::from([2, 3]));
        assert!(group.members[&2].assigned.is_empty());
        let first = group.members.get_mut(&1).unwrap();
        first.revoking = std::mem::take(&mut first.to_revoke);
        group.release(1, &[2]);
        assert_eq!(group.members[&2].assigned, BTreeSet::from([2]));
        group.leave(1);
        assert_eq!(group.members[&2].assigned, BTreeSet::from([0, 1, 2, 3]));
    }

    #[test]
    fn shares_differ_by_one_at_most_with_many_members() {
        let mut group = Group::new(7);
        for member in 1..=3 {
            group.join(member, 7);
            for m in group.members.values_mut() {
                m.to_revoke.clear();
                m.owned.append(&mut m.assigned);
            }
            group.assign_free();
            for m in group.members.values_mut() {
                m.owned.append(&mut m.assigned);
            }
        }
        let sizes: Vec<usize> = group.members.values().map(|m| m.owned.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 7);
        assert!(sizes.iter().all(|n| (2..=3).contains(n)), "{sizes:?}");
    }
}
