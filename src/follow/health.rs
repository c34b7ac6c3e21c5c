//! What is known of the node right now: the reasons not to be ready.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;

use crate::bch::FeeRate;

/// How long the node may be away before no invoice is created any more. An invoice that nobody watches is a lie.
const LONGEST_BLIND: Duration = Duration::from_secs(60);

/// Why the program is not ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No complete pass over chain and mempool since the start.
    Starting,
    /// The node cannot be reached, or does not answer.
    NodeUnreachable,
    /// The node refuses our credentials.
    NodeUnauthorized,
    /// The node has switched its RPC off, because its software is too old (-100).
    NodeSoftwareExpired,
    /// The node is warming up, or reading its mempool.
    NodeWarmingUp,
    /// The node is on another network than the configuration says.
    OtherNetwork {
        /// The node's word for it.
        chain: String,
    },
    /// The node is downloading the chain.
    NodeCatchingUp,
    /// We are walking the chain.
    CatchingUp {
        /// How many blocks remain.
        remaining: u32,
    },
    /// The node deleted blocks that we have not walked. They are not skipped: payments may be in them.
    HistoryPruned {
        /// The first height that is missing.
        from: u32,
        /// The last one.
        to: u32,
    },
    /// No complete pass for longer than a minute: no invoice is created.
    Behind,
    /// The node does not publish a topic that is configured.
    TopicNotPublished {
        /// Its name, such as `rawtx`.
        topic: &'static str,
    },
    /// The wall clock runs ahead of the monotonic one: expiries are not judged.
    ClockAhead,
    /// The store cannot be written.
    StoreUnavailable,
}

impl Reason {
    /// The word by which `/readyz` names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::NodeUnreachable => "node_unreachable",
            Self::NodeUnauthorized => "node_unauthorized",
            Self::NodeSoftwareExpired => "node_software_expired",
            Self::NodeWarmingUp => "node_warming_up",
            Self::OtherNetwork { .. } => "other_network",
            Self::NodeCatchingUp => "node_catching_up",
            Self::CatchingUp { .. } => "catching_up",
            Self::HistoryPruned { .. } => "history_pruned",
            Self::Behind => "behind",
            Self::TopicNotPublished { .. } => "topic_not_published",
            Self::ClockAhead => "clock_ahead",
            Self::StoreUnavailable => "store_unavailable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("no complete pass over chain and mempool yet"),
            Self::NodeUnreachable => f.write_str("the node cannot be reached, or does not answer"),
            Self::NodeUnauthorized => f.write_str("the node refuses our credentials"),
            Self::NodeSoftwareExpired => f.write_str(
                "node software expired: it answers no RPC any more; update it, or start it with -expire=0",
            ),
            Self::NodeWarmingUp => f.write_str("the node is warming up"),
            Self::OtherNetwork { chain } => write!(f, "the node is on the chain `{chain}`, not on ours"),
            Self::NodeCatchingUp => f.write_str("the node is downloading the chain"),
            Self::CatchingUp { remaining } => write!(f, "walking the chain: {remaining} blocks remain"),
            Self::HistoryPruned { from, to } => write!(
                f,
                "the node has deleted the blocks from height {from} to {to}, which may hold payments; see \
                 `jppd gap`"
            ),
            Self::Behind => f.write_str("no complete pass over chain and mempool for more than a minute"),
            Self::TopicNotPublished { topic } => write!(f, "the node does not publish {topic}"),
            Self::ClockAhead => f.write_str("the wall clock jumped ahead; expiries wait"),
            Self::StoreUnavailable => f.write_str("the store cannot be written"),
        }
    }
}

/// What is known of the node right now. The follower writes it, everybody may ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Debug)]
struct Inner {
    reasons: BTreeSet<Reason>,
    /// When the last complete pass ended.
    passed: Option<Instant>,
    /// The least fee rate that the node relays.
    relay_fee: Option<FeeRate>,
}

impl Default for Health {
    fn default() -> Self {
        let reasons = BTreeSet::from([Reason::Starting]);
        Self { inner: Arc::new(RwLock::new(Inner { reasons, passed: None, relay_fee: None })) }
    }
}

impl Health {
    /// The reasons not to be ready; none means ready.
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = self.inner.read().reasons.iter().cloned().collect();
        // Asked now, not when the last pass ended: a pass that hangs ends never.
        if self.inner.read().passed.is_some() && !self.passed_within(LONGEST_BLIND) {
            reasons.push(Reason::Behind);
        }
        reasons
    }

    /// Whether an invoice that is created now would be watched: there was a complete pass, and not too long ago.
    pub fn may_create(&self) -> bool {
        self.passed_within(LONGEST_BLIND) && !self.has(&Reason::ClockAhead)
    }

    /// Whether a payment that is made now would be noticed now: the node answers, and the last complete pass is not too
    /// long ago.
    pub fn watches(&self) -> bool {
        self.passed_within(LONGEST_BLIND) && self.node_is_there()
    }

    /// Whether a complete pass ended no longer ago than this.
    pub fn passed_within(&self, time: Duration) -> bool {
        self.inner.read().passed.is_some_and(|passed| passed.elapsed() <= time)
    }

    /// Whether this is one of the reasons.
    pub fn has(&self, reason: &Reason) -> bool {
        self.inner.read().reasons.contains(reason)
    }

    /// Whether the node can be asked now, as far as is known.
    pub fn node_is_there(&self) -> bool {
        !self.inner.read().reasons.iter().any(|reason| {
            matches!(
                reason,
                Reason::NodeUnreachable
                    | Reason::NodeUnauthorized
                    | Reason::NodeSoftwareExpired
                    | Reason::NodeWarmingUp
                    | Reason::OtherNetwork { .. }
            )
        })
    }

    /// Says that a complete pass ended now.
    pub fn pass_ended(&self) {
        self.inner.write().passed = Some(Instant::now());
    }

    /// The least fee rate that the node relays, as it said last; `None` as long as it was not asked.
    pub fn relay_fee(&self) -> Option<FeeRate> {
        self.inner.read().relay_fee
    }

    /// Notes what the node says that it relays.
    pub fn set_relay_fee(&self, rate: FeeRate) {
        self.inner.write().relay_fee = Some(rate);
    }

    /// Replaces the reasons; what is new or gone is logged.
    pub fn set(&self, reasons: BTreeSet<Reason>) {
        let mut inner = self.inner.write();
        for reason in reasons.difference(&inner.reasons) {
            tracing::warn!(reason = reason.name(), "not ready: {reason}");
        }
        for reason in inner.reasons.difference(&reasons) {
            tracing::info!(reason = reason.name(), "no longer: {reason}");
        }
        inner.reasons = reasons;
    }
}
