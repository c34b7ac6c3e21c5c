//! What a merchant asks for.

use std::{fmt, time::Duration};

use super::{Credit, DoubleSpend, Elapsed, InvoiceId, NodeTime, Order, Reading, Timestamp};
use crate::bch::{Address, FeeRate, Network, ProofScore, ScriptBuf, ScriptHash, Token};

/// The most confirmations an invoice can ask for.
pub const MAX_CONFIRMATIONS_REQUIRED: u8 = 100;

/// The name under which API keys are held: the owner of the invoices made with them.
///
/// Where creation is open to all, invoices made without a key belong to [`Merchant::anyone`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Merchant(String);

impl Merchant {
    /// A named merchant.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The owner of invoices that were made without a key.
    pub fn anyone() -> Self {
        Self(String::new())
    }

    /// Whether it is nobody in particular.
    pub fn is_anyone(&self) -> bool {
        self.0.is_empty()
    }

    /// The name; empty for [`Merchant::anyone`].
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether this merchant may manage what belongs to `owner`: its own, and what belongs to nobody.
    pub fn manages(&self, owner: &Self) -> bool {
        !self.is_anyone() && (owner.is_anyone() || self == owner)
    }
}

impl fmt::Display for Merchant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_anyone() { "anyone" } else { &self.0 })
    }
}

/// One thing that must be paid: an amount, perhaps with a token, to a locking script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredOutput {
    /// The address as REST shows it: cashaddr with its prefix, in the type that the creator wrote.
    pub address: String,
    /// Its locking script.
    pub script: ScriptBuf,
    /// The amount, in satoshis, 1 to [`crate::bch::MAX_MONEY`].
    pub satoshis: u64,
    /// The token asked for on the same output.
    pub token: Option<Token>,
    /// The merchant's words for it.
    pub description: Option<String>,
}

impl RequiredOutput {
    /// What an address, an amount and perhaps a token ask for.
    pub fn new(address: &Address, satoshis: u64, token: Option<Token>, description: Option<String>) -> Self {
        Self { address: address.to_string(), script: address.script().clone(), satoshis, token, description }
    }

    /// The address for a wallet: of the plain type (`q`, `p`) for satoshis alone, of the token-aware type (`z`, `r`) for a
    /// token, whatever type the creator wrote. Some wallets refuse to pay satoshis to a token-aware address, others
    /// refuse to pay tokens to a plain one.
    pub fn wallet_address(&self, network: Network) -> String {
        Address::of_script(&self.script, network).map_or_else(
            || self.address.clone(),
            |address| address.with_token_awareness(self.token.is_some()).to_string(),
        )
    }

    /// The hash by which the index knows its script.
    pub fn script_hash(&self) -> ScriptHash {
        ScriptHash::of(&self.script)
    }
}

/// What an invoice asks of a payment that is not in a block, before it counts. The first confirmation counts without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroConf {
    /// How well double spend proofs must protect the transaction at least.
    pub min_score: ProofScore,
    /// For how long after it began to be held back no proof and no rival of it may come to light; up to [`ZeroConf::MOST_WAIT`].
    pub wait: Duration,
}

impl ZeroConf {
    /// The longest wait: beyond it most payments are in a block.
    pub const MOST_WAIT: Duration = Duration::from_secs(3600);

    /// When the wait for a credit that is held is over, in elapsed time.
    pub fn waits_until(&self, credit: &Credit) -> Elapsed {
        held_since(credit).after(self.wait)
    }

    /// Whether a credit may count by now although its transaction is in no block. `now` is elapsed time that this
    /// process has watched: see [`Reading::watched`].
    pub fn is_met_by(&self, credit: &Credit, now: Elapsed) -> bool {
        let score = credit.risk.score.map_or(0, ProofScore::thousandths);
        credit.risk.double_spend == DoubleSpend::None
            && score >= self.min_score.thousandths()
            && now >= self.waits_until(credit)
    }
}

/// Since when a credit is held. Programs that did not note it took the first sighting, on the one scale that they had.
pub fn held_since(credit: &Credit) -> Elapsed {
    credit.held_since.unwrap_or(Elapsed::from_millis(credit.first_seen.millis()))
}

/// How long an invoice stays open at most while the wall clock is not past the shown end: somebody who set that clock
/// back must not keep an invoice open for ever.
const LONGEST_EXTENSION: Duration = Duration::from_secs(4 * 3600);

/// An invoice before it is registered: checked, and not yet on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What must be paid, at least one.
    pub outputs: Vec<RequiredOutput>,
    /// The merchant's words to the payer.
    pub memo: Option<String>,
    /// Any JSON text, the merchant's own business.
    pub merchant_data: Option<String>,
    /// How long it can be paid, from its registration on.
    pub lasts: Duration,
    /// The least fee rate of a submitted transaction.
    pub fee_rate: FeeRate,
    /// 0 to [`MAX_CONFIRMATIONS_REQUIRED`].
    pub confirmations_required: u8,
    /// What it asks of payments that are not in a block; `None`: they count at once.
    pub zero_conf: Option<ZeroConf>,
}

