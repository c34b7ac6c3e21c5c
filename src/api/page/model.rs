//! What the page says of an invoice: a pure function of its statement and the time, with every text chosen and every
//! number written, so that the template only has to place them.
//!
//! The states are finer than those of the JSON, for a payer asks something else than a shop: *is it my turn, and may I
//! go?* Whatever asks for money is in [`Page::ways`], and nowhere else: where that is empty, nothing on the page leads
//! to a wallet.

use std::time::Duration;

use super::{
    amounts::{Amount, Moment, thousands, time_left},
    messages::{Messages, fill},
};
use crate::{
    api::{
        settings::ApiSettings,
        uri::{Rest, bip21_uri, payment_uri, rest},
    },
    bch::{Capability, Network, Nft, Token},
    invoice::{
        CreditState, DoubleSpend, Level, OutputStanding, Reading, RequiredOutput, Settlement, Standing,
        Statement, Status, Timestamp,
    },
};

/// Where a payer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing was paid, and it can be.
    Waiting,
    /// A wallet handed over a payment, and nobody knows yet whether the network took it.
    UnderWay,
    /// Something is held back, which may settle it or leave a part of it open: nobody knows yet what to ask for.
    Held,
    /// Something was paid, and the rest can be.
    Partial,
    /// It is paid.
    Paid,
    /// It is paid, after its time was over: whether that is taken is the merchant's word.
    Late,
    /// It is paid, and something that is not in a block yet may undo that.
    Doubtful,
    /// It is paid for good.
    Confirmed,
    /// Its time is over, and nobody has judged it yet: something may be on its way to us, or the node is away.
    Over,
    /// It was not paid, and is not to be any more.
    Expired,
    /// Its merchant withdrew it.
    Cancelled,
}

impl State {
    fn of(statement: &Statement, standing: &Standing, now: &Reading) -> Self {
        let contested = is_contested(statement, standing);
        let holds = statement.credits.iter().any(|credit| credit.state == CreditState::Held);
        match (standing.status, &standing.settlement) {
            (Status::Cancelled, _) => Self::Cancelled,
            (Status::Expired, _) => Self::Expired,
            (Status::Pending, _) if statement.state.level == Level::Held => Self::Held,
            // No wallet gets a document any more.
            (Status::Pending, _) if statement.invoice.is_over(now, Duration::ZERO) => Self::Over,
            (Status::Pending, _) if holds => Self::Held,
            (Status::Pending, _) if standing.outputs.iter().any(|output| output.credited > 0) => {
                Self::Partial
            }
            (Status::Pending, _) if statement.state.open_claims > 0 => Self::UnderWay,
            (Status::Pending, _) => Self::Waiting,
            (Status::Paid | Status::Confirmed, Some(settlement)) if contested && !settlement.in_blocks => {
                Self::Doubtful
            }
            (Status::Paid | Status::Confirmed, Some(settlement)) if settlement.late => Self::Late,
            (Status::Confirmed, _) if statement.invoice.confirmations_required > 0 => Self::Confirmed,
            (Status::Paid | Status::Confirmed, _) => Self::Paid,
        }
    }

