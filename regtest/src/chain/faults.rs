//! Transactions with one fault each, and what the node says to them.

use bitcoincash::consensus::serialize;
use bitcoincash::hashes::Hash;
use bitcoincash::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxOut, Txid, transaction};

use super::fixture::{VALUE, payment, stranger};
use crate::wallet::{Category, Nft, NftCapability, PayOptions, Payment, Sign, TokenOutput, Wallet};

/// A transaction with a fault, and what the node says to it.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) raw: Vec<u8>,
    pub(super) code: i32,
    pub(super) message: &'static str,
    pub(super) test: &'static str,
}

fn case(name: &'static str, raw: Vec<u8>, code: i32, message: &'static str, test: &'static str) -> Case {
    Case { name, raw, code, message, test }
}

/// Builds a payment with a change before and a change after it is signed; leaves the wallet as it was.
fn craft(
    wallet: &mut Wallet,
    sign: Sign,
    before: impl FnOnce(&mut Transaction),
    after: impl FnOnce(&mut Transaction),
) -> Vec<u8> {
    let options = PayOptions { sign, fee: Some(1_000), ..PayOptions::default() };
    let mut tx = wallet.pay(&[payment(VALUE)], options).unwrap();
    wallet.release(&tx);
    before(&mut tx);
    wallet.sign(&mut tx, sign).unwrap();
    after(&mut tx);
    serialize(&tx)
}

fn before(wallet: &mut Wallet, change: impl FnOnce(&mut Transaction)) -> Vec<u8> {
    craft(wallet, Sign::ECDSA, change, |_| {})
}

fn after(wallet: &mut Wallet, change: impl FnOnce(&mut Transaction)) -> Vec<u8> {
    craft(wallet, Sign::ECDSA, |_| {}, change)
}

/// Applies a change to the bytes of the first input script.
fn script_sig(tx: &mut Transaction, change: impl FnOnce(&mut Vec<u8>)) {
    let mut script = tx.input[0].script_sig.to_bytes();
    change(&mut script);
    tx.input[0].script_sig = ScriptBuf::from_bytes(script);
}

fn output(tx: &mut Transaction, script: Vec<u8>, satoshis: u64) {
    tx.output[0] = TxOut {
        value: Amount::from_sat(satoshis),
        script_pubkey: ScriptBuf::from_bytes(script),
        token: None,
    };
}

/// Faults that need no chain but the funded one: by themselves, by relay rules, by scripts.
pub(super) fn own_faults(wallet: &mut Wallet) -> Vec<Case> {
    let mut cases = shape_faults(wallet);
    cases.extend(relay_faults(wallet));
    cases.extend(script_faults(wallet));
    cases
}

fn shape_faults(wallet: &mut Wallet) -> Vec<Case> {
    let undecodable = |name, raw| case(name, raw, -22, "TX decode failed", "TX decode failed");
    let mut trailing = after(wallet, |_| {});
    trailing.push(0);
    let mut no_inputs = vec![2, 0, 0, 0, 0, 1];
    no_inputs.extend(serialize(&TxOut {
        value: Amount::from_sat(1_000),
        script_pubkey: stranger(),
        token: None,
    }));
    no_inputs.extend([0; 4]);
    vec![
        undecodable("empty", Vec::new()),
        undecodable("trailing byte", trailing),
        undecodable("segwit form", vec![2, 0, 0, 0, 0, 1, 0, 0]),
        case("no inputs", no_inputs, -26, "bad-txns-vin-empty (code 16)", "16: bad-txns-vin-empty"),
        case(
            "no outputs",
            before(wallet, |tx| tx.output.clear()),
            -26,
            "bad-txns-vout-empty (code 16)",
            "16: bad-txns-vout-empty",
        ),
        case(
            "over 1 MB",
            after(wallet, |tx| tx.output = vec![tx.output[0].clone(); 30_000]),
            -26,
            "bad-txns-oversize (code 16)",
            "16: bad-txns-oversize",
        ),
        case(
            "negative output",
            before(wallet, |tx| tx.output[0].value = Amount::from_sat(u64::MAX)),
            -26,
            "bad-txns-vout-negative (code 16)",
            "16: bad-txns-vout-negative",
        ),
        case(
            "huge output",
            before(wallet, |tx| tx.output[0].value = Amount::from_sat(super::MAX_MONEY + 1)),
            -26,
            "bad-txns-vout-toolarge (code 16)",
            "16: bad-txns-vout-toolarge",
        ),
        case(
            "huge sum",
            before(wallet, |tx| {
                tx.output[0].value = Amount::from_sat(super::MAX_MONEY);
                tx.output[1].value = Amount::from_sat(1_000);
            }),
            -26,
            "bad-txns-txouttotal-toolarge (code 16)",
            "16: bad-txns-txouttotal-toolarge",
        ),
        case(
            "same input twice",
            before(wallet, |tx| tx.input.push(tx.input[0].clone())),
            -26,
            "bad-txns-inputs-duplicate (code 16)",
            "16: bad-txns-inputs-duplicate",
        ),
        case(
            "coinbase",
            after(wallet, |tx| tx.input[0].previous_output = OutPoint::null()),
            -26,
            "bad-tx-coinbase (code 16)",
            "16: bad-tx-coinbase",
        ),
        case(
            "null input",
            after(wallet, |tx| {
                tx.input.push(tx.input[0].clone());
                tx.input[1].previous_output = OutPoint::null();
            }),
            -26,
            "bad-txns-prevout-null (code 16)",
            "16: bad-txns-prevout-null",
        ),
    ]
}

