//! The networks a node can be on, and the three sets of words they go by.

use std::{fmt, str::FromStr};

/// A Bitcoin Cash network.
///
/// Test networks 4 and chipnet share their genesis block and their magic; only the node's own word for its
/// chain ([`Network::chain`]) tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// The main network.
    Main,
    /// The third test network.
    Test3,
    /// The fourth test network.
    Test4,
    /// The network for scaling tests.
    Scale,
    /// The network where upgrades run six months early.
    Chip,
    /// A private chain of one's own, for tests.
    Regtest,
}

impl Network {
    /// Every network, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Main, Self::Test3, Self::Test4, Self::Scale, Self::Chip, Self::Regtest];

    /// Whether blocks are found without anybody asking for them, so that their times tell the time.
    pub fn mines_by_itself(self) -> bool {
        self != Self::Regtest
    }

    /// The word of the configuration file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Test3 => "test3",
            Self::Test4 => "test4",
            Self::Scale => "scale",
            Self::Chip => "chip",
            Self::Regtest => "regtest",
        }
    }

    /// The word the node uses in `getblockchaininfo`, field `chain`.
    pub fn chain(self) -> &'static str {
        match self {
            Self::Test3 => "test",
            Self::Main | Self::Test4 | Self::Scale | Self::Chip | Self::Regtest => self.name(),
        }
    }

    /// The word wallets expect in a payment document: `main`, `regtest`, and `test` for all others.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Regtest => "regtest",
            Self::Test3 | Self::Test4 | Self::Scale | Self::Chip => "test",
        }
    }

    /// The cashaddr prefix, without its colon.
    pub fn prefix(self) -> &'static str {
        bitcoincash::address::cashaddr::KnownPrefix::from(bitcoincash::Network::from(self)).as_str()
    }
}

impl From<Network> for bitcoincash::Network {
    fn from(network: Network) -> Self {
        match network {
            Network::Main => Self::Bitcoin,
            Network::Test3 => Self::Testnet,
            Network::Test4 => Self::Testnet4,
            Network::Scale => Self::Scalenet,
            Network::Chip => Self::Chipnet,
            Network::Regtest => Self::Regtest,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The word names no network. Whoever wrote the word is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network: use main, test3, test4, scale, chip or regtest")]
pub struct UnknownNetwork(pub String);

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(word: &str) -> Result<Self, UnknownNetwork> {
        Self::ALL
            .into_iter()
            .find(|network| network.name() == word)
            .ok_or_else(|| UnknownNetwork(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_network() {
        let table = [
            (Network::Main, "main", "main", "main", "bitcoincash"),
            (Network::Test3, "test3", "test", "test", "bchtest"),
            (Network::Test4, "test4", "test4", "test", "bchtest"),
            (Network::Scale, "scale", "scale", "test", "bchtest"),
            (Network::Chip, "chip", "chip", "test", "bchtest"),
            (Network::Regtest, "regtest", "regtest", "regtest", "bchreg"),
        ];
        for (network, name, chain, wire, prefix) in table {
            assert_eq!(name.parse(), Ok(network));
            assert_eq!(
                (network.name(), network.chain(), network.wire(), network.prefix()),
                (name, chain, wire, prefix)
            );
        }
        assert_eq!("Main".parse::<Network>(), Err(UnknownNetwork("Main".into())));
        assert!("mainnet".parse::<Network>().is_err());
    }
}
