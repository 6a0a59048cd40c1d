//! The search: breadth first through every state that a model can reach, so that the first counterexample is a
//! shortest one.
//!
//! It keeps a 64-bit fingerprint, the parent and the progress edges of each state, and whole states only of the
//! layer it expands; a trace is found again by walking the model along the fingerprints. Two states with equal
//! fingerprints would hide one of them: with ten million states the odds are about one to 370,000. It knows nothing
//! of any model.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A promise that a model checks, in one sentence.
pub type Claim = &'static str;

/// How far a model goes: how many transactions, faults, crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Seconds; part of the tests.
    Small,
    /// Minutes; `cargo xtask models`.
    Large,
}

/// A rule of the protocol that a model can leave out, and the claim that is expected to fall then.
pub struct Planted<R: 'static> {
    /// The rule.
    pub rule: R,
    /// The name under which reports and the command line know it.
    pub name: &'static str,
    /// What is done instead, and where docs/protocol.md states the rule.
    pub instead: &'static str,
    /// The claim that breaks; `None` for a rule of which the model shows that these claims do not need it.
    pub breaks: Option<Claim>,
}

/// A model: states, steps, claims.
pub trait Model: Sized {
    /// Everything that can differ between two moments.
    type State: Copy + Eq + Hash;
    /// What happens between two states.
    type Step: Copy + Display;
    /// A rule that can be left out.
    type Rule: Copy + PartialEq + 'static;

    /// The name on the command line.
    const NAME: &'static str;
    /// The claims it checks. The last is [`REST_REACHABLE`].
    const CLAIMS: &'static [Claim];
    /// The rules it can leave out.
    const PLANTED: &'static [Planted<Self::Rule>];

    /// A model within `bound`, that leaves out one rule or none.
    fn new(bound: Bound, without: Option<Self::Rule>) -> Self;
    /// Where it can begin.
    fn starts(&self) -> Vec<Self::State>;
    /// Every step that is possible, with the state after it.
    fn steps(&self, state: &Self::State, out: &mut Vec<(Self::Step, Self::State)>);
    /// True for what nature does to us; false for what we, or services that work, do in time.
    fn is_fault(step: Self::Step) -> bool;
    /// A claim that this state breaks, whatever follows.
    fn broken(&self, state: &Self::State) -> Option<Claim>;
    /// A claim that this state breaks if nothing is left to do but faults.
    fn broken_at_rest(&self, state: &Self::State) -> Option<Claim>;
    /// One line that shows the state, for the end of a trace.
    fn describe(&self, state: &Self::State) -> String;
}

/// The claim that every model ends with.
pub const REST_REACHABLE: Claim = "from every state rest can be reached without another fault";

/// A broken claim and a shortest way to it.
pub struct Violation {
    /// The claim.
    pub claim: Claim,
    /// One line a step.
    pub trace: Vec<String>,
    /// The state at its end.
    pub end: String,
}

/// What a search found.
pub struct Outcome {
    /// Different states seen.
    pub states: usize,
    /// Steps from a start to the furthest state.
    pub depth: usize,
    /// States at rest among them.
    pub rests: usize,
    /// The first violation, if any; the search ends there.
    pub violation: Option<Violation>,
    /// True if there were more states than allowed: then nothing was shown.
    pub truncated: bool,
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Folded multiplications: the standard library's hasher, which must withstand an attacker, takes half of the time.
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        fold(self.0, 0x9e37_79b9_7f4a_7c15)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = fold(self.0 ^ value, 0xd6e8_feb8_6659_fd93).wrapping_add(0xa076_1d64_78bd_642f);
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

fn fingerprint<T: Hash>(state: &T) -> u64 {
    let mut hasher = Fold(0x2545_f491_4f6c_dd1d);
    state.hash(&mut hasher);
    hasher.finish()
}

/// What is kept of each state, by number in the order of discovery.
#[derive(Default)]
struct Graph {
    numbers: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    fingerprints: Vec<u64>,
    parents: Vec<u32>,
    /// Progress edges: the targets of state `n` are `targets[ends[n - 1]..ends[n]]`.
    targets: Vec<u32>,
    ends: Vec<usize>,
}

impl Graph {
    /// The number of a state, and whether it is new.
    fn enter(&mut self, print: u64, parent: Option<u32>) -> (u32, bool) {
        let next = self.fingerprints.len() as u32;
        let number = *self.numbers.entry(print).or_insert(next);
        if number == next {
            self.fingerprints.push(print);
            self.parents.push(parent.unwrap_or(next));
        }
        (number, number == next)
    }

    /// The fingerprints from a start to `number`.
    fn path(&self, mut number: u32) -> Vec<u64> {
        let mut path = vec![self.fingerprints[number as usize]];
        while self.parents[number as usize] != number {
            number = self.parents[number as usize];
            path.push(self.fingerprints[number as usize]);
        }
        path.reverse();
        path
    }