fn relay_faults(wallet: &mut Wallet) -> Vec<Case> {
    let relay = |name, raw, message, test| case(name, raw, -26, message, test);
    let script = |name, raw| relay(name, raw, "scriptpubkey (code 64)", "64: scriptpubkey");
    let mut four_keys = vec![0x51];
    for _ in 0..4 {
        four_keys.push(33);
        four_keys.extend([2; 33]);
    }
    four_keys.extend([0x54, 0xae]);
    vec![
        relay(
            "dust",
            before(wallet, |tx| tx.output[0].value = Amount::from_sat(545)),
            "dust (code 64)",
            "64: dust",
        ),
        relay(
            "version",
            before(wallet, |tx| tx.version = transaction::Version(3)),
            "version (code 64)",
            "64: version",
        ),
        relay(
            "over 100 kB",
            after(wallet, |tx| tx.output = vec![tx.output[0].clone(); 3_000]),
            "tx-size (code 64)",
            "64: tx-size",
        ),
        script("anyone can spend", before(wallet, |tx| output(tx, vec![0x51], VALUE))),
        script("segwit program", before(wallet, |tx| output(tx, [vec![0, 20], vec![7; 20]].concat(), VALUE))),
        script("1 of 4", before(wallet, |tx| output(tx, four_keys, VALUE))),
        script("unparsable token", before(wallet, |tx| output(tx, vec![0xef, 1, 2, 3], VALUE))),
        relay(
            "224 bytes of data",
            before(wallet, |tx| output(tx, [vec![0x6a, 0x4c, 221], vec![1; 221]].concat(), 0)),
            "oversize-op-return (code 64)",
            "64: oversize-op-return",
        ),
        relay(
            "input script too long",
            after(wallet, |tx| script_sig(tx, |script| script.extend(vec![0; 1_600]))),
            "scriptsig-size (code 64)",
            "64: scriptsig-size",
        ),
        relay(
            "input script with an operation",
            after(wallet, |tx| script_sig(tx, |script| script.push(0x76))),
            "scriptsig-not-pushonly (code 64)",
            "64: scriptsig-not-pushonly",
        ),
        relay(
            "61 bytes",
            after(wallet, |tx| {
                output(tx, vec![0x6a], 0);
                tx.output.truncate(1);
                tx.input[0].script_sig = ScriptBuf::new();
            }),
            "bad-txns-undersize (code 64)",
            "64: bad-txns-undersize",
        ),
        relay(
            "locked",
            before(wallet, |tx| {
                tx.lock_time = bitcoincash::absolute::LockTime::from_consensus(200);
                tx.input[0].sequence = Sequence::ZERO;
            }),
            "bad-txns-nonfinal, non-final transaction (code 64)",
            "64: bad-txns-nonfinal",
        ),
        relay(
            "relative lock",
            before(wallet, |tx| tx.input[0].sequence = Sequence::from_height(200)),
            "non-BIP68-final (code 64)",
            "64: non-BIP68-final",
        ),
        relay(
            "more out than in",
            before(wallet, |tx| tx.output[0].value = Amount::from_sat(6_000_000_000)),
            "bad-txns-in-belowout, value in (50.00) < value out (109.99989) (code 16)",
            "16: bad-txns-in-belowout",
        ),
        relay(
            "low fee",
            before(wallet, |tx| tx.output[0].value += Amount::from_sat(900)),
            "min relay fee not met (code 66)",
            "66: min relay fee not met",
        ),
        relay(
            "high fee",
            before(wallet, |tx| tx.output[1].value -= Amount::from_sat(20_000_000)),
            "absurdly-high-fee, 20001000 > 10000000 (code 256)",
            "256: absurdly-high-fee",
        ),
        case(
            "unknown parent",
            after(wallet, |tx| tx.input[0].previous_output.txid = Txid::all_zeros()),
            -25,
            "Missing inputs",
            "missing-inputs",
        ),
    ]
}

