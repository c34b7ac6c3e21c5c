//! Why no payer should be sent here, or why something works less well than it could.

use std::{fmt, time::Instant};

/// The beginning of something that still goes on. Displays as its age in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Since(pub Instant);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.elapsed().as_secs())
    }
}

/// How much a reason weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// No payer should be sent here: `/readyz` answers 503.
    Blocking,
    /// Everything works, some of it later or with less warning: `/readyz` answers 200 and lists it.
    Degraded,
}

impl Severity {
    /// The word by which the meters name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Degraded => "degraded",
        }
    }
}

/// Makes [`Reason`] of one entry for each: variant with its fields, name, severity, text. A text may use the fields.
macro_rules! reasons {
    ($(
        $(#[$doc:meta])*
        $variant:ident $({ $( $(#[$field_doc:meta])* $field:ident : $kind:ty, )* })?
        = $name:literal, $severity:ident, $text:literal;
    )*) => {
        /// Why the program is not ready, or works less well than it could. Displays as a sentence that says what to do.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $( $(#[$doc])* $variant $({ $( $(#[$field_doc])* $field: $kind, )* })?, )*
        }

        impl Reason {
            /// Name and severity of every reason that there is.
            pub const ALL: &[(&str, Severity)] = &[ $( ($name, Severity::$severity), )* ];

            /// The word by which `/readyz` and the meters name it.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$variant { .. } => $name, )* }
            }

            /// Whether it keeps payers away.
            pub fn severity(&self) -> Severity {
                match self { $( Self::$variant { .. } => Severity::$severity, )* }
            }
        }

        impl fmt::Display for Reason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $( Self::$variant $({ $( $field, )* })? => write!(f, $text), )* }
            }
        }
    };
}

reasons! {
    /// No complete pass over chain and mempool since the start.
    Starting = "starting", Blocking,
        "jppd has not looked through the node's chain and mempool yet; wait, and if this lasts, look at the other reasons";
    /// The node cannot be reached, or does not answer.
    NodeUnreachable = "node_unreachable", Blocking,
        "the node does not answer; start it, and compare node.rpc_url with its rpcport and rpcbind";
    /// The node refuses our credentials.
    NodeUnauthorized = "node_unauthorized", Blocking,
        "the node refuses the log-in; check node.rpc_cookie_file, or node.rpc_user and node.rpc_password_file";
    /// This process may open no more files, so the node cannot be asked.
    OutOfFiles = "out_of_files", Blocking,
        "jppd may open no more files, so it cannot ask the node; raise LimitNOFILE=, or lower limits.max_connections and \
         limits.max_sockets";
    /// The node has switched its RPC off, because its software is too old (-100).
    NodeSoftwareExpired = "node_software_expired", Blocking,
        "node software expired: it answers no RPC any more; update it, or start it with -expire=0";
    /// The node is warming up, or reading its mempool.
    NodeWarmingUp = "node_warming_up", Blocking,
        "the node is starting, or still reads its mempool; wait";
    /// The node is on another network than the configuration says.
    OtherNetwork {
        /// The node's word for it.
        chain: String,
    } = "other_network", Blocking,
        "the node is on the chain `{chain}`, not on the one of node.network; correct node.network or node.rpc_url";
    /// The node answers, but not as Bitcoin Cash Node does.
    NodeNotUnderstood = "node_not_understood", Blocking,
        "what answers at node.rpc_url does not answer as Bitcoin Cash Node 28 does; look at the log, and at what listens or \
         stands in between there";
    /// The node's chain and that of the store have no block in common.
    NoCommonBlock = "no_common_block", Blocking,
        "the node has no block in common with the chain in store.path: its chain was made anew (regtest), or the store \
         belongs to another node; point node.rpc_url at that node, or store.path at a new folder";
    /// The node is downloading the chain.
    NodeCatchingUp = "node_catching_up", Blocking,
        "the node is downloading the chain, and takes no payments meanwhile; wait until it is done";
    /// We are walking the chain.
    CatchingUp {
        /// How many blocks remain.
        remaining: u32,
    } = "catching_up", Blocking,
        "jppd reads the blocks that were mined while it was away: {remaining} remain; wait";
    /// The node deleted blocks that we have not walked. They are not skipped: payments may be in them.
    HistoryPruned {
        /// The first height that is missing.
        from: u32,
        /// The last one.
        to: u32,
    } = "history_pruned", Blocking,
        "the node has deleted the blocks from height {from} to {to}, which may hold payments; ask a node that has them, \
         or see `jppd gap`";
    /// No complete pass for longer than a minute: no invoice is created.
    Behind = "behind", Blocking,
        "jppd has not looked through chain and mempool for more than a minute; look at the other reasons and the log";
    /// The node does not publish a topic that is configured.
    TopicNotPublished {
        /// Its name, such as `rawtx`.
        topic: &'static str,
    } = "topic_not_published", Degraded,
        "the node does not publish {topic}; set zmqpub{topic} in its bitcoin.conf and restart it, or clear \
         node.zmq_{topic}; until then jppd asks every few seconds";
    /// The node publishes a topic, and not at the port where it is configured.
    TopicElsewhere {
        /// Its name, such as `rawtx`.
        topic: &'static str,
        /// Where the node publishes it.
        address: String,
    } = "topic_elsewhere", Degraded,
        "the node publishes {topic} at {address}, which is not the address of node.zmq_{topic}; correct one of the two, unless \
         a port is forwarded between them; until then what arrives may be of another node, or nothing";
    /// A topic is configured and there has been no connection for half a minute.
    TopicNotConnected {
        /// Its name, such as `rawtx`.
        topic: &'static str,
    } = "topic_not_connected", Degraded,
        "there is no connection to node.zmq_{topic} since half a minute or longer; compare it with zmqpub{topic} in the node's \
         bitcoin.conf, and see that nothing stands in between; until then jppd asks every few seconds";
    /// The chain or the node's peers prove that a clock is wrong: no invoice is created, and no deadline judged.
    ClockWrong = "clock_wrong", Blocking,
        "the clock of this machine, or of the node, is wrong by what the blocks or the node's peers say: no invoice is \
         made, and none expires; set the clock, and this ends by itself";
    /// The wall clock shows less than was shown before the start, or is far from the node's.
    ClockDoubtful = "clock_doubtful", Degraded,
        "the clock shows less than it did before the start, or over a minute more or less than the node's: compare the \
         clocks of both machines, and set the one that is wrong";
    /// The store cannot be written.
    StoreUnavailable = "store_unavailable", Blocking,
        "the store cannot be read or written; make room on its disk, or mend it: the log has the system's words";
    /// A write of the store takes longer than 5 seconds.
    StoreSlow {
        /// When the write began.
        since: Since,
    } = "store_slow", Blocking,
        "a write of the store has been under way for {since}; its disk hangs or is far too slow: look at the disk and at \
         the kernel's log; no restart mends it";
    /// The disk of the store has less room than `store.min_free`.
    DiskLow = "disk_low", Blocking,
        "the disk of the store has less free room than store.min_free, so no invoice is created; make room, or lower \
         store.min_free";
    /// Something went wrong that is a bug of this program, not the node's fault.
    InternalError {
        /// Text of the error.
        what: String,
    } = "internal_error", Blocking,
        "an error of jppd itself, not of the node: {what}; report it with the log, and update jppd";
}

