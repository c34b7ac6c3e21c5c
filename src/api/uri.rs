//! The URIs that open a wallet.

use super::{document::payment_url, settings::ApiSettings};
use crate::{
    bch::{Network, dust_limit},
    invoice::{Invoice, Statement},
};

/// What every wallet with a payment protocol opens: `bitcoincash:?r=https://…`, the URL as it is, for some wallets
/// never decode it.
pub(super) fn payment_uri(invoice: &Invoice, settings: &ApiSettings) -> String {
    format!("{}:?r={}", settings.network.prefix(), payment_url(&settings.public_url, invoice.id))
}

/// What every other wallet opens (BIP21): address and amount, and the URL for those that know both. Only for what it
/// can say: one output, without tokens.
pub(super) fn bip21_uri(invoice: &Invoice, settings: &ApiSettings) -> Option<String> {
    let [output] = invoice.outputs.as_slice() else { return None };
    if output.token.is_some() {
        return None;
    }
    let url = payment_url(&settings.public_url, invoice.id);
    let address = output.wallet_address(settings.network);
    Some(format!("{address}?amount={}&r={url}", coins(output.satoshis)))
}

/// What a payer who paid a part is to pay yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// The address and the amount alone: whoever opens the URL of the invoice is asked for everything again.
    pub(super) uri: String,
    /// What is missing, and no less than the network relays.
    pub(super) satoshis: u64,
}

/// The rest of an invoice that is paid in part; only where parts add up for certain: one output, without tokens, that
/// no other invoice asks for.
pub(super) fn rest(statement: &Statement, network: Network) -> Option<Rest> {
    let [output] = statement.invoice.outputs.as_slice() else { return None };
    let standing = statement.standing();
    let in_part = standing.amount_paid > 0 && standing.underpaid > 0;
    if !in_part || output.token.is_some() || statement.state.shared {
        return None;
    }
    let satoshis = standing.underpaid.max(dust_limit(&output.script, None));
    let uri = format!("{}?amount={}", output.wallet_address(network), coins(satoshis));
    Some(Rest { uri, satoshis })
}

/// An amount in coins of 100,000,000 satoshis, exactly, without needless digits.
fn coins(satoshis: u64) -> String {
    let text = format!("{}.{:08}", satoshis / 100_000_000, satoshis % 100_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_in_coins() {
        let table = [
            (1, "0.00000001"),
            (1_000, "0.00001"),
            (100_000_000, "1"),
            (1_000_000_000, "10"),
            (123_456_789, "1.23456789"),
            (crate::bch::MAX_MONEY, "21000000"),
        ];
        for (satoshis, text) in table {
            assert_eq!(coins(satoshis), text);
        }
    }

    proptest! {
        #[test]
        fn amounts_are_exact(satoshis in 1..=crate::bch::MAX_MONEY) {
            let text = coins(satoshis);
            let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
            let number = |text: &str| text.parse::<u64>().unwrap();
            prop_assert_eq!(number(whole) * 100_000_000 + number(&format!("{decimals:0<8}")), satoshis);
        }
    }
}