fn script_faults(wallet: &mut Wallet) -> Vec<Case> {
    let fault = |name, raw, message, test| case(name, raw, -26, message, test);
    macro_rules! mandatory {
        ($name:literal, $raw:expr, $text:literal) => {
            fault(
                $name,
                $raw,
                concat!("mandatory-script-verify-flag-failed (", $text, ") (code 16)"),
                concat!("16: mandatory-script-verify-flag-failed (", $text, ")"),
            )
        };
    }
    let other_hash_type = |hash_type| Sign::Ecdsa { hash_type };
    let less = |tx: &mut Transaction| tx.output[0].value -= Amount::from_sat(1);
    vec![
        mandatory!(
            "signature over another amount",
            craft(wallet, Sign::ECDSA, |_| {}, less),
            "Signature must be zero for failed CHECK(MULTI)SIG operation"
        ),
        mandatory!(
            "Schnorr signature over another amount",
            craft(wallet, Sign::SCHNORR, |_| {}, less),
            "Signature must be zero for failed CHECK(MULTI)SIG operation"
        ),
        mandatory!(
            "wrong key",
            after(wallet, |tx| script_sig(tx, |script| *script.last_mut().unwrap() ^= 1)),
            "Script failed an OP_EQUALVERIFY operation"
        ),
        mandatory!(
            "no fork id",
            craft(wallet, other_hash_type(0x01), |_| {}, |_| {}),
            "Signature must use SIGHASH_FORKID"
        ),
        mandatory!(
            "unknown hash type",
            craft(wallet, other_hash_type(0x44), |_| {}, |_| {}),
            "Signature hash type missing or not understood"
        ),
        mandatory!(
            "spent outputs, but others may pay",
            craft(wallet, other_hash_type(0xe1), |_| {}, |_| {}),
            "Signature hash type missing or not understood"
        ),
        mandatory!(
            "malformed signature",
            after(wallet, |tx| script_sig(tx, |script| script[1] = 0x31)),
            "Non-canonical DER signature"
        ),
        mandatory!("high S", after(wallet, high_s), "Non-canonical signature: S value is unnecessarily high"),
        mandatory!(
            "no input script",
            after(wallet, |tx| script_sig(tx, Vec::clear)),
            "Operation not valid with the current stack size"
        ),
        mandatory!(
            "key only",
            after(wallet, |tx| script_sig(tx, |script| drop(script.drain(..=usize::from(script[0]))))),
            "Operation not valid with the current stack size"
        ),
        mandatory!(
            "empty signature",
            after(wallet, |tx| script_sig(tx, |script| drop(script.splice(..=usize::from(script[0]), [0])))),
            "Script evaluated without error but finished with a false/empty top stack element"
        ),
        mandatory!(
            "long push",
            after(wallet, |tx| script_sig(tx, |script| script.insert(0, 0x4c))),
            "Data push larger than necessary"
        ),
        fault(
            "extra stack item",
            after(wallet, |tx| script_sig(tx, |script| script.insert(0, 0x51))),
            "non-mandatory-script-verify-flag (Extra items left on stack after execution) (code 64)",
            "64: non-mandatory-script-verify-flag (Extra items left on stack after execution)",
        ),
    ]
}