    /// Whether whoever comes now can pay.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::UnderWay | Self::Partial)
    }

    /// Whether everything that was asked for has come.
    fn is_paid(self) -> bool {
        matches!(self, Self::Paid | Self::Late | Self::Doubtful | Self::Confirmed)
    }

    /// Whether somebody waits for a payment to be noticed.
    fn is_expectant(self) -> bool {
        self.is_open() || matches!(self, Self::Held | Self::Over)
    }

    /// How many seconds what is shown may go without another look. Everything that becomes of an invoice is an event;
    /// but not that a claim lapsed, that the node came back, and how many blocks there are beyond those that count. And
    /// a socket may be dead without a word.
    fn look_again(self, is_claimed: bool, watched: bool) -> u32 {
        match self {
            Self::Confirmed | Self::Expired | Self::Cancelled => 300,
            _ if !watched => 10,
            _ if is_claimed => 5,
            Self::UnderWay | Self::Held | Self::Over => 5,
            Self::Waiting | Self::Partial => 30,
            Self::Paid | Self::Late | Self::Doubtful => 60,
        }
    }

    /// The word of the style sheet for it.
    pub(super) fn tone(self) -> &'static str {
        match self {
            Self::Waiting | Self::UnderWay | Self::Held => "wait",
            Self::Partial | Self::Late | Self::Doubtful => "warn",
            Self::Paid | Self::Confirmed => "good",
            Self::Over | Self::Expired | Self::Cancelled => "stop",
        }
    }

    fn headline(self, words: &Messages) -> &str {
        match self {
            Self::Waiting => &words.waiting,
            Self::UnderWay => &words.under_way,
            Self::Held => &words.held,
            Self::Partial => &words.partial,
            Self::Paid => &words.paid,
            Self::Late => &words.paid_late,
            Self::Doubtful => &words.doubtful,
            Self::Confirmed => &words.confirmed,
            Self::Over | Self::Expired => &words.expired,
            Self::Cancelled => &words.cancelled,
        }
    }

    fn text<'a>(self, statement: &Statement, standing: &Standing, words: &'a Messages) -> &'a str {
        let in_blocks = standing.settlement.as_ref().is_some_and(|settlement| settlement.in_blocks);
        match self {
            Self::Waiting => &words.waiting_text,
            Self::UnderWay => &words.under_way_text,
            Self::Held => &words.held_text,
            Self::Partial if has_rest(statement, standing) => &words.partial_text,
            Self::Partial => &words.partial_whole_text,
            Self::Paid if statement.invoice.confirmations_required == 0 => &words.paid_at_once_text,
            Self::Paid if in_blocks => &words.paid_in_blocks_text,
            Self::Paid => &words.paid_text,
            Self::Late => &words.late,
            Self::Doubtful => &words.doubtful_text,
            Self::Confirmed => &words.confirmed_text,
            Self::Over => &words.over_text,
            Self::Expired => &words.expired_text,
            Self::Cancelled => &words.cancelled_text,
        }
    }
}

/// Whether another transaction spends the coins of one that settles it, or would help to, and that is in no block yet.
fn is_contested(statement: &Statement, standing: &Standing) -> bool {
    statement.credits.iter().any(|credit| {
        let settles = |settlement: &Settlement| settlement.txids.contains(&credit.outpoint.txid);
        matches!(credit.state, CreditState::Mempool | CreditState::Held)
            && credit.risk.double_spend != DoubleSpend::None
            && standing.settlement.as_ref().is_none_or(settles)
    })
}

/// What is missing of an output, in satoshis. Of one that asks for tokens all of it is, if too little came.
fn missing(required: &RequiredOutput, standing: &OutputStanding) -> u64 {
    match (standing.satisfied, &required.token) {
        (true, _) => 0,
        (false, None) => required.satoshis.saturating_sub(standing.credited),
        (false, Some(_)) => required.satoshis,
    }
}

/// Whether something came that counts, so that only the rest is to be paid. Tokens do not add up: what came with too few
/// of them must come again as a whole.
fn has_rest(statement: &Statement, standing: &Standing) -> bool {
    let counts = |(required, standing): (&RequiredOutput, &OutputStanding)| {
        standing.credited > 0 && (standing.satisfied || required.token.is_none())
    };
    statement.invoice.outputs.iter().zip(&standing.outputs).any(counts)
}

/// One way to pay: a link, and the code of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way<'a> {
    /// What it is called in the document.
    pub(super) name: &'static str,
    /// What a wallet opens.
    pub(super) uri: String,
    /// How much somebody types into a wallet that reads no link, if that is all there is to it.
    pub(super) amount: Option<Amount>,
    /// What comes after `qr.svg` in the path of its code. Another code has another path: a browser that has drawn one
    /// does not ask for it again.
    pub(super) query: String,
    /// What the code is, for whoever does not see it.
    pub(super) alt: &'a str,
    /// What there is to say of it.
    pub(super) text: &'a str,
}

