//! The highest rate that holds: doubled until it no longer does, then halved in between.
//!
//! Knows nothing of servers: a trial is a function.

/// A search for the largest factor that holds.
#[derive(Debug, Clone, Copy)]
pub struct Bracket {
    held: f64,
    broke: Option<f64>,
    next: f64,
    /// The search ends when what broke is at most this much above what held.
    fine: f64,
    most: f64,
}

impl Bracket {
    /// Begins at `first`; never asks for more than `most`.
    pub fn new(first: f64, most: f64, fine: f64) -> Self {
        Self { held: 0.0, broke: None, next: first.min(most), fine, most }
    }

    /// The next factor to try; none: the search is over.
    pub fn next(&self) -> Option<f64> {
        match self.broke {
            Some(broke) if broke <= self.held * self.fine || broke < 1e-3 => None,
            None if self.held >= self.most => None,
            _ => Some(self.next),
        }
    }

    /// What came of a trial at [`Bracket::next`].
    pub fn tried(&mut self, held: bool) {
        if held {
            self.held = self.next;
        } else {
            self.broke = Some(self.next);
        }
        self.next = match self.broke {
            None => (self.held * 2.0).min(self.most),
            Some(broke) if self.held == 0.0 => broke / 2.0,
            // The mean of the logarithms: steps are shares, not amounts.
            Some(broke) => (self.held * broke).sqrt(),
        };
    }

    /// The largest factor that held; none: not even the smallest one that was tried.
    pub fn found(&self) -> Option<f64> {
        (self.held > 0.0).then_some(self.held)
    }

    /// Nothing broke: the limit is what was asked for at most.
    pub fn open_ended(&self) -> bool {
        self.broke.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(limit: f64, most: f64) -> (Option<f64>, u32, bool) {
        let (mut bracket, mut trials) = (Bracket::new(1.0, most, 1.1), 0);
        while let Some(factor) = bracket.next() {
            bracket.tried(factor <= limit);
            trials += 1;
            assert!(trials < 40, "no end");
        }
        (bracket.found(), trials, bracket.open_ended())
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for limit in [0.013, 0.3, 0.99, 1.0, 3.7, 40.0, 700.0] {
            let (found, trials, open) = search(limit, 1e6);
            let found = found.unwrap();
            assert!(found <= limit && found * 1.1 >= limit && trials <= 20 && !open, "{limit}: {found}, {trials}");
        }
    }

    #[test]
    fn what_never_breaks_ends_at_the_most_and_what_never_holds_ends_too() {
        assert_eq!(search(1e9, 24.0), (Some(24.0), 6, true));
        assert_eq!(search(0.0, 24.0).0, None);
    }
}
