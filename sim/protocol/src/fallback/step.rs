//! The steps of the fallback model, and how a trace tells them.

use std::fmt;

/// What happens; in those of a writer, true is the one that was deposed.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Commit(u8, bool),
    KafkaDown,
    KafkaUp,
    LosesTail,
    LeaderDies,
    ZombieEnds,
    BulkTimesOut(bool),
    Rise,
    ProduceRead,
    Produce,
    Checkpoint,
    StartRun(bool),
    EndRun,
    RepairDocument,
    Journal(bool),
    Send(bool),
    Land(u8),
    NoteCursor,
    Adapter,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |zombie: &bool| if *zombie { "the deposed leader" } else { "the leader" };
        let key = |key: &u8| char::from(b'a' + key);
        match self {
            Step::Commit(k, false) => write!(f, "MySQL commits a change of {}", key(k)),
            Step::Commit(k, true) => write!(f, "MySQL commits a change of {} that the cluster will refuse", key(k)),
            Step::KafkaDown => f.write_str("Kafka goes down"),
            Step::KafkaUp => f.write_str("Kafka comes back"),
            Step::LosesTail => f.write_str("MySQL fails over; the last transaction is lost"),
            Step::LeaderDies => f.write_str("the leader is deposed; its successor seals and reads the journals"),
            Step::ZombieEnds => f.write_str("the deposed leader ends"),
            Step::BulkTimesOut(z) => write!(f, "the bulk of {} times out, still under way", who(z)),
            Step::Rise => f.write_str("the leader raises the epoch"),
            Step::ProduceRead => f.write_str("the leader produces a read row"),
            Step::Produce => f.write_str("the leader produces the next transaction"),
            Step::Checkpoint => f.write_str("the leader writes the checkpoint"),
            Step::StartRun(false) => f.write_str("the leader begins a fallback run at the checkpoint"),
            Step::StartRun(true) => f.write_str("the leader begins a fallback run at the sink's position"),
            Step::EndRun => f.write_str("the leader hands back"),
            Step::RepairDocument => f.write_str("the leader repairs a document directly"),
            Step::Journal(z) => write!(f, "{} journals the keys of its next transaction", who(z)),
            Step::Send(z) => write!(f, "{} sends its next transaction as a bulk", who(z)),
            Step::Land(n) => write!(f, "bulk {n} of those under way is applied"),
            Step::NoteCursor => f.write_str("the leader writes the run's cursor"),
            Step::Adapter => f.write_str("the adapter takes the next record"),
        }
    }
}