/// How an invoice can be paid, by somebody who comes to it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ways<'a> {
    /// Not at all.
    None,
    /// As a whole: by a wallet that knows the protocols and, if that can be said, by any other.
    Whole(Way<'a>, Option<Way<'a>>),
    /// What is missing, by any wallet.
    Rest(Way<'a>),
    /// What is missing, and no link can say it.
    ByHand,
}

impl<'a> Ways<'a> {
    /// Whether there is any.
    pub(super) fn are_there(&self) -> bool {
        *self != Self::None
    }

    /// Whether only what is missing is to be paid.
    fn are_for_the_rest(&self) -> bool {
        matches!(self, Self::Rest(_) | Self::ByHand)
    }

    fn of(
        state: State,
        statement: &Statement,
        standing: &Standing,
        settings: &ApiSettings,
        words: &'a Messages,
    ) -> Self {
        if !state.is_open() {
            return Self::None;
        }
        let invoice = &statement.invoice;
        if !has_rest(statement, standing) {
            let (alt, text) = (words.qr.as_str(), words.scan.as_str());
            let uri = payment_uri(invoice, settings);
            let first = Way { name: "by-link", uri, amount: None, query: String::new(), alt, text };
            let (alt, text) = (words.qr_any_wallet.as_str(), words.any_wallet_text.as_str());
            let second = bip21_uri(invoice, settings).map(|uri| {
                let query = "?uri=bip21".to_owned();
                let amount = Some(Amount::new(invoice.required_satoshis()));
                Way { name: "by-any", uri, amount, query, alt, text }
            });
            return Self::Whole(first, second);
        }
        match rest(statement, settings.network) {
            Some(Rest { uri, satoshis }) => {
                let exact = satoshis == standing.underpaid;
                let text = if exact { &words.rest_text } else { &words.rest_least_text };
                let query = format!("?uri=rest&satoshis={satoshis}");
                let amount = Some(Amount::new(satoshis));
                Self::Rest(Way { name: "rest", uri, amount, query, alt: &words.qr_rest, text })
            }
            None => Self::ByHand,
        }
    }
}

/// A token that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenAsked<'a> {
    /// Its category.
    pub(super) category: String,
    /// Its amount, in groups of three digits; `None` for an NFT alone.
    pub(super) amount: Option<Vec<String>>,
    /// What the NFT may do, and its commitment in hex.
    pub(super) nft: Option<(&'a str, String)>,
}

impl<'a> TokenAsked<'a> {
    fn of(token: &Token, words: &'a Messages) -> Self {
        let capability = |nft: &Nft| match nft.capability {
            Capability::None => words.capability_none.as_str(),
            Capability::Mutable => &words.capability_mutable,
            Capability::Minting => &words.capability_minting,
        };
        let commitment = |nft: &Nft| hex::encode(&nft.commitment);
        Self {
            category: token.category.to_string(),
            amount: (token.amount > 0).then(|| thousands(token.amount)),
            nft: token.nft.as_ref().map(|nft| (capability(nft), commitment(nft))),
        }
    }
}

/// One output that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output<'a> {
    /// The merchant's words for it.
    pub(super) description: Option<&'a str>,
    /// Where it goes.
    pub(super) address: String,
    /// Its amount.
    pub(super) amount: Amount,
    /// Its token.
    pub(super) token: Option<TokenAsked<'a>>,
    /// What of it is paid; `None` while that goes without saying.
    pub(super) standing: Option<String>,
}

