//! The word to systemd that the program lives, from a thread of its own: it is given only while the loops move that the
//! program is there for, the engine's and the follower's.
//!
//! A loop that waits for a disk is alive, for no restart mends a disk. The engine notes its writes; that another thread
//! waits for a disk is what the kernel says. A node that is away keeps no loop from moving.

use std::{
    fs,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::systemd::notify;
use crate::engine::{Engine, Pulse, PulseReading};

/// How often the loops are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the engine may go without a step. It is asked for one at every look.
const ENGINE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the follower may go without a step while it waits for neither the node, nor the engine, nor a disk: twice the
/// longest pause between two passes.
const FOLLOWER_PATIENCE: Duration = Duration::from_secs(60);

/// The thread that feeds systemd's watchdog. It ends when this is dropped.
pub(super) struct Watchdog {
    _stop: mpsc::SyncSender<()>,
}

impl Watchdog {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system's, if there is no thread to be had.
    pub(super) fn start(engine: Engine, follower: Pulse) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let watch = move || {
            let mut loops =
                [Watched::new("engine", ENGINE_PATIENCE), Watched::new("follower", FOLLOWER_PATIENCE)];
            loop {
                engine.ping();
                let now = Instant::now();
                let readings = [engine.pulse(), follower.read()];
                let mut lives = true;
                for (watched, reading) in loops.iter_mut().zip(readings) {
                    lives &= watched.lives(reading, now, waits_for_a_disk);
                }
                if lives {
                    notify(&[sd_notify::NotifyState::Watchdog]);
                }
                match stopped.recv_timeout(INTERVAL) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
        Ok(Self { _stop: stop })
    }
}

/// A loop that is looked at from time to time.
struct Watched {
    name: &'static str,
    patience: Duration,
    /// The steps that were seen last, and when they changed.
    last: Option<(u64, Instant)>,
    /// Whether the loop was told as one that hangs.
    told: bool,
}

impl Watched {
    fn new(name: &'static str, patience: Duration) -> Self {
        Self { name, patience, last: None, told: false }
    }

    /// Whether the loop lives: it made a step within its patience, or it waits for a disk.
    fn lives(&mut self, reading: PulseReading, now: Instant, on_disk: impl FnOnce() -> bool) -> bool {
        let PulseReading { steps, waits } = reading;
        let since = match self.last {
            Some((seen, since)) if seen == steps && !waits => since,
            _ => {
                self.last = Some((steps, now));
                now
            }
        };
        let still = now.saturating_duration_since(since);
        let lives = still <= self.patience || on_disk();
        if lives == self.told {
            self.told = !lives;
            if lives {
                tracing::warn!("the {}'s loop moves again", self.name);
            } else {
                tracing::error!(
                    "the {}'s loop has not moved for {} s; systemd's watchdog is not fed until it does",
                    self.name,
                    still.as_secs()
                );
            }
        }
        lives
    }
}

/// Whether a thread of this program waits for a disk: in the state D, which nothing but the disk ends.
fn waits_for_a_disk() -> bool {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return false };
    let mut states =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    states.any(|stat| is_disk_wait(&stat))
}

/// Whether a line of `/proc/PID/task/TID/stat` has the state D. The state follows the name in brackets, which may have
/// brackets and spaces of its own.
fn is_disk_wait(stat: &str) -> bool {
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('D'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(steps: u64, waits: bool) -> PulseReading {
        PulseReading { steps, waits }
    }

    #[test]
    fn a_loop_lives_while_it_moves_or_waits_for_a_disk() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watched = Watched::new("engine", Duration::from_secs(10));
        assert!(watched.lives(reading(1, false), at(0), || false));
        assert!(watched.lives(reading(1, false), at(10), || false), "within its patience");
        assert!(!watched.lives(reading(1, false), at(11), || false), "it hangs");
        assert!(watched.lives(reading(1, false), at(12), || true), "a thread waits for a disk");
        assert!(!watched.lives(reading(1, false), at(13), || false));
        assert!(watched.lives(reading(2, false), at(14), || false), "it moves again");
        assert!(watched.lives(reading(2, true), at(1_000), || false), "a write that lasts");
        assert!(watched.lives(reading(2, true), at(9_000), || false));
        assert!(watched.lives(reading(2, false), at(9_010), || false), "the wait counts as a step");
        assert!(!watched.lives(reading(2, false), at(9_011), || false));
    }

    #[test]
    fn the_state_of_a_thread_is_read_behind_its_name() {
        assert!(is_disk_wait("17 (engine) D 1 17 17 0"));
        assert!(is_disk_wait("17 (a) S (b) D 1 17 17 0"));
        assert!(!is_disk_wait("17 (engine) S 1 17 17 0"));
        assert!(!is_disk_wait("17 (D) t 1 17 17 0"));
        assert!(!is_disk_wait(""));
        let own = fs::read_to_string("/proc/thread-self/stat").unwrap();
        assert!(!is_disk_wait(&own), "a thread that runs waits for nothing: {own}");
    }
}
