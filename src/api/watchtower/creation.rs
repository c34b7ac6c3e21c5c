//! The body of a creation, as the draft of an invoice.

use std::time::Duration;

use super::{
    Complaint, Fault,
    fields::{Form, Value, decimal, integer_within, list, text, text_within},
    outputs::outputs,
};
use crate::{
    api::{settings::ApiSettings, submissions::MOST_MEMO},
    bch::{FeeRate, MAX_MONEY, ProofScore},
    invoice::{Draft, MAX_CONFIRMATIONS_REQUIRED, RequiredOutput, Timestamp, ZeroConf},
};

/// The longest `merchant_data`, in bytes of JSON.
const MOST_MERCHANT_DATA: usize = 4096;

/// The draft of a body that came at this moment, beside a node that relays from this fee rate on, as far as that is known.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(super) fn draft(
    body: &[u8],
    settings: &ApiSettings,
    relayed: Option<FeeRate>,
    now: Timestamp,
) -> Result<Draft, Fault> {
    let mut form = Form::of_body(body)?;
    let outputs = required_outputs(&mut form, settings);
    let memo = form.optional("memo", |value| text_within(value, MOST_MEMO));
    let merchant_data = form.optional("merchant_data", merchant_data);
    let lasts = lasts(&mut form, settings, now);
    let fee_rate = rate_to_ask(form.optional("required_fee_per_byte", fee_rate), settings.fee_rate, relayed);
    let most_confirmations = u64::from(MAX_CONFIRMATIONS_REQUIRED);
    let confirmations =
        form.optional("confirmations_required", |value| integer_within(value, 0, most_confirmations));
    let zero_conf = form.optional("zero_conf", zero_conf);
    form.finish()?;
    let confirmations_required =
        confirmations.and_then(|number| u8::try_from(number).ok()).unwrap_or(settings.confirmations_required);
    Ok(Draft { outputs, memo, merchant_data, lasts, fee_rate, confirmations_required, zero_conf })
}

/// The fee rate that an invoice asks: the creator's, or else the operator's, and never less than what the node relays. What
/// pays less than that the node refuses.
fn rate_to_ask(asked: Option<FeeRate>, configured: FeeRate, relayed: Option<FeeRate>) -> FeeRate {
    let by_itself = configured.max(relayed.unwrap_or_default());
    asked.unwrap_or(by_itself).max(relayed.unwrap_or(FeeRate::ZERO))
}

fn required_outputs(form: &mut Form<'_>, settings: &ApiSettings) -> Vec<RequiredOutput> {
    let Some(values) = form.required("outputs", list) else { return Vec::new() };
    if values.is_empty() {
        form.complain_of_all("must have at least 1 output");
        return Vec::new();
    }
    if values.len() > settings.max_outputs {
        form.complain_of_all(format!("must have at most {} outputs", settings.max_outputs));
        return Vec::new();
    }
    match outputs(values, settings.network) {
        Ok(outputs) => {
            let sum = outputs.iter().try_fold(0u64, |sum, output| sum.checked_add(output.satoshis));
            if sum.is_none_or(|sum| sum > MAX_MONEY) {
                form.complain_of_all(format!("must not ask for more than {MAX_MONEY} satoshis in all"));
            }
            outputs
        }
        Err(complaint) => {
            form.complain("outputs", complaint);
            Vec::new()
        }
    }
}

/// Any JSON, kept as it is written.
fn merchant_data(value: Value<'_>) -> Result<String, Complaint> {
    let text = value.get();
    if text.len() > MOST_MERCHANT_DATA {
        let text = format!("Ensure this field has no more than {MOST_MERCHANT_DATA} bytes of JSON.");
        return Err(Complaint::text(text));
    }
    Ok(text.to_owned())
}

/// How long it can be paid: until a given moment, or for a given time.
fn lasts(form: &mut Form<'_>, settings: &ApiSettings, now: Timestamp) -> Duration {
    let last = now.after(settings.max_expiry);
    let at = form.optional("expires", |value| {
        let wrong = "Datetime has wrong format: use RFC 3339, such as 2026-11-23T02:43:49.099Z.";
        let expires = Timestamp::parse(&text(value)?).ok_or_else(|| Complaint::text(wrong))?;
        if expires <= now {
            return Err(Complaint::text("Ensure this time is in the future."));
        }
        if expires > last {
            return Err(Complaint::text(format!("Ensure this time is not after {last}.")));
        }
        Ok(expires.since(now))
    });
    let within = form
        .optional("expires_in", |value| integer_within(value, 1, settings.max_expiry.as_secs()))
        .map(Duration::from_secs);
    if at.is_some() && within.is_some() {
        form.complain_of_all("give expires or expires_in, not both");
    }
    at.or(within).unwrap_or(settings.default_expiry)
}

/// A fee rate, from the very number that was written.
fn fee_rate(value: Value<'_>) -> Result<FeeRate, Complaint> {
    let complaint = "Must be satoshis per byte from 0 to 1000, with at most three decimals, such as 1.0.";
    decimal(value)?.parse().map_err(|_| Complaint::text(complaint))
}

/// What a payment outside a block must show before it counts: `{"min_score": 1.0, "wait_ms": 3000}`, both of which may be
/// left out.
fn zero_conf(value: Value<'_>) -> Result<ZeroConf, Complaint> {
    let mut form = Form::of_value(value)?;
    let most_wait = u64::try_from(ZeroConf::MOST_WAIT.as_millis()).unwrap_or(u64::MAX);
    let wait = form.optional("wait_ms", |value| integer_within(value, 0, most_wait));
    let min_score = form.optional("min_score", |value| {
        let complaint = "Must be a number from 0 to 1, with at most three decimals, such as 0.25.";
        decimal(value)?.parse().map_err(|_| Complaint::text(complaint))
    });
    form.finish()?;
    let wait = Duration::from_millis(wait.unwrap_or_default());
    Ok(ZeroConf { min_score: min_score.unwrap_or(ProofScore::FULL), wait })
}
