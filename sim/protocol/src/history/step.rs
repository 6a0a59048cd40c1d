//! The steps of the history model, and how a trace tells them.

use super::mysql::{Txn, key_name};
use std::fmt;

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Commit(u8),
    Receive(Txn),
    Apply(Txn),
    LosesTail,
    Down(u8),
    Up(u8),
    Promote(u8),
    Connect(u8),
    Read,
    Produce,
    Clear,
    Checkpoint,
    LeaderDies,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Commit(key) => write!(f, "the primary commits a change of {}", key_name(*key)),
            Step::Receive(txn) => write!(f, "the replica receives t{txn}"),
            Step::Apply(txn) => write!(f, "the replica applies t{txn}"),
            Step::LosesTail => f.write_str("the primary crashes and comes back without its last transaction"),
            Step::Down(server) => write!(f, "server {server} goes down"),
            Step::Up(server) => write!(f, "server {server} comes back"),
            Step::Promote(server) => write!(f, "server {server} is promoted"),
            Step::Connect(server) => write!(f, "Towpath connects to server {server}"),
            Step::Read => f.write_str("the leader reads the rows of a pending repair"),
            Step::Produce => f.write_str("the leader produces the next record"),
            Step::Clear => f.write_str("the leader clears what was pending"),
            Step::Checkpoint => f.write_str("the leader writes the checkpoint"),
            Step::LeaderDies => f.write_str("the leader dies; another takes over"),
        }
    }
}