/// Replaces S by its negative, which verifies too.
fn high_s(tx: &mut Transaction) {
    const ORDER: [u8; 32] = bitcoincash::secp256k1::constants::CURVE_ORDER;
    script_sig(tx, |script| {
        let length = usize::from(script[0]);
        let r_end = 1 + 4 + usize::from(script[4]);
        let s: Vec<u8> = script[r_end + 2..length].to_vec();
        let mut padded = vec![0; 32 - s.len()];
        padded.extend(s);
        let mut negative = Vec::new();
        let mut borrow = 0;
        for (order, digit) in ORDER.iter().zip(&padded).rev() {
            let difference = i16::from(*order) - i16::from(*digit) - borrow;
            borrow = i16::from(difference < 0);
            negative.push(u8::try_from(difference.rem_euclid(256)).unwrap());
        }
        negative.push(0);
        negative.reverse();
        let key = script.split_off(length + 1);
        let hash_type = script[length];
        script.truncate(r_end + 1);
        script.push(33);
        script.extend(negative);
        script.push(hash_type);
        script[0] = u8::try_from(script.len() - 1).unwrap();
        script[2] = script[0] - 3;
        script.extend(key);
    });
}

/// Faults with tokens; the genesis transaction must be known to the chain.
pub(super) fn token_faults(wallet: &mut Wallet, genesis: &Transaction) -> Vec<Case> {
    let data = genesis.output[0].token.clone().unwrap();
    let pay = |wallet: &mut Wallet, amount, nft: Option<&[u8]>| {
        let nft =
            nft.map(|commitment| Nft { capability: NftCapability::None, commitment: commitment.to_vec() });
        let token = TokenOutput { category: Category::Existing(data.id), amount, nft };
        let options = PayOptions { fee: Some(1_000), ..PayOptions::default() };
        let tx = wallet.pay(&[Payment::with_token(stranger(), 2_000, token)], options).unwrap();
        wallet.release(&tx);
        tx
    };
    let signed = |wallet: &mut Wallet, mut tx: Transaction, change: &dyn Fn(&mut Transaction)| {
        change(&mut tx);
        wallet.sign(&mut tx, Sign::ECDSA).unwrap();
        serialize(&tx)
    };
    let fungible = pay(wallet, 10, None);
    let ticket = pay(wallet, 0, Some(b"ticket"));
    let id = data.id.to_string()[..30].to_owned();
    let text = |before: &str, token: &str, after: &str| -> &'static str {
        Box::leak(format!("{before}token::OutputData(id={id}, {token}){after}").into_boxed_str())
    };
    vec![
        case(
            "unknown category",
            signed(wallet, fungible.clone(), &|tx| {
                let token = tx.output[0].token.as_mut().unwrap();
                token.id = bitcoincash::TokenID::from_byte_array([9; 32]);
            }),
            -26,
            "bad-txns-token-invalid-category (code 16)",
            "16: bad-txns-token-invalid-category",
        ),
        case(
            "more tokens out than in",
            signed(wallet, fungible.clone(), &|tx| {
                let token = tx.output[0].token.as_mut().unwrap();
                token.amount = bitcoincash::token::TokenAmount::from_int(1_001).unwrap();
            }),
            -26,
            text(
                "bad-txns-token-in-belowout, CheckTxTokens: token (",
                "bitfield=10, amount=1001, commitment=",
                ") value in < value out (code 16)",
            ),
            "16: bad-txns-token-in-belowout",
        ),
        case(
            "another ticket",
            signed(wallet, ticket.clone(), &|tx| {
                tx.output[0].token.as_mut().unwrap().commitment = b"tickets".to_vec();
            }),
            -26,
            text(
                "bad-txns-token-nft-ex-nihilo, CheckTxTokens: token (",
                "bitfield=60, amount=0, commitment=7469636b657473",
                ") nft output cannot be created out of thin air (code 16)",
            ),
            "16: bad-txns-token-nft-ex-nihilo",
        ),
        case(
            "long commitment",
            signed(wallet, ticket, &|tx| tx.output[0].token.as_mut().unwrap().commitment = vec![7; 41]),
            -26,
            text(
                "bad-txns-token-commitment-oversized, CheckTokenData: token ",
                "bitfield=60, amount=0, commitment=070707070707070707070707070707",
                " has nft commitment that is oversized 41 (code 16)",
            ),
            "16: bad-txns-token-commitment-oversized",
        ),
        case(
            "signature that leaves the token out",
            {
                let mut tx = fungible;
                tx.output[0].token = None;
                serialize(&tx)
            },
            -26,
            "mandatory-script-verify-flag-failed (Signature must be zero for failed CHECK(MULTI)SIG operation) (code 16)",
            "16: mandatory-script-verify-flag-failed (Signature must be zero for failed CHECK(MULTI)SIG operation)",
        ),
    ]
}
