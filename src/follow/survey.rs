//! Who the node is, what it publishes, and what it relays.

use std::collections::BTreeSet;

use super::{Answer, FollowError, Reason, Step, TimeEvidence};
use crate::{
    bch::{FeeRate, Network},
    node::{ChainInfo, ChainTips, Notification, Reply, Request, Topic},
};

/// Asks who the node is, what it publishes and what it relays: at the start and after every new connection, for a
/// node that cannot bind an address starts without a word.
#[derive(Debug)]
pub struct Survey {
    network: Network,
    topics: Vec<(Topic, String)>,
    chain: Option<ChainInfo>,
    /// The time of the tip, in seconds since 1970.
    tip_s: u64,
    /// Whether blocks are missing; known once the branches were asked for, if they had to be.
    lags: bool,
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
    /// Evidence of the current time from the node's answers.
    pub time: TimeEvidence,
}

impl Surveyed {
    /// Whether the node has blocks still to download.
    pub fn is_catching_up(&self) -> bool {
        self.reasons.contains(&Reason::NodeCatchingUp)
    }
}

impl Survey {
    /// A survey for a network, and the topics that are configured, each with its address.
    pub fn new(network: Network, topics: Vec<(Topic, String)>) -> Self {
        Self { network, topics, chain: None, tip_s: 0, lags: false, published: Vec::new() }
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
                // Its best header may be on a branch that it will never take.
                let asks = !chain.initial_block_download && is_above(&chain, chain.headers);
                self.lags = chain.initial_block_download;
                self.chain = Some(chain);
                Ok(Step::Ask(if asks { Request::ChainTips } else { Request::Header(tip) }))
            }
            Answer::Node(Reply::ChainTips(tips)) => {
                let chain = self.chain.as_ref().ok_or(FollowError::Confused)?;
                self.lags = lags(chain, &tips);
                Ok(Step::Ask(Request::Header(chain.best_block)))
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
        let mut reasons: BTreeSet<Reason> =
            self.topics.iter().filter_map(|(topic, address)| self.heard(*topic, address)).collect();
        if self.lags {
            reasons.insert(Reason::NodeCatchingUp);
        }
        let ours = chain.chain == self.network.chain();
        if !ours {
            reasons.insert(Reason::OtherNetwork { chain: chain.chain });
        }
        Surveyed { ours, reasons, relay_fee, time }
    }

    /// Fault of a topic, according to the node's list of published topics; `None` if it has no fault.
    fn heard(&self, topic: Topic, configured: &str) -> Option<Reason> {
        let topic = topic.name();
        let mut addresses = self.published.iter().filter(|published| published.topic == topic).peekable();
        let Some(first) = addresses.peek().map(|published| published.address.clone()) else {
            return Some(Reason::TopicNotPublished { topic });
        };
        if addresses.any(|published| is_same_place(configured, &published.address)) {
            return None;
        }
        Some(Reason::TopicElsewhere { topic, address: first })
    }
}

/// Whether a height is further above the tip than a block that is on its way at the moment.
fn is_above(chain: &ChainInfo, height: u32) -> bool {
    height > chain.blocks.saturating_add(1)
}

/// Whether the node knows of a branch that is longer than its chain and that it may still take: not one that it parked, found
/// invalid, or cannot take because it leaves the chain below what is finalised.
fn lags(chain: &ChainInfo, tips: &ChainTips) -> bool {
    tips.tips.iter().any(|tip| {
        let fork = tip.height.saturating_sub(tip.branch_length);
        let settled = matches!(tip.status.as_str(), "active" | "parked" | "invalid")
            || tips.finalized.is_some_and(|finalized| fork < finalized);
        !settled && is_above(chain, tip.height)
    })
}

