//! What must hold of every parser, whatever bytes it is given. One function a fuzz target; `tests/corpus.rs` runs the
//! same ones over the kept corpus, on any Rust.
//!
//! A parser answers or refuses; it never panics, and what it took it can write again.

#![allow(dead_code, reason = "each target has a use for one of them")]
#![allow(clippy::expect_used, reason = "what is not expected is what is looked for")]

use bytes::Bytes;
use jppd::{
    api::parsers,
    bch::{Address, Network, Transaction},
    invoice::InvoiceId,
};

/// A transaction with its outputs and token prefixes, as a wallet or the node sends it.
pub(crate) fn transaction(data: &[u8]) {
    let raw = Bytes::copy_from_slice(data);
    let lenient = Transaction::decode(raw.clone());
    if let Ok(submitted) = Transaction::decode_submitted(raw) {
        let decoded = lenient.expect("what can be submitted can be decoded");
        assert_eq!(submitted.raw().as_ref(), data, "nothing is left over");
        assert_eq!(submitted.txid(), decoded.txid());
        assert_eq!(submitted.inputs().len(), submitted.unlocking_bytes().len());
        let again = Transaction::decode(submitted.raw().clone()).expect("it was one before");
        assert_eq!(again.outputs(), submitted.outputs());
        for output in submitted.outputs() {
            if let Some(token) = &output.token {
                assert!(token.is_possible(), "{token:?}");
            }
        }
    }
}

/// An address in every spelling, on every network.
pub(crate) fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for network in Network::ALL {
        if let Ok(address) = Address::parse(text, network) {
            let written = address.to_string();
            assert_eq!(Address::parse(&written, network).as_ref(), Ok(&address), "{written}");
            let script = Address::of_script(address.script(), network).expect("it has an address");
            assert_eq!(script.with_token_awareness(address.is_token_aware()), address);
        }
    }
}

/// The name of an invoice in a path.
pub(crate) fn invoice_id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(id) = InvoiceId::parse(text) {
        let written = id.to_string();
        assert!(written.len() == 32 && written.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        assert_eq!(InvoiceId::parse(&written), Some(id));
    }
}

/// An `Accept` header.
pub(crate) fn accept(data: &[u8]) {
    let chosen = parsers::accept(data);
    if let Ok(text) = std::str::from_utf8(data) {
        // Capitals mean nothing.
        assert_eq!(parsers::accept(text.to_ascii_uppercase().as_bytes()), chosen, "{text:?}");
    }
}

/// An `Accept-Language` header.
pub(crate) fn language(data: &[u8]) {
    const LANGUAGES: [&str; 4] = ["en", "de", "pt-BR", "fil"];
    let choose = |data: &[u8], languages: &[&str]| parsers::accept_language(data, languages);
    let chosen = choose(data, &LANGUAGES);
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(choose(text.to_ascii_uppercase().as_bytes(), &LANGUAGES), chosen, "capitals: {text:?}");
    }
    // What is offered beside what was chosen changes nothing, unless any language will do.
    if let Some(place) = chosen.filter(|_| !data.contains(&b'*')) {
        assert_eq!(choose(data, &LANGUAGES[place..=place]), Some(0), "{data:?}");
    }
}

/// The bodies of JPP. What stands for the transaction comes back to the letter.
pub(crate) fn jpp(data: &[u8]) {
    let taken = [parsers::jpp_payment(data), parsers::jpp_proposal(data)];
    parsers::jpp_selection(data);
    for hex in taken.into_iter().flatten().filter(|hex| hex.is_ascii() && !hex.contains(['\\', '"'])) {
        let text = String::from_utf8_lossy(data);
        // A text can be written with escapes as well.
        assert!(text.contains(&hex) || text.contains('\\'), "{hex:?} does not stand in {text:?}");
    }
}

/// The messages of BIP70. The acknowledgement holds the payment byte for byte.
pub(crate) fn bip70(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    if let Some((transactions, ack)) = parsers::bip70_payment(body.clone()) {
        assert!(ack.ends_with(data), "{}", hex::encode(&ack));
        let bytes: usize = transactions.iter().map(Bytes::len).sum();
        assert!(bytes <= data.len(), "nothing comes from nowhere");
    }
    parsers::bip70_verification(body);
}
