//! Who the node is, what it publishes, and what it relays.

use std::collections::BTreeSet;

use super::{Answer, FollowError, Reason, Step, TimeEvidence};
use crate::{
    bch::{FeeRate, Network},
    node::{ChainInfo, Notification, Reply, Request, Topic},
};

/// Asks who the node is, what it publishes and what it relays: at the start and after every new connection, for a
/// node that cannot bind an address starts without a word.
#[derive(Debug)]
pub struct Survey {
    network: Network,
    topics: Vec<Topic>,
    chain: Option<ChainInfo>,
    /// The time of the tip, in seconds since 1970.
    tip_s: u64,
    published: Vec<Notification>,
}

/// What a survey found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Whether the node is on our network: if it is not, nothing it says may be believed.
    pub ours: bool,
    /// The reasons not to be ready that it found.
    pub reasons: BTreeSet<Reason>,
    /// The least fee rate that the node relays (`relayfee`). One that is beyond all reason is the highest there is.
    pub relay_fee: FeeRate,
    /// What the node says of the time.
    pub time: TimeEvidence,
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
        Self { network, topics, chain: None, tip_s: 0, published: Vec::new() }
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
                let tip = chain.best_block;
                self.chain = Some(chain);
                Ok(Step::Ask(Request::Header(tip)))
            }
            Answer::Node(Reply::Header(header)) => {
                // A tip that is gone already was no older than the median of the blocks below it.
                let median = self.chain.as_ref().map_or(0, |chain| chain.median_time_s);
                self.tip_s = header.map_or(median, |header| header.time_s);
                Ok(Step::Ask(Request::ZmqNotifications))
            }
            Answer::Node(Reply::ZmqNotifications(published)) => {
                self.published = published;
                Ok(Step::Ask(Request::NetworkInfo))
            }
            Answer::Node(Reply::NetworkInfo(info)) => {
                let chain = self.chain.take().ok_or(FollowError::Confused)?;
                // The node counts by 1000 bytes, and so does the rate.
                let relay_fee = FeeRate::from_millisatoshis(info.relay_fee_satoshis_per_kb);
                let by_itself = self.network.mines_by_itself();
                let time = TimeEvidence::new(by_itself, &chain, self.tip_s, &info);
                Ok(Step::Done(self.found(chain, relay_fee.unwrap_or(FeeRate::MAX), time)))
            }
            Answer::Node(_) | Answer::Decoded(_) | Answer::Applied(_) => Err(FollowError::Confused),
        }
    }

    fn found(&self, chain: ChainInfo, relay_fee: FeeRate, time: TimeEvidence) -> Surveyed {
        let mut reasons = BTreeSet::new();
        for topic in &self.topics {
            if !self.published.iter().any(|notification| notification.topic == topic.name()) {
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
        Surveyed { ours, reasons, relay_fee, time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        invoice::Timestamp,
        node::{Header, NetworkInfo},
    };

    fn chain(name: &str, blocks: u32, headers: u32) -> ChainInfo {
        ChainInfo {
            chain: name.to_owned(),
            blocks,
            headers,
            best_block: bitcoincash::hashes::Hash::from_byte_array([1; 32]),
            median_time_s: 0,
            initial_block_download: false,
            pruned: false,
            prune_height: None,
            warnings: String::new(),
        }
    }

    fn survey(chain: ChainInfo, published: &[Topic], relay_fee: u64) -> Surveyed {
        let mut survey = Survey::new(Network::Regtest, vec![Topic::RawTx, Topic::HashBlock]);
        let published = published.iter().map(|topic| Notification {
            topic: topic.name().to_owned(),
            address: "tcp://127.0.0.1:28335".to_owned(),
        });
        let info = NetworkInfo {
            version: 28_000_100,
            subversion: String::new(),
            protocol_version: 70_016,
            connections: 0,
            time_offset_s: 0,
            relay_fee_satoshis_per_kb: relay_fee,
            warnings: String::new(),
        };
        let tip = Header {
            hash: chain.best_block,
            height: chain.blocks,
            previous: None,
            time_s: 7,
            confirmations: 1,
        };
        let replies = [
            Reply::ChainInfo(chain),
            Reply::Header(Some(tip)),
            Reply::ZmqNotifications(published.collect()),
            Reply::NetworkInfo(info),
        ];
        let mut step = survey.on(Answer::Begin).unwrap();
        for reply in replies {
            assert!(matches!(step, Step::Ask(_)));
            step = survey.on(Answer::Node(reply)).unwrap();
        }
        let Step::Done(found) = step else { panic!("{step:?}") };
        found
    }

    #[test]
    fn what_a_survey_finds() {
        let both = [Topic::RawTx, Topic::HashBlock];
        let found = survey(chain("regtest", 7, 8), &both, 1000);
        assert!(found.ours && found.reasons.is_empty());
        assert_eq!((found.relay_fee, found.time.tip), (FeeRate::default(), Timestamp::from_secs(7)));
        let found = survey(chain("regtest", 7, 9), &both[..1], 250);
        let reasons =
            BTreeSet::from([Reason::NodeCatchingUp, Reason::TopicNotPublished { topic: "hashblock" }]);
        assert_eq!((found.is_catching_up(), found.reasons), (true, reasons));
        assert_eq!(found.relay_fee.to_string(), "0.25");
        let found = survey(chain("main", 8, 8), &both, u64::MAX);
        assert!(
            !found.ours && found.reasons == BTreeSet::from([Reason::OtherNetwork { chain: "main".into() }])
        );
        assert_eq!(found.relay_fee, FeeRate::MAX);
    }
}
