//! Addresses: cashaddr in all its spellings, and legacy base58.

use bitcoincash::{
    ScriptBuf,
    address::{NetworkUnchecked, cashaddr::CashAddress},
};

use super::Network;

/// An address of one network, with the locking script it stands for.
///
/// Implements the cashaddr specification with the token-aware types of CHIP-2022-02 and the 32-byte script
/// hashes of CHIP-2022-05 (P2SH32); legacy base58check addresses are read as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    cash: CashAddress,
    script: ScriptBuf,
}

/// Why a text is no address for us. Whoever wrote it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither cashaddr nor base58check, or a wrong checksum.
    #[error("not a Bitcoin Cash address")]
    Malformed,
    /// A good address of another network.
    #[error("this address belongs to another network, not to {0}")]
    OtherNetwork(Network),
    /// A segwit address (`bc1…`), which Bitcoin Cash has no script for.
    #[error("segwit addresses do not exist on Bitcoin Cash")]
    Segwit,
}

impl Address {
    /// Reads an address: cashaddr with or without its prefix, in lower or upper case, plain or token-aware, or
    /// legacy base58.
    ///
    /// # Errors
    ///
    /// [`AddressError`]; the text is at most looked at, never echoed.
    pub fn parse(text: &str, network: Network) -> Result<Self, AddressError> {
        let library = bitcoincash::Network::from(network);
        if let Ok(unchecked) = text.parse::<CashAddress<NetworkUnchecked>>() {
            let cash = unchecked.require_network(library).map_err(|_| AddressError::OtherNetwork(network))?;
            return Ok(Self::from_cash(cash));
        }
        let legacy = text
            .parse::<bitcoincash::Address<NetworkUnchecked>>()
            .map_err(|_| AddressError::Malformed)?
            .require_network(library)
            .map_err(|_| AddressError::OtherNetwork(network))?;
        // Test networks and regtest share the bytes of legacy addresses; the prefix is that of our network.
        Self::of_script(&legacy.script_pubkey(), network).ok_or(AddressError::Segwit)
    }

    /// The address of a locking script, if it has one (P2PKH, P2SH, P2SH32).
    pub fn of_script(script: &bitcoincash::Script, network: Network) -> Option<Self> {
        CashAddress::from_script(script, bitcoincash::Network::from(network)).ok().map(Self::from_cash)
    }

    /// The same address with token awareness set: the type alone changes, never the script.
    #[must_use]
    pub fn with_token_awareness(&self, token_aware: bool) -> Self {
        Self { cash: self.cash.clone().with_token_awareness(token_aware), script: self.script.clone() }
    }

    /// Whether the address says that its owner's wallet understands CashTokens (`z…` and `r…`).
    pub fn is_token_aware(&self) -> bool {
        self.cash.is_token_aware()
    }

    /// The locking script that pays to this address, without any token prefix.
    pub fn script(&self) -> &ScriptBuf {
        &self.script
    }

    fn from_cash(cash: CashAddress) -> Self {
        let script = cash.script_pubkey();
        Self { cash, script }
    }
}

/// Cashaddr with its prefix, in lower case, in the type it was given.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cash.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use bitcoincash::hashes::Hash as _;

    use super::*;

    const P2PKH: &str = "bitcoincash:qr6m7j9njldwwzlg9v7v53unlr4jkmx6eylep8ekg2";
    const TOKEN: &str = "bitcoincash:zr6m7j9njldwwzlg9v7v53unlr4jkmx6eycnjehshe";

    #[test]
    fn every_spelling_is_one_address() {
        let address = Address::parse(P2PKH, Network::Main).unwrap();
        assert_eq!(address.to_string(), P2PKH);
        assert!(!address.is_token_aware());
        assert_eq!(address.script().to_hex_string(), "76a914f5bf48b397dae70be82b3cca4793f8eb2b6cdac988ac");
        let bare = P2PKH.trim_start_matches("bitcoincash:");
        for text in [bare, &P2PKH.to_uppercase(), &bare.to_uppercase(), "1PQPheJQSauxRPTxzNMUco1XmoCyPoEJCp"]
        {
            assert_eq!(Address::parse(text, Network::Main).as_ref(), Ok(&address), "{text}");
        }
    }

    #[test]
    fn legacy_addresses_get_the_prefix_of_the_network() {
        let script = Address::parse(P2PKH, Network::Main).unwrap().script;
        let hash = bitcoincash::PubkeyHash::from_byte_array(script.as_bytes()[3..23].try_into().unwrap());
        let legacy = bitcoincash::Address::p2pkh(hash, bitcoincash::Network::Regtest).to_string();
        for network in [Network::Regtest, Network::Chip] {
            let address = Address::parse(&legacy, network).unwrap();
            assert_eq!(address.script(), &script);
            assert!(address.to_string().starts_with(&format!("{}:", network.prefix())), "{address}");
        }
    }

    #[test]
    fn token_aware_is_kept_and_has_the_same_script() {
        let token = Address::parse(TOKEN, Network::Main).unwrap();
        assert!(token.is_token_aware());
        assert_eq!(token.to_string(), TOKEN);
        assert_eq!(token.script(), Address::parse(P2PKH, Network::Main).unwrap().script());
        assert_eq!(token.with_token_awareness(false).to_string(), P2PKH);
    }

    #[test]
    fn p2sh32_round_trip() {
        let text = "bchreg:pvzs2pg9q5zs2pg9q5zs2pg9q5zs2pg9q5zs2pg9q5zs2pg9q5zs28ta9qnvy";
        let address = Address::parse(text, Network::Regtest).unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.script().to_hex_string(), format!("aa20{}87", "05".repeat(32)));
        assert_eq!(Address::of_script(address.script(), Network::Regtest), Some(address));
    }

    #[test]
    fn what_is_refused_and_why() {
        let script = Address::parse(P2PKH, Network::Main).unwrap().script;
        let of_test = Address::of_script(&script, Network::Chip).unwrap().to_string();
        let table = [
            ("", AddressError::Malformed),
            ("junk", AddressError::Malformed),
            ("bitcoincash:", AddressError::Malformed),
            ("bitcoincash:qr6m7j9njldwwzlg9v7v53unlr4jkmx6eylep8ekg3", AddressError::Malformed),
            ("bitcoincash:qR6m7j9njldwwzlg9v7v53unlr4jkmx6eylep8ekg2", AddressError::Malformed),
            (&of_test, AddressError::OtherNetwork(Network::Main)),
            ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", AddressError::Segwit),
            ("\u{0}", AddressError::Malformed),
        ];
        for (text, error) in table {
            assert_eq!(Address::parse(text, Network::Main), Err(error), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = Address::parse(&text, Network::Main);
        }

        #[test]
        fn every_p2pkh_and_p2sh32_comes_back(hash20: [u8; 20], hash32: [u8; 32], token: bool) {
            let scripts = [
                [&[0x76, 0xa9, 0x14][..], &hash20, &[0x88, 0xac]].concat(),
                [&[0xa9, 0x14][..], &hash20, &[0x87]].concat(),
                [&[0xaa, 0x20][..], &hash32, &[0x87]].concat(),
            ];
            for script in scripts {
                for network in Network::ALL {
                    let address = Address::of_script(&ScriptBuf::from(script.clone()), network)
                        .unwrap()
                        .with_token_awareness(token);
                    let again = Address::parse(&address.to_string(), network).unwrap();
                    proptest::prop_assert_eq!(&again, &address);
                    proptest::prop_assert_eq!(again.script().as_bytes(), &script[..]);
                }
            }
        }
    }
}
