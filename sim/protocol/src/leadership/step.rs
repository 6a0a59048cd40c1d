//! The steps of the leadership model, and how a trace tells them.

use std::fmt;

/// What happens; the number is the deployer's.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Win(usize),
    Peek(usize),
    Fence(usize),
    Write(usize),
    Tail(usize),
    Decide(usize),
    Send(usize),
    Arrive(usize),
    Restart(usize),
    Checkpoint(usize),
    Reconnect(usize),
    Learn(usize),
    AdriftArrives,
    AdriftVanishes,
    Expire(usize),
    AnswerLost(usize),
    RequestLost(usize),
    SourceLoses,
    NewEnsemble,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, what) = match self {
            Step::Win(d) => (Some(d), "sees that its node is the lowest"),
            Step::Peek(d) => (Some(d), "reads the log's tail"),
            Step::Fence(d) => (Some(d), "fences the log"),
            Step::Write(d) => (Some(d), "writes the state, guarded by its node"),
            Step::Tail(d) => (Some(d), "reads the log's tail"),
            Step::Decide(d) => (Some(d), "connects to the source and decides the epoch"),
            Step::Send(d) => (Some(d), "sends its next record"),
            Step::Arrive(d) => (Some(d), "has its oldest request answered"),
            Step::Restart(d) => (Some(d), "purges and makes a new producer"),
            Step::Checkpoint(d) => (Some(d), "writes the checkpoint"),
            Step::Reconnect(d) => (Some(d), "connects to the other server"),
            Step::Learn(d) => (Some(d), "hears that its session is gone, drops everything and joins again"),
            Step::AdriftArrives => (None, "a request of one who gave it up reaches Kafka"),
            Step::AdriftVanishes => (None, "a request of one who gave it up is lost"),
            Step::Expire(d) => (Some(d), "loses its session and does not know it"),
            Step::AnswerLost(d) => (Some(d), "has its record stored, and the answer is lost"),
            Step::RequestLost(d) => (Some(d), "has its oldest request lost"),
            Step::SourceLoses => (None, "MySQL fails over; the last transaction is lost"),
            Step::NewEnsemble => (None, "ZooKeeper is lost; an old state is restored by hand into a new ensemble"),
        };
        match who {
            Some(deployer) => write!(f, "deployer {deployer} {what}"),
            None => f.write_str(what),
        }
    }
}
