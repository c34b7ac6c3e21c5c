//! How completely this process knows the node's mempool.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// For how long after a complete pass everything older is taken to be noted, where ZMQ does not tell of what comes.
const CURRENT: Duration = Duration::from_secs(5);

/// How completely this process knows the node's mempool: a transaction that the node has, and that was not noted, came
/// after the last complete pass. How long ago that can be decides whether its age is known.
///
/// Times are those of [`running`](super::running).
#[derive(Debug, Default)]
pub struct Coverage {
    inner: Mutex<Inner>,
    passed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// When the last complete pass ended.
    passed: Option<Duration>,
    /// Whether ZMQ tells of transactions at the moment.
    connected: bool,
    /// Whether messages were missed since the pass under way began.
    missed: bool,
    /// Whether ZMQ told of everything since the last complete pass began.
    told: bool,
}

impl Coverage {
    /// ZMQ tells of transactions from now on, or does not any more.
    pub fn connected(&self, connected: bool) {
        let mut inner = self.inner.lock();
        inner.connected = connected;
        (inner.missed, inner.told) = (true, false);
    }

    /// Messages are missing.
    pub fn missed(&self) {
        let mut inner = self.inner.lock();
        (inner.missed, inner.told) = (true, false);
    }

    /// A pass begins.
    pub fn pass_begins(&self) {
        self.inner.lock().missed = false;
    }

    /// A pass was complete.
    pub fn pass_ended(&self, now: Duration) {
        let mut inner = self.inner.lock();
        inner.passed = Some(now);
        inner.told = inner.connected && !inner.missed;
        drop(inner);
        self.passed.notify_waiters();
    }

    /// Whether a transaction that was not noted came just now: a pass was complete in the last seconds, or ZMQ told of
    /// everything since the last one.
    pub fn is_current(&self, now: Duration) -> bool {
        let inner = self.inner.lock();
        inner.passed.is_some_and(|passed| inner.told || now.saturating_sub(passed) <= CURRENT)
    }

    /// Waits until a pass is complete, for as long as one stays current. Says whether one was.
    pub async fn pass(&self) -> bool {
        tokio::time::timeout(CURRENT, self.passed.notified()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn passed(coverage: &Coverage, now: Duration) {
        coverage.pass_begins();
        coverage.pass_ended(now);
    }

    #[test]
    fn what_is_not_noted_is_new_only_where_nothing_was_missed() {
        let coverage = Coverage::default();
        assert!(!coverage.is_current(SECOND), "no pass yet");
        passed(&coverage, 10 * SECOND);
        assert!(coverage.is_current(15 * SECOND) && !coverage.is_current(16 * SECOND), "passes alone");
        coverage.connected(true);
        assert!(!coverage.is_current(16 * SECOND), "connected since, and nobody knows what came before");
        passed(&coverage, 20 * SECOND);
        assert!(coverage.is_current(900 * SECOND), "ZMQ told of everything");
        coverage.missed();
        assert!(!coverage.is_current(900 * SECOND));
        coverage.pass_begins();
        coverage.missed();
        coverage.pass_ended(910 * SECOND);
        assert!(coverage.is_current(915 * SECOND) && !coverage.is_current(916 * SECOND), "missed meanwhile");
        passed(&coverage, 920 * SECOND);
        coverage.connected(false);
        assert!(!coverage.is_current(926 * SECOND));
    }

    #[tokio::test]
    async fn a_pass_is_waited_for() {
        let coverage = std::sync::Arc::new(Coverage::default());
        let other = coverage.clone();
        let waiting = tokio::spawn(async move { other.pass().await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        coverage.pass_ended(SECOND);
        assert!(waiting.await.unwrap());
    }
}
