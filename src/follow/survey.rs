//! Who the node is, and what it publishes.

use std::collections::BTreeSet;

use super::{Answer, FollowError, Reason, Step};
use crate::{
    bch::Network,
    node::{ChainInfo, Reply, Request, Topic},
};

/// Asks who the node is, and what it publishes: at the start and after every new connection, for a node that
/// cannot bind an address starts without a word.
#[derive(Debug)]
pub struct Survey {
    network: Network,
    topics: Vec<Topic>,
    chain: Option<ChainInfo>,
}

/// What a survey found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Whether the node is on our network: if it is not, nothing it says may be believed.
    pub ours: bool,
    /// The reasons not to be ready that it found.
    pub reasons: BTreeSet<Reason>,
}

impl Surveyed {
    /// Whether the node has blocks still to download.
    pub fn is_catching_up(&self) -> bool {
        self.reasons.contains(&Reason::NodeCatchingUp)
    }
}

impl Survey {
    /// A survey for a network, and the topics that are configured.
    pub fn new(network: Network, topics: Vec<Topic>) -> Self {
        Self { network, topics, chain: None }
    }

    /// Takes an answer and says what is next.
    ///
    /// # Errors
    ///
    /// [`FollowError`].
    pub fn on(&mut self, answer: Answer) -> Result<Step<Surveyed>, FollowError> {
        match answer {
            Answer::Begin => Ok(Step::Ask(Request::ChainInfo)),
            Answer::Node(Reply::ChainInfo(chain)) => {
                self.chain = Some(chain);
                Ok(Step::Ask(Request::ZmqNotifications))
            }
            Answer::Node(Reply::ZmqNotifications(published)) => {
                let Some(chain) = self.chain.take() else { return Err(FollowError::Confused) };
                let mut reasons = BTreeSet::new();
                for topic in &self.topics {
                    if !published.iter().any(|notification| notification.topic == topic.name()) {
                        reasons.insert(Reason::TopicNotPublished { topic: topic.name() });
                    }
                }
                if chain.initial_block_download || chain.blocks.saturating_add(1) < chain.headers {
                    reasons.insert(Reason::NodeCatchingUp);
                }
                let ours = chain.chain == self.network.chain();
                if !ours {
                    reasons.insert(Reason::OtherNetwork { chain: chain.chain });
                }
                Ok(Step::Done(Surveyed { ours, reasons }))
            }
            Answer::Node(_) | Answer::Decoded(_) | Answer::Applied(_) => Err(FollowError::Confused),
        }
    }
}