impl<'a> Output<'a> {
    fn of(
        required: &'a RequiredOutput,
        standing: Option<&OutputStanding>,
        network: Network,
        words: &'a Messages,
    ) -> Self {
        Self {
            description: required.description.as_deref(),
            address: required.wallet_address(network),
            amount: Amount::new(required.satoshis),
            token: required.token.as_ref().map(|token| TokenAsked::of(token, words)),
            standing: standing.map(|standing| {
                if standing.satisfied {
                    return words.output_paid.clone();
                }
                if required.token.is_some() && standing.credited > 0 {
                    return words.output_again.clone();
                }
                let missing = Amount::new(missing(required, standing));
                let template = match required.token {
                    Some(_) => &words.output_missing_tokens,
                    None => &words.output_missing,
                };
                fill(template, &[("amount", &missing.in_words(words))])
            }),
        }
    }
}

/// The payment that settled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payment<'a> {
    /// Its transactions.
    pub(super) txids: Vec<String>,
    /// When it was complete.
    pub(super) paid_at: Moment,
    /// How many confirmations there are.
    pub(super) confirmations: String,
    /// The payer's words.
    pub(super) note: Option<&'a str>,
}

impl<'a> Payment<'a> {
    fn of(statement: &'a Statement, settlement: &Settlement, words: &Messages) -> Self {
        let number = settlement.confirmations.to_string();
        let required = statement.invoice.confirmations_required;
        Self {
            txids: settlement.txids.iter().map(ToString::to_string).collect(),
            paid_at: settlement.paid_at.into(),
            confirmations: match required {
                0 => number,
                _ => {
                    fill(&words.confirmations_of, &[("number", &number), ("required", &required.to_string())])
                }
            },
            note: statement.note.memo.as_deref().filter(|memo| !memo.is_empty()),
        }
    }
}

/// Everything that the page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page<'a> {
    /// The name of the invoice.
    pub(super) id: String,
    /// Where a payer stands.
    pub(super) state: State,
    /// In a word.
    pub(super) headline: &'a str,
    /// What it means.
    pub(super) text: &'a str,
    /// What else a payer should know.
    pub(super) notices: Vec<String>,
    /// What is asked in all.
    pub(super) asked: Amount,
    /// What is missing, for whoever can pay it yet, after something has come.
    pub(super) missing: Option<Amount>,
    /// What has come, if it is not enough.
    pub(super) received: Option<Amount>,
    /// Whether tokens are asked too.
    pub(super) with_tokens: bool,
    /// The merchant's words.
    pub(super) memo: Option<&'a str>,
    /// The last moment to pay.
    pub(super) expires: Moment,
    /// Whether that is over.
    pub(super) is_over: bool,
    /// How long that is, if it is not over and the invoice not paid.
    pub(super) time_left: Option<String>,
    /// How it can be paid.
    pub(super) ways: Ways<'a>,
    /// What is asked, output by output.
    pub(super) outputs: Vec<Output<'a>>,
    /// What the outputs are called.
    pub(super) outputs_heading: String,
    /// What settled it.
    pub(super) payment: Option<Payment<'a>>,
    /// The number of the last event that it knows of.
    pub(super) since: u64,
    /// The event log that numbers it.
    pub(super) log: String,
    /// When it was drawn, by a clock that comes to the shown end when the time is over.
    pub(super) now: Timestamp,
    /// After how many seconds to look again though no event came.
    pub(super) again: u32,
}

impl<'a> Page<'a> {
    /// The amount that a payer types into a wallet, if that is a way to pay.
    pub(super) fn amount_to_copy(&self) -> Option<String> {
        let way = match &self.ways {
            Ways::Whole(_, second) => second.as_ref(),
            Ways::Rest(way) => Some(way),
            Ways::None | Ways::ByHand => None,
        };
        way?.amount.as_ref().map(Amount::coins)
    }

