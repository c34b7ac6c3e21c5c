//! The outputs of a creation: addresses, amounts and tokens, all of them checked.

use super::{
    Complaint,
    fields::{Form, Value, filled_text, integer_within, text, text_within},
};
use crate::{
    bch::{
        Address, Capability, Category, MAX_COMMITMENT_BYTES, MAX_MONEY, MAX_TOKEN_AMOUNT, Network, Nft,
        Token, dust_limit,
    },
    invoice::RequiredOutput,
};

/// The longest description, in characters.
const MOST_DESCRIPTION: usize = 512;

/// The required outputs of these values.
///
/// # Errors
///
/// What is wrong with each, in its place.
pub(super) fn outputs(values: Vec<Value<'_>>, network: Network) -> Result<Vec<RequiredOutput>, Complaint> {
    let outputs: Vec<_> = values.into_iter().map(|value| output(value, network)).collect();
    if outputs.iter().all(Result::is_ok) {
        return Ok(outputs.into_iter().flatten().collect());
    }
    let complaint = |output: Result<_, Complaint>| output.err().unwrap_or_else(Complaint::none);
    Err(Complaint::Items(outputs.into_iter().map(complaint).collect()))
}

fn output(value: Value<'_>, network: Network) -> Result<RequiredOutput, Complaint> {
    let mut form = Form::of_value(value)?;
    let satoshis = form.required("amount", |value| integer_within(value, 1, MAX_MONEY));
    let address = form.required("address", |value| address(value, network));
    let description = form.optional("description", |value| text_within(value, MOST_DESCRIPTION));
    let token = form.not_null("token", token);
    if let (Some(satoshis), Some(address)) = (satoshis, &address) {
        let least = dust_limit(address.script(), token.as_ref());
        if satoshis < least {
            let what = if token.is_some() {
                "an output to this address with this token"
            } else {
                "an output to this address"
            };
            form.complain(
                "amount",
                format!(
                    "Ensure this value is at least {least}: {what} with less is dust, and is not relayed."
                ),
            );
        }
    }
    form.finish()?;
    let (Some(satoshis), Some(address)) = (satoshis, address) else { return Err(Complaint::none()) };
    let description = description.filter(|description| !description.is_empty());
    Ok(RequiredOutput::new(&address, satoshis, token, description))
}

/// An address of the network.
pub(super) fn address(value: Value<'_>, network: Network) -> Result<Address, Complaint> {
    Address::parse(&filled_text(value)?, network).map_err(|error| Complaint::text(error.to_string()))
}

fn token(value: Value<'_>) -> Result<Token, Complaint> {
    let mut form = Form::of_value(value)?;
    let category = form.required("category", |value| {
        let wrong = || Complaint::text("Must be the 64 hexadecimal digits of a category.");
        Category::parse(&filled_text(value)?).ok_or_else(wrong)
    });
    let amount = form.required("amount", |value| integer_within(value, 0, MAX_TOKEN_AMOUNT));
    let nft_is_asked = form.has("nft");
    let nft = form.not_null("nft", nft);
    if amount == Some(0) && !nft_is_asked {
        form.complain("amount", "Ensure this value is greater than or equal to 1, or ask for an NFT.");
    }
    form.finish()?;
    let (Some(category), Some(amount)) = (category, amount) else { return Err(Complaint::none()) };
    Ok(Token { category, amount, nft })
}

fn nft(value: Value<'_>) -> Result<Nft, Complaint> {
    let mut form = Form::of_value(value)?;
    let capability = form.required("capability", |value| {
        let word = filled_text(value)?;
        Capability::parse(&word).ok_or_else(|| {
            Complaint::text(format!("\"{word}\" is not a valid choice: none, mutable or minting."))
        })
    });
    let commitment = form.required("commitment", |value| {
        let wrong = || Complaint::text("Must be hexadecimal digits, two for each byte.");
        let commitment = hex::decode(text(value)?).map_err(|_| wrong())?;
        if commitment.len() > MAX_COMMITMENT_BYTES {
            let text = format!("Ensure this field has no more than {MAX_COMMITMENT_BYTES} bytes.");
            return Err(Complaint::text(text));
        }
        Ok(commitment)
    });
    form.finish()?;
    let (Some(capability), Some(commitment)) = (capability, commitment) else {
        return Err(Complaint::none());
    };
    Ok(Nft { capability, commitment })
}
