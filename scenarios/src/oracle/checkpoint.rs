//! The checkpoint (protocol §9, oracle 6; guards Rule 1 and Rule 3).
//!
//! It never passes what is not acknowledged: every transaction in it is whole in the log at the moment it is seen. A
//! deposed leader does not change the state: neither term nor epoch in it ever falls. Transactions without rows of
//! captured tables need not be in the log. (A state set back by hand is no such fall; no scenario does that yet.)

use towpath_engine::gtid::GtidSet;
use towpath_engine::position::Position;
use towpath_engine::state::PipelineState;

use super::Violation;
use super::delivery::Delivery;

const NAME: &str = "checkpoint";

/// The oracle's memory.
#[derive(Debug, Default)]
pub struct Checkpoints {
    term: i64,
    epoch: u16,
    checked: GtidSet,
}

impl Checkpoints {
    /// The epoch of the state last seen.
    pub fn epoch(&self) -> u16 {
        self.epoch
    }

    /// The source lost these: whoever holds them later must have them anew.
    pub fn lost(&mut self, gtids: &GtidSet) {
        self.checked = self.checked.subtract(gtids);
    }

    /// The state changed; `commits` are all transactions with rows, in order of their commit, and `delivery` knows the
    /// log as it is now.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn state(&mut self, state: &PipelineState, commits: &[String], delivery: &Delivery) -> Result<(), Violation> {
        let (term, epoch) = (state.leader.term, state.epoch.number);
        if term < self.term || epoch < self.epoch {
            let text = format!("term {term}, epoch {epoch} after term {}, epoch {}", self.term, self.epoch);
            return Err(Violation::new(NAME, text));
        }
        (self.term, self.epoch) = (term, epoch);
        let Position::Gtid(set) = &state.checkpoint.resume else { return Ok(()) };
        let news = set.subtract(&self.checked);
        if news.is_empty() {
            return Ok(());
        }
        for gtid in commits.iter().filter(|gtid| gtid.parse::<GtidSet>().is_ok_and(|one| one.is_subset(&news))) {
            if delivery.means_lost(gtid, epoch) {
                continue;
            }
            if delivery.missing(gtid) > 0 {
                let text = format!("it holds {gtid}, of which {} rows are not in the log", delivery.missing(gtid));
                return Err(Violation::new(NAME, text));
            }
        }
        self.checked.add(set);
        Ok(())
    }
}
