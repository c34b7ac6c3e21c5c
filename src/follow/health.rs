//! The current state of the node: the reasons that make this program not ready, and those that degrade it.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};

use super::{Reason, Severity};
use crate::{bch::FeeRate, engine::running};

/// How long the node may be away before no invoice is created any more. An invoice that nobody watches is a lie.
const LONGEST_BLIND: Duration = Duration::from_secs(60);

/// Asked for its reason each time that anybody wants to know. It must not wait for anything.
type Source = Box<dyn Fn() -> Option<Reason> + Send + Sync>;

/// The current state of the node. The follower writes it, other modules add a [source](Health::add_source), and every
/// module can read it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health {
    inner: Arc<RwLock<Inner>>,
    sources: Arc<RwLock<Vec<Source>>>,
    /// The reasons that were logged.
    told: Arc<Mutex<BTreeSet<Reason>>>,
}

#[derive(Debug)]
struct Inner {
    /// Those of the follower.
    reasons: BTreeSet<Reason>,
    /// When the last complete pass ended, by [`running`]: a machine that slept has not passed.
    passed: Option<Duration>,
    /// The least fee rate that the node relays.
    relay_fee: Option<FeeRate>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { reasons: BTreeSet::from([Reason::Starting]), passed: None, relay_fee: None }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Health {
    /// Adds a source of a reason, for rooms that the follower does not know. It is asked each time that anybody wants to
    /// know, on the asking thread, so it reads a flag and does not wait. Its reason refuses creations at once if
    /// [`Reason::refuses_creation`] says so.
    pub fn add_source(&self, source: impl Fn() -> Option<Reason> + Send + Sync + 'static) {
        self.sources.write().push(Box::new(source));
    }

    /// Every reason there is at this moment, of both severities.
    pub fn reasons(&self) -> BTreeSet<Reason> {
        let mut reasons = self.inner.read().reasons.clone();
        // Asked now, not when the last pass ended: a pass that hangs ends never.
        if self.inner.read().passed.is_some() && !self.passed_within(LONGEST_BLIND) {
            reasons.insert(Reason::Behind);
        }
        reasons.extend(self.sources.read().iter().filter_map(|source| source()));
        reasons
    }

    /// Whether an invoice that is created now would be watched: there was a complete pass, and not too long ago, and
    /// nothing speaks against it that a pass does not tell.
    pub fn may_create(&self) -> bool {
        self.passed_within(LONGEST_BLIND) && !self.reasons().iter().any(Reason::refuses_creation)
    }

    /// Whether a payment that is made now would be noticed now: the node answers, and the last complete pass is not too
    /// long ago.
    pub fn watches(&self) -> bool {
        self.passed_within(LONGEST_BLIND) && !self.inner.read().reasons.iter().any(Reason::hides_payments)
    }

    /// Whether a complete pass ended no longer ago than this.
    pub fn passed_within(&self, time: Duration) -> bool {
        self.inner.read().passed.is_some_and(|passed| running().saturating_sub(passed) <= time)
    }

    /// Says that a complete pass ended now.
    pub fn pass_ended(&self) {
        self.inner.write().passed = Some(running());
    }

    /// The least fee rate that the node relays, as it said last; `None` as long as it was not asked.
    pub fn relay_fee(&self) -> Option<FeeRate> {
        self.inner.read().relay_fee
    }

    /// Notes what the node says that it relays.
    pub fn set_relay_fee(&self, rate: FeeRate) {
        self.inner.write().relay_fee = Some(rate);
    }

    /// Replaces the reasons of the follower; what is new or gone is told.
    pub fn set(&self, reasons: BTreeSet<Reason>) {
        self.inner.write().reasons = reasons;
        self.tell();
    }

    /// Logs which reasons are new and which are gone since it was called last, and sets `jppd_ready` and
    /// `jppd_reason{name,severity}`. What a source says is told no earlier than this is called.
    pub fn tell(&self) {
        // Held until all is logged, so that two callers do not log one change twice.
        let mut told = self.told.lock();
        let reasons = self.reasons();
        for reason in reasons.difference(&told) {
            match reason.severity() {
                // Every start begins with it, so a healthy one warns of nothing.
                Severity::Blocking if *reason == Reason::Starting => {
                    tracing::info!(reason = reason.name(), "not ready: {reason}");
                }
                Severity::Blocking => tracing::warn!(reason = reason.name(), "not ready: {reason}"),
                Severity::Degraded => tracing::warn!(reason = reason.name(), "degraded: {reason}"),
            }
        }
        for reason in told.difference(&reasons) {
            tracing::info!(reason = reason.name(), "no longer: {reason}");
        }
        let mut ready = 1.0;
        for (name, severity) in Reason::ALL {
            let there = reasons.iter().any(|reason| reason.name() == *name);
            if there && *severity == Severity::Blocking {
                ready = 0.0;
            }
            let gauge = metrics::gauge!("jppd_reason", "name" => *name, "severity" => severity.name());
            gauge.set(if there { 1.0 } else { 0.0 });
        }
        metrics::gauge!("jppd_ready").set(ready);
        *told = reasons;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_source_is_asked_each_time() {
        let health = Health::default();
        health.set(BTreeSet::new());
        health.pass_ended();
        let (wrong, flag) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (asked, other) = (wrong.clone(), flag.clone());
        health.add_source(move || asked.load(Ordering::Relaxed).then_some(Reason::StoreUnavailable));
        health.add_source(move || other.load(Ordering::Relaxed).then_some(Reason::ClockWrong));
        assert!(health.reasons().is_empty() && health.may_create());
        wrong.store(true, Ordering::Relaxed);
        assert_eq!(health.reasons(), BTreeSet::from([Reason::StoreUnavailable]));
        assert!(health.may_create(), "the store itself refuses");
        flag.store(true, Ordering::Relaxed);
        assert_eq!(health.reasons(), BTreeSet::from([Reason::ClockWrong, Reason::StoreUnavailable]));
        assert!(!health.may_create());
        flag.store(false, Ordering::Relaxed);
        wrong.store(false, Ordering::Relaxed);
        assert!(health.reasons().is_empty() && health.may_create());
    }

    #[test]
    fn the_meters_name_every_reason() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let health = Health::default();
            let topic = Reason::TopicNotPublished { topic: "hashds" };
            let line = |name: &str, severity: &str, value: u8| {
                format!("jppd_reason{{name=\"{name}\",severity=\"{severity}\"}} {value}\n")
            };
            health.set(BTreeSet::from([Reason::NodeUnreachable, topic.clone()]));
            let text = handle.render();
            assert!(text.contains("jppd_ready 0\n"), "{text}");
            assert!(text.contains(&line("node_unreachable", "blocking", 1)), "{text}");
            assert!(text.contains(&line("topic_not_published", "degraded", 1)), "{text}");
            health.set(BTreeSet::from([topic]));
            let text = handle.render();
            assert!(text.contains("jppd_ready 1\n"), "a degraded program is ready: {text}");
            for (name, severity) in Reason::ALL {
                let value = u8::from(*name == "topic_not_published");
                assert!(text.contains(&line(name, severity.name(), value)), "{name} is not in {text}");
            }
        });
    }
}