/// What a merchant asked for. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Its name.
    pub id: InvoiceId,
    /// Its owner.
    pub merchant: Merchant,
    /// What must be paid.
    pub outputs: Vec<RequiredOutput>,
    /// The merchant's words to the payer.
    pub memo: Option<String>,
    /// Any JSON text, the merchant's own business.
    pub merchant_data: Option<String>,
    /// When it was registered, as it is shown.
    pub created: Timestamp,
    /// The last moment to pay, as it is shown.
    pub expires: Timestamp,
    /// The last moment to pay, in elapsed time: this is what is judged.
    pub deadline: Elapsed,
    /// Time of the node's clock when the invoice was registered; `None` if that time was not known.
    pub node_time: Option<NodeTime>,
    /// The least fee rate of a submitted transaction.
    pub fee_rate: FeeRate,
    /// 0 to [`MAX_CONFIRMATIONS_REQUIRED`].
    pub confirmations_required: u8,
    /// What it asks of payments that are not in a block; `None`: they count at once.
    pub zero_conf: Option<ZeroConf>,
    /// The input that registered it: what came before does not pay it.
    pub registered: Order,
}

impl Invoice {
    /// The draft as it is registered at a moment.
    pub fn register(
        draft: Draft,
        id: InvoiceId,
        merchant: Merchant,
        at: &Reading,
        registered: Order,
    ) -> Self {
        let Draft { outputs, memo, merchant_data, lasts, fee_rate, confirmations_required, zero_conf } =
            draft;
        Self {
            id,
            merchant,
            outputs,
            memo,
            merchant_data,
            created: at.wall,
            expires: at.wall.after(lasts),
            deadline: at.elapsed.after(lasts),
            node_time: at.node,
            fee_rate,
            confirmations_required,
            zero_conf,
            registered,
        }
    }

    /// Whether its time is over, and a grace as well: the deadline has passed, and so has the shown end by the wall
    /// clock. That clock can keep it open for four more hours at most.
    pub fn is_over(&self, at: &Reading, grace: Duration) -> bool {
        let deadline = self.deadline.after(grace);
        at.elapsed > deadline
            && (at.wall > self.expires.after(grace) || at.elapsed > deadline.after(LONGEST_EXTENSION))
    }

    /// How long it can still be paid.
    pub fn time_left(&self, at: &Reading) -> Duration {
        let held_open = self.deadline.after(LONGEST_EXTENSION).since(at.elapsed);
        self.deadline.since(at.elapsed).max(self.expires.since(at.wall).min(held_open))
    }

    /// The sum of what must be paid, in satoshis. Creation holds it under [`crate::bch::MAX_MONEY`].
    pub fn required_satoshis(&self) -> u64 {
        self.outputs.iter().fold(0, |sum, output| sum.saturating_add(output.satoshis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Duration = Duration::from_secs(900);

    /// An invoice that was registered while the wall clock was off by so many seconds.
    fn registered(off: i64) -> (Invoice, Reading) {
        let elapsed = Elapsed::from_secs(1_800_000_000);
        let wall = Timestamp::from_secs(1_800_000_000u64.saturating_add_signed(off));
        let at = Reading { elapsed, wall, ..Reading::default() };
        let draft = Draft {
            outputs: Vec::new(),
            memo: None,
            merchant_data: None,
            lasts: ASKED,
            fee_rate: FeeRate::default(),
            confirmations_required: 1,
            zero_conf: None,
        };
        (Invoice::register(draft, InvoiceId::from_bytes([1; 16]), Merchant::anyone(), &at, Order(1)), at)
    }

    #[test]
    fn an_invoice_lasts_as_long_as_was_asked_whatever_the_wall_clock_shows() {
        let (two_hours, two_weeks, year) = (7_200, 14 * 24 * 3_600, 400 * 24 * 3_600);
        for off in [0, 2, -2, two_hours, -two_hours, two_weeks, -two_weeks, year, -year] {
            let (invoice, at) = registered(off);
            assert_eq!(invoice.expires.since(invoice.created), ASKED, "{off}");
            // Whatever the wall clock is set to meanwhile.
            for wall in [at.wall, Timestamp::default(), Timestamp::MAX] {
                let until = Reading { elapsed: at.elapsed.after(ASKED), wall, ..at };
                assert!(!invoice.is_over(&until, Duration::ZERO), "{off} {wall}");
            }
            let ms = Duration::from_millis(1);
            let after =
                Reading { elapsed: invoice.deadline.after(ms), wall: invoice.expires.after(ms), ..at };
            assert!(invoice.is_over(&after, Duration::ZERO), "{off}");
            assert!(!invoice.is_over(&after, ms), "in the grace");
            // A clock that was set back keeps it open for four hours.
            let back = Reading { wall: at.wall.before(ASKED), ..after };
            assert!(!invoice.is_over(&back, Duration::ZERO), "{off}");
            let later = Reading { elapsed: after.elapsed.after(LONGEST_EXTENSION), ..back };
            assert!(invoice.is_over(&later, Duration::ZERO), "{off}");
        }
    }
}
