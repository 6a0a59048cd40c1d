//! Runs a model, whole and with each rule left out, and says what was found.

use crate::explore::{Bound, Claim, Model, Outcome, explore};

/// More states than this (about 1.5 GB) are not explored: the bound is wrong then, and nothing was shown.
const MAX_STATES: usize = 15_000_000;

/// A rule left out, and what came of it.
pub struct Caught {
    /// Its name.
    pub name: &'static str,
    /// What was done instead.
    pub instead: &'static str,
    /// The claim that was expected to fall; `None`: the claims hold without the rule.
    pub expected: Option<Claim>,
    /// What the search found.
    pub outcome: Outcome,
}

impl Caught {
    /// True if what was expected happened.
    pub fn as_expected(&self) -> bool {
        !self.outcome.truncated && self.outcome.violation.as_ref().map(|violation| violation.claim) == self.expected
    }
}

/// A model's result.
pub struct Report {
    /// Its name.
    pub model: &'static str,
    /// The claims it checks.
    pub claims: &'static [Claim],
    /// The search with every rule kept.
    pub whole: Outcome,
    /// One search for each rule left out.
    pub planted: Vec<Caught>,
}

impl Report {
    /// True if the model holds, and each rule left out did what was expected.
    pub fn passed(&self) -> bool {
        self.whole.violation.is_none() && !self.whole.truncated && self.planted.iter().all(Caught::as_expected)
    }

    /// States of all searches.
    pub fn states(&self) -> usize {
        self.whole.states + self.planted.iter().map(|caught| caught.outcome.states).sum::<usize>()
    }
}

/// A model as the list in `lib.rs` names it.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// The rules it can leave out.
    pub planted: Vec<&'static str>,
    run: fn(Bound, Option<&str>) -> Report,
}

impl Entry {
    pub(crate) fn of<M: Model>() -> Self {
        Entry { name: M::NAME, planted: M::PLANTED.iter().map(|planted| planted.name).collect(), run: run::<M> }
    }

    /// Explores the model within `bound`, and then each rule left out, or only the one named. A planted bug is
    /// looked for within the small bound: that is where its shortest trace lies.
    pub fn run(&self, bound: Bound, only: Option<&str>) -> Report {
        (self.run)(bound, only)
    }
}

fn run<M: Model>(bound: Bound, only: Option<&str>) -> Report {
    let wanted = M::PLANTED.iter().filter(|planted| only.is_none_or(|name| name == planted.name));
    let planted = wanted.map(|planted| Caught {
        name: planted.name,
        instead: planted.instead,
        expected: planted.breaks,
        outcome: explore(&M::new(Bound::Small, Some(planted.rule)), MAX_STATES),
    });
    let planted = planted.collect();
    Report { model: M::NAME, claims: M::CLAIMS, whole: explore(&M::new(bound, None), MAX_STATES), planted }
}
