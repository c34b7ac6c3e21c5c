//! The pulse of a loop: whether it moves, or waits for something that is not up to it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Shows from outside whether a loop moves. The loop counts its steps, and notes while it waits for a disk, or for another
/// loop that has a pulse of its own. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    steps: AtomicU64,
    waits: AtomicU64,
}

/// A pulse at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PulseReading {
    /// How many steps the loop has made since its start.
    pub steps: u64,
    /// Whether the loop waits for something that may take any length of time.
    pub waits: bool,
}

/// A wait that is noted for as long as this is held.
#[derive(Debug)]
pub struct Waiting<'a> {
    pulse: &'a Pulse,
}

impl Pulse {
    /// Counts one step.
    pub fn step(&self) {
        self.inner.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a wait that may take any length of time.
    pub fn waiting(&self) -> Waiting<'_> {
        self.inner.waits.fetch_add(1, Ordering::Relaxed);
        Waiting { pulse: self }
    }

    /// The pulse as it is now.
    pub fn read(&self) -> PulseReading {
        PulseReading {
            steps: self.inner.steps.load(Ordering::Relaxed),
            waits: self.inner.waits.load(Ordering::Relaxed) > 0,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // The step first: between the two a reader must not find a loop that neither waited nor moved.
        self.pulse.step();
        self.pulse.inner.waits.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_noted_while_it_lasts_and_counts_as_a_step() {
        let pulse = Pulse::default();
        pulse.step();
        assert_eq!(pulse.read(), PulseReading { steps: 1, waits: false });
        let waiting = pulse.waiting();
        assert_eq!(pulse.read(), PulseReading { steps: 1, waits: true });
        drop(waiting);
        assert_eq!(pulse.read(), PulseReading { steps: 2, waits: false });
    }
}
