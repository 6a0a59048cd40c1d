//! Who leads, under which term, and what a lost connection to the coordinator means (protocol §3). Pure.
//!
//! The lowest candidate leads; its term is `term_base` + its node's `czxid`. Must not start an effect by itself.

use std::time::Duration;

use crate::ports::coordinator::{Candidate, SessionState};

/// One's own place among the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// First: leads.
    Leads,
    /// So many are before it.
    Waits(usize),
    /// Its node is gone: rejoin.
    Gone,
}

/// One's own place among `candidates`, which are in order.
pub fn standing(own: &Candidate, candidates: &[Candidate]) -> Standing {
    // Both name and czxid: a node of the same name in a new ensemble is another candidacy.
    match candidates.iter().position(|candidate| candidate == own) {
        Some(0) => Standing::Leads,
        Some(before) => Standing::Waits(before),
        None => Standing::Gone,
    }
}

/// The fencing term of a candidacy.
pub fn term(term_base: i64, candidate: &Candidate) -> i64 {
    term_base.saturating_add(candidate.czxid)
}

/// What a leader does about its session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// Effects may be started.
    Live,
    /// Start no effect; what is in flight may still end.
    Hold,
    /// Throw away what is in flight, and start no effect.
    Purge,
    /// The session is over: drop everything and rejoin.
    Over,
}

/// Follows the session's state. After a purge the leader is whole again only by a rewind, which its caller does.
#[derive(Debug, Clone)]
pub struct SessionGuard {
    /// How long after the disconnection is noticed things in flight may still end.
    grace: Duration,
    lost_at: Option<Duration>,
    over: bool,
}

impl SessionGuard {
    /// For sessions with this timeout. A client notices silence after two thirds of it; a sixth later everything is
    /// purged, a sixth before the ensemble can give the session away.
    pub fn new(session_timeout: Duration) -> Self {
        Self { grace: session_timeout / 6, lost_at: None, over: false }
    }

    /// Takes the state as it is at `now` (any monotonic time) and says what that means.
    pub fn on(&mut self, state: SessionState, now: Duration) -> Session {
        match state {
            SessionState::Expired => self.over = true,
            SessionState::Connected => self.lost_at = None,
            SessionState::Disconnected => {
                self.lost_at.get_or_insert(now);
            }
        }
        match self.lost_at {
            _ if self.over => Session::Over,
            None => Session::Live,
            Some(since) if now < since + self.grace => Session::Hold,
            Some(_) => Session::Purge,
        }
    }

    /// When a [`Session::Hold`] turns into a [`Session::Purge`], on the scale of `now`.
    pub fn purge_at(&self) -> Option<Duration> {
        self.lost_at.map(|since| since + self.grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(node: &str, czxid: i64) -> Candidate {
        Candidate { node: node.to_owned(), czxid }
    }

    #[test]
    fn the_lowest_leads_and_a_namesake_is_another() {
        let all = [candidate("a-0001", 10), candidate("b-0002", 12)];
        assert_eq!(standing(&all[0], &all), Standing::Leads);
        assert_eq!(standing(&all[1], &all), Standing::Waits(1));
        assert_eq!(standing(&candidate("a-0001", 3), &all), Standing::Gone);
        assert_eq!(standing(&all[0], &[]), Standing::Gone);
    }

    #[test]
    fn terms_rise_with_czxid_and_with_the_base() {
        let (first, second) = (candidate("a", 10), candidate("b", 12));
        assert!(term(0, &second) > term(0, &first));
        assert!(term(term(0, &second), &candidate("c", 1)) > term(0, &second), "a new ensemble counts from low again");
    }

    #[test]
    fn disconnected_holds_then_purges_and_connected_goes_on() {
        let ms = Duration::from_millis;
        let mut guard = SessionGuard::new(ms(6000));
        assert_eq!(guard.on(SessionState::Connected, ms(0)), Session::Live);
        assert_eq!(guard.on(SessionState::Disconnected, ms(100)), Session::Hold);
        assert_eq!(guard.purge_at(), Some(ms(1100)));
        assert_eq!(guard.on(SessionState::Disconnected, ms(1099)), Session::Hold);
        assert_eq!(guard.on(SessionState::Connected, ms(1099)), Session::Live);
        assert_eq!(guard.on(SessionState::Disconnected, ms(2000)), Session::Hold);
        assert_eq!(guard.on(SessionState::Disconnected, ms(3000)), Session::Purge);
        assert_eq!(guard.on(SessionState::Connected, ms(3500)), Session::Live);
        assert_eq!(guard.on(SessionState::Expired, ms(3600)), Session::Over);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30_000))]

        /// Whatever is heard, in whatever order: nothing is started while disconnected, nothing runs longer than the
        /// grace, and an expiry is final.
        #[test]
        fn no_effect_without_a_session(heard in proptest::collection::vec((0u8..8, 1u64..900), 1..40)) {
            let mut guard = SessionGuard::new(Duration::from_millis(3000));
            let (mut now, mut lost, mut expired) = (0, None, false);
            for (what, wait) in heard {
                now += wait;
                let state = match what {
                    0..=3 => SessionState::Connected,
                    4..=6 => SessionState::Disconnected,
                    _ => SessionState::Expired,
                };
                expired |= state == SessionState::Expired;
                lost = match (state, lost) {
                    (SessionState::Connected, _) => None,
                    (SessionState::Disconnected, None) => Some(now),
                    (_, before) => before,
                };
                let expected = match lost {
                    _ if expired => Session::Over,
                    None => Session::Live,
                    Some(since) if now - since < 500 => Session::Hold,
                    Some(_) => Session::Purge,
                };
                prop_assert_eq!(guard.on(state, Duration::from_millis(now)), expected);
            }
        }
    }
}
