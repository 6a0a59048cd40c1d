//! Planned faults: the next N calls of a kind fail in a named way.
//!
//! Only a queue. What a fault does is the model's business; when faults are planned is the test's or the simulator's.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Faults planned for one model, in the order in which they fire. `F` names the ways in which that model can fail.
#[derive(Debug)]
pub struct Faults<F> {
    planned: VecDeque<(F, u32)>,
    fired: u64,
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self { planned: VecDeque::new(), fired: 0 }
    }
}

impl<F: Copy + PartialEq> Faults<F> {
    /// Makes the next `times` calls to which the fault applies fail with it.
    pub fn plan(&mut self, fault: F, times: u32) {
        if times > 0 {
            self.planned.push_back((fault, times));
        }
    }

    /// Takes the first planned fault that `applies` to the call at hand.
    pub fn take(&mut self, applies: impl Fn(F) -> bool) -> Option<F> {
        let index = self.planned.iter().position(|(fault, _)| applies(*fault))?;
        let (fault, left) = self.planned.get_mut(index)?;
        let taken = *fault;
        *left -= 1;
        if *left == 0 {
            self.planned.remove(index);
        }
        self.fired += 1;
        Some(taken)
    }

    /// Forgets what is planned and has not fired.
    pub fn clear(&mut self) {
        self.planned.clear();
    }

    /// How many faults have fired: a test whose faults never fired proves nothing.
    pub fn fired(&self) -> u64 {
        self.fired
    }
}

/// Locks a model's state. A poisoned lock is taken over: the panic that poisoned it is reported by its own test.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_fire_in_order_and_run_out() {
        let mut faults = Faults::default();
        faults.plan('a', 1);
        faults.plan('b', 2);
        assert_eq!(faults.take(|f| f == 'b'), Some('b'));
        assert_eq!(faults.take(|_| true), Some('a'));
        assert_eq!(faults.take(|_| true), Some('b'));
        assert_eq!(faults.take(|_| true), None);
        assert_eq!(faults.fired(), 3);
    }
}
