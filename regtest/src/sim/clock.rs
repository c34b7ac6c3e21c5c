//! The one place where this crate reads the wall clock, and the handle by which a test moves a stand-in's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use hyper::header::HeaderValue;

/// Seconds since 1970, from the machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the only reader; everything else takes the time as an argument"
)]
pub(crate) fn wall_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The time of a stand-in: the wall clock, moved or replaced. Clones share one time.
#[derive(Clone, Debug, Default)]
pub struct SimClock {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    offset: AtomicI64,
    /// A fixed time; 0 lets the wall clock run, as `setmocktime 0` does.
    fixed: AtomicU64,
}

impl SimClock {
    /// Now, in unix seconds.
    pub fn now(&self) -> u64 {
        match self.shared.fixed.load(Ordering::SeqCst) {
            0 => wall_time().saturating_add_signed(self.shared.offset.load(Ordering::SeqCst)),
            fixed => fixed,
        }
    }

    /// The `Date` of an answer. The node writes what the machine's clock shows, whatever `setmocktime` says.
    pub(crate) fn date(&self) -> HeaderValue {
        let shown = wall_time().saturating_add_signed(self.shared.offset.load(Ordering::SeqCst));
        let date = i64::try_from(shown).ok().and_then(|secs| DateTime::from_timestamp(secs, 0));
        let text = date.unwrap_or_default().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Moves the running clock by `seconds`, back when negative. It adds up. A fixed time moves, too.
    pub fn advance(&self, seconds: i64) {
        self.shared.offset.fetch_add(seconds, Ordering::SeqCst);
        // Only a fixed time of 0 would be in the way, and that one stands for "not fixed".
        let _ = self.shared.fixed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |fixed| {
            (fixed != 0).then(|| fixed.saturating_add_signed(seconds))
        });
    }

    /// Stands still at `unix` seconds from now on; 0 gives the wall clock back.
    pub fn fix(&self, unix: u64) {
        self.shared.fixed.store(unix, Ordering::SeqCst);
    }
}