/// Whether a message that the node sends from one address arrives at another: the host of a TCP address has many names, so the
/// port alone is compared.
fn is_same_place(configured: &str, published: &str) -> bool {
    let port = |address: &str| {
        let place = address.strip_prefix("tcp://")?;
        place.rsplit_once(':').map(|(_, port)| port.to_owned())
    };
    match (port(configured), port(published)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => configured == published,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        invoice::Timestamp,
        node::{ChainTip, Header, NetworkInfo},
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

    const HERE: &str = "tcp://127.0.0.1:28335";

    fn survey(chain: ChainInfo, published: &[Topic], relay_fee: u64) -> Surveyed {
        let published: Vec<_> = published.iter().map(|topic| (*topic, "tcp://0.0.0.0:28335")).collect();
        survey_of(chain, None, &published, relay_fee)
    }

    fn survey_of(
        chain: ChainInfo,
        tips: Option<ChainTips>,
        published: &[(Topic, &str)],
        relay_fee: u64,
    ) -> Surveyed {
        let topics = vec![(Topic::RawTx, HERE.to_owned()), (Topic::HashBlock, HERE.to_owned())];
        let mut survey = Survey::new(Network::Regtest, topics);
        let published = published.iter().map(|(topic, address)| Notification {
            topic: topic.name().to_owned(),
            address: (*address).to_owned(),
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
        let mut step = survey.on(Answer::Begin).unwrap();
        let published: Vec<_> = published.collect();
        loop {
            let reply = match step {
                Step::Ask(Request::ChainInfo) => Reply::ChainInfo(chain.clone()),
                Step::Ask(Request::ChainTips) => Reply::ChainTips(tips.clone().unwrap()),
                Step::Ask(Request::Header(_)) => Reply::Header(Some(tip.clone())),
                Step::Ask(Request::ZmqNotifications) => Reply::ZmqNotifications(published.clone()),
                Step::Ask(Request::NetworkInfo) => Reply::NetworkInfo(info.clone()),
                Step::Done(found) => return found,
                Step::Ask(request) => panic!("{request:?}"),
                Step::Decode(_) | Step::Apply(_) => panic!("a survey asks the node alone"),
            };
            step = survey.on(Answer::Node(reply)).unwrap();
        }
    }

    #[test]
    fn what_a_survey_finds() {
        let both = [Topic::RawTx, Topic::HashBlock];
        let found = survey(chain("regtest", 7, 8), &both, 1000);
        assert!(found.ours && found.reasons.is_empty());
        assert_eq!((found.relay_fee, found.time.tip), (FeeRate::default(), Timestamp::from_secs(7)));
        let downloads = ChainInfo { initial_block_download: true, ..chain("regtest", 7, 9) };
        let found = survey(downloads, &both[..1], 250);
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

    #[test]
    fn a_branch_that_the_node_will_never_take_is_no_lag() {
        let both = [(Topic::RawTx, HERE), (Topic::HashBlock, HERE)];
        let table = [
            // the end of the other branch, its blocks off the chain, its status, what is finalised, lags
            (110, 4, "parked", None, false),
            (110, 4, "invalid", None, false),
            (110, 4, "headers-only", None, true),
            (110, 4, "valid-headers", None, true),
            (110, 2, "valid-fork", None, true),
            (109, 1, "headers-only", None, false),
            (110, 13, "headers-only", Some(97), true),
            (110, 13, "headers-only", Some(98), false),
            (110, 2, "headers-only", Some(98), true),
            (110, 2, "a word of a later release", None, true),
        ];
        for (height, branch_length, status, finalized, expected) in table {
            let tip = |height, branch_length, status: &str| ChainTip {
                height,
                branch_length,
                status: status.to_owned(),
            };
            let tips = vec![tip(height, branch_length, status), tip(108, 0, "active")];
            let found =
                survey_of(chain("regtest", 108, 110), Some(ChainTips { tips, finalized }), &both, 1000);
            assert_eq!(found.is_catching_up(), expected, "{height} {branch_length} {status} {finalized:?}");
        }
    }

    #[test]
    fn a_topic_that_is_published_elsewhere_is_told() {
        let elsewhere = |published: &[(Topic, &str)]| {
            let found = survey_of(chain("regtest", 7, 7), None, published, 1000);
            found.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let block = (Topic::HashBlock, HERE);
        for address in [HERE, "tcp://0.0.0.0:28335", "tcp://[::]:28335", "tcp://*:28335"] {
            assert_eq!(elsewhere(&[(Topic::RawTx, address), block]), "", "{address}");
        }
        let several = [(Topic::RawTx, "tcp://127.0.0.1:9"), (Topic::RawTx, HERE), block];
        assert_eq!(elsewhere(&several), "", "one of several is enough");
        for address in ["tcp://127.0.0.1:28336", "ipc:///tmp/28335", "tcp://127.0.0.1"] {
            let told = elsewhere(&[(Topic::RawTx, address), block]);
            assert!(told.contains("rawtx") && told.contains(address), "{address}: {told}");
        }
        assert!(is_same_place("ipc:///a", "ipc:///a") && !is_same_place("ipc:///a", "ipc:///b"));
    }
}