    /// The first state from which no state in `rest` can be reached along progress edges.
    fn restless(&self, mut rest: Vec<bool>) -> Option<u32> {
        // Edges lead mostly to later states: passes from the end settle in a few rounds.
        loop {
            let mut changed = false;
            for number in (0..self.ends.len()).rev() {
                let begin = if number == 0 { 0 } else { self.ends[number - 1] };
                if !rest[number] && self.targets[begin..self.ends[number]].iter().any(|to| rest[*to as usize]) {
                    rest[number] = true;
                    changed = true;
                }
            }
            if !changed {
                return rest.iter().position(|reached| !reached).map(|number| number as u32);
            }
        }
    }
}

/// Visits every reachable state of `model`, up to `limit` of them, and stops at the first violation.
pub fn explore<M: Model>(model: &M, limit: usize) -> Outcome {
    let mut graph = Graph::default();
    let mut rest = Vec::new();
    let mut layer: Vec<(u32, M::State)> = Vec::new();
    for state in model.starts() {
        let (number, new) = graph.enter(fingerprint(&state), None);
        if new {
            layer.push((number, state));
        }
    }
    let mut depth = 0;
    let mut found = None;
    let mut steps = Vec::new();
    'search: while !layer.is_empty() {
        let mut next = Vec::new();
        for (number, state) in layer {
            steps.clear();
            model.steps(&state, &mut steps);
            let resting = !steps.iter().any(|(step, _)| !M::is_fault(*step));
            rest.push(resting);
            let broken = model.broken(&state).or_else(|| model.broken_at_rest(&state).filter(|_| resting));
            if let Some(claim) = broken {
                found = Some((number, claim));
                break 'search;
            }
            for (step, after) in steps.drain(..) {
                let (target, new) = graph.enter(fingerprint(&after), Some(number));
                if !M::is_fault(step) {
                    graph.targets.push(target);
                }
                if new {
                    next.push((target, after));
                }
            }
            graph.ends.push(graph.targets.len());
            if graph.fingerprints.len() > limit {
                break 'search;
            }
        }
        layer = next;
        depth += usize::from(!layer.is_empty());
    }
    let (states, rests) = (graph.fingerprints.len(), rest.iter().filter(|resting| **resting).count());
    let truncated = found.is_none() && states > limit;
    if found.is_none() && !truncated {
        found = graph.restless(rest).map(|number| (number, REST_REACHABLE));
    }
    let violation = found.map(|(number, claim)| retrace(model, &graph.path(number), claim));
    Outcome { states, depth, rests, violation, truncated }
}

/// Walks the model along the fingerprints and writes down what happens.
fn retrace<M: Model>(model: &M, path: &[u64], claim: Claim) -> Violation {
    let mut trace = Vec::new();
    let mut state = model.starts().into_iter().find(|start| fingerprint(start) == path[0]);
    for print in &path[1..] {
        let Some(before) = state.take() else { break };
        let mut steps = Vec::new();
        model.steps(&before, &mut steps);
        if let Some((step, after)) = steps.into_iter().find(|(_, after)| fingerprint(after) == *print) {
            trace.push(step.to_string());
            state = Some(after);
        }
    }
    Violation { claim, trace, end: state.map(|state| model.describe(&state)).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter that a fault may push into a corner: wrong at 3, and from 7 there is no way on but a fault's.
    struct Counter {
        without: Option<u8>,
    }

    #[derive(Clone, Copy)]
    enum Move {
        Add,
        Turn,
        Fault,
    }

    impl Display for Move {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(match self {
                Move::Add => "add",
                Move::Turn => "turn",
                Move::Fault => "fault",
            })
        }
    }

    impl Model for Counter {
        type State = u8;
        type Step = Move;
        type Rule = u8;
        const NAME: &'static str = "counter";
        const CLAIMS: &'static [Claim] = &["never 3", "rests at 2", REST_REACHABLE];
        const PLANTED: &'static [Planted<u8>] = &[];
        fn new(_: Bound, without: Option<u8>) -> Self {
            Counter { without }
        }
        fn starts(&self) -> Vec<u8> {
            vec![0]
        }
        fn steps(&self, state: &u8, out: &mut Vec<(Move, u8)>) {
            match *state {
                0 | 1 => {
                    out.push((Move::Add, state + 1));
                    out.push((Move::Fault, if self.without == Some(7) { 7 } else { 2 }));
                }
                2 if self.without == Some(3) => out.push((Move::Add, 3)),
                7 => out.push((Move::Turn, 7)),
                _ => {}
            }
        }
        fn is_fault(step: Move) -> bool {
            matches!(step, Move::Fault)
        }
        fn broken(&self, state: &u8) -> Option<Claim> {
            (*state == 3).then_some("never 3")
        }
        fn broken_at_rest(&self, state: &u8) -> Option<Claim> {
            (*state != 2).then_some("rests at 2")
        }
        fn describe(&self, state: &u8) -> String {
            state.to_string()
        }
    }

    #[test]
    fn a_right_model_is_seen_whole() {
        let outcome = explore(&Counter::new(Bound::Small, None), 100);
        assert!(outcome.violation.is_none() && !outcome.truncated);
        assert_eq!((outcome.states, outcome.depth, outcome.rests), (3, 1, 1));
    }

    #[test]
    fn the_first_counterexample_is_a_shortest_one() {
        let violation = explore(&Counter::new(Bound::Small, Some(3)), 100).violation.unwrap();
        assert_eq!((violation.claim, violation.trace), ("never 3", vec!["fault".to_owned(), "add".to_owned()]));
        assert_eq!(violation.end, "3");
    }

    #[test]
    fn a_circle_without_a_way_to_rest_is_a_violation() {
        let violation = explore(&Counter::new(Bound::Small, Some(7)), 100).violation.unwrap();
        assert_eq!((violation.claim, violation.trace), (REST_REACHABLE, vec!["fault".to_owned()]));
    }

    #[test]
    fn too_many_states_show_nothing() {
        assert!(explore(&Counter::new(Bound::Small, None), 1).truncated);
    }
}