    /// What the page says at a moment. `watched` is whether a payment of this moment would be noticed.
    pub(super) fn of(
        statement: &'a Statement,
        now: &Reading,
        watched: bool,
        settings: &ApiSettings,
        words: &'a Messages,
    ) -> Self {
        let invoice = &statement.invoice;
        let standing = statement.standing();
        let state = State::of(statement, &standing, now);
        let in_part = standing.settlement.is_none() && standing.amount_paid > 0;
        let some = |satoshis: u64| (satoshis > 0).then(|| Amount::new(satoshis));
        let outputs = invoice.outputs.iter().zip(&standing.outputs);
        let missing = outputs.clone().map(|(required, standing)| missing(required, standing));
        let missing_in_all = missing.fold(0, u64::saturating_add);
        let ways = Ways::of(state, statement, &standing, settings, words);
        Self {
            id: invoice.id.to_string(),
            state,
            headline: state.headline(words),
            text: state.text(statement, &standing, words),
            notices: notices(state, statement, &standing, watched, settings.network, words),
            asked: Amount::new(invoice.required_satoshis()),
            missing: some(missing_in_all).filter(|_| ways.are_for_the_rest()),
            received: some(standing.amount_paid).filter(|_| in_part),
            with_tokens: invoice.outputs.iter().any(|output| output.token.is_some()),
            memo: invoice.memo.as_deref().filter(|memo| !memo.is_empty()),
            expires: invoice.expires.into(),
            is_over: invoice.is_over(now, Duration::ZERO) && state != State::Held,
            time_left: state.is_open().then(|| time_left(invoice.time_left(now), words)),
            ways,
            outputs: outputs
                .map(|(required, standing)| {
                    Output::of(required, in_part.then_some(standing), settings.network, words)
                })
                .collect(),
            outputs_heading: match invoice.outputs.len() {
                1 => words.output.clone(),
                number => fill(&words.outputs, &[("number", &number.to_string())]),
            },
            payment: standing.settlement.as_ref().map(|it| Payment::of(statement, it, words)),
            since: statement.state.events,
            log: settings.log.to_string(),
            now: match invoice.time_left(now) {
                Duration::ZERO => now.wall,
                left => invoice.expires.before(left),
            },
            again: state.look_again(statement.state.open_claims > 0, watched),
        }
    }
}

/// What else a payer should know, the most urgent first.
fn notices(
    state: State,
    statement: &Statement,
    standing: &Standing,
    watched: bool,
    network: Network,
    words: &Messages,
) -> Vec<String> {
    let with_amount =
        |text: &str, satoshis: u64| fill(text, &[("amount", &Amount::new(satoshis).in_words(words))]);
    let is_settled = standing.settlement.is_some();
    let lost = statement.credits.iter().any(|credit| credit.state == CreditState::Lost);
    let contested = is_contested(statement, standing);
    let tokens_over = standing.outputs.iter().any(|output| output.token_overpaid > 0);
    let is_paid = state.is_paid();
    let late = standing.settlement.as_ref().is_some_and(|settlement| settlement.late);
    let mut notices = Vec::new();
    if !watched && state.is_expectant() {
        notices.push(words.node_away.clone());
    }
    if state == State::Partial && statement.state.open_claims > 0 {
        notices.push(words.another_under_way.clone());
    }
    if !is_settled && lost {
        notices.push(words.reverted.clone());
    } else if !is_settled && contested {
        notices.push(words.contested.clone());
    }
    if state == State::Doubtful && late {
        notices.push(words.late.clone());
    }
    if is_paid && standing.overpaid > 0 {
        notices.push(with_amount(&words.overpaid, standing.overpaid));
    }
    if is_paid && tokens_over {
        notices.push(words.tokens_overpaid.clone());
    }
    if matches!(state, State::Over | State::Expired | State::Cancelled) && standing.amount_paid > 0 {
        notices.push(with_amount(&words.kept, standing.amount_paid));
    }
    if network != Network::Main {
        notices.push(words.test_network.clone());
    }
    notices
}