impl Reason {
    /// Whether no invoice may be created while it lasts, from its first moment on. A reason that is not among these stops
    /// creations as well once no pass has ended for a minute.
    pub fn refuses_creation(&self) -> bool {
        matches!(
            self,
            Self::OtherNetwork { .. }
                | Self::NoCommonBlock
                | Self::HistoryPruned { .. }
                | Self::ClockWrong
                | Self::DiskLow
        )
    }

    /// Whether it is about the clocks.
    pub(super) fn is_of_the_clock(&self) -> bool {
        matches!(self, Self::ClockWrong | Self::ClockDoubtful)
    }

    /// Whether a payment that is made while it lasts is not seen.
    pub(super) fn hides_payments(&self) -> bool {
        matches!(
            self,
            Self::NodeUnreachable
                | Self::NodeUnauthorized
                | Self::OutOfFiles
                | Self::NodeSoftwareExpired
                | Self::NodeWarmingUp
                | Self::OtherNetwork { .. }
                | Self::NodeNotUnderstood
                | Self::NoCommonBlock
                | Self::InternalError { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_words_and_each_is_there_once() {
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for name in names {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
    }

    #[test]
    fn a_text_takes_in_its_fields() {
        let pruned = Reason::HistoryPruned { from: 3, to: 7 };
        assert_eq!((pruned.name(), pruned.severity()), ("history_pruned", Severity::Blocking));
        assert!(pruned.to_string().contains("the blocks from height 3 to 7, which"), "{pruned}");
        let topic = Reason::TopicNotPublished { topic: "rawtx" };
        assert_eq!((topic.name(), topic.severity()), ("topic_not_published", Severity::Degraded));
        assert!(topic.to_string().contains("set zmqpubrawtx in"), "{topic}");
    }

    /// The table that operators read has every reason, with its severity, and no other.
    #[test]
    fn operations_explains_every_reason() {
        let page = include_str!("../../docs/OPERATIONS.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| `/readyz` names |")).skip(2);
        let mut explained = BTreeSet::new();
        for row in rows.take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [_, names, severity, ..] = cells[..] else { panic!("{row}") };
            for name in names.split(", ") {
                explained.insert((name.trim_matches('`').to_owned(), severity.to_owned()));
            }
        }
        let known =
            Reason::ALL.iter().map(|(name, severity)| ((*name).to_owned(), severity.name().to_owned()));
        assert_eq!(explained, known.collect());
    }
}
