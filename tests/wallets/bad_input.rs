//! What no wallet sends, in every dialect: each has its answer, which says whose fault it is. Never 500, and nothing is
//! ever broadcast or counted.

use anyhow::{Result, ensure};
use bitcoincash::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, absolute::LockTime,
    consensus, hashes::Hash as _, transaction::Version,
};
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    http::{Answer, Body},
    on_every_node,
    protobuf::{PAYMENT, Payment},
    shop::{Invoice, Shop, Signed},
};

/// All satoshis that there will be.
const MAX_MONEY: u64 = 2_100_000_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Rest,
    V1,
    V2,
    Bip70,
}

const DIALECTS: [Dialect; 4] = [Dialect::Rest, Dialect::V1, Dialect::V2, Dialect::Bip70];

impl Dialect {
    /// Whether something about inputs is wrong has a status code of its own in JPP alone.
    fn status(self, about_inputs: bool) -> u16 {
        match self {
            Self::V1 | Self::V2 if about_inputs => 422,
            Self::Rest | Self::V1 | Self::V2 | Self::Bip70 => 400,
        }
    }

    /// Submits bytes as a transaction: asks whether they would be taken, and pays with them.
    async fn submit(self, shop: &Shop, invoice: &Invoice, raw: &[u8]) -> Result<[Answer; 2]> {
        let hex = hex::encode(raw);
        let requests: [(String, &str, Vec<u8>); 2] = match self {
            Self::Rest => ["verify", "pay"].map(|step| {
                let body = json!({"raw_tx_hex": hex}).to_string().into_bytes();
                (format!("{}/{step}", invoice.url), "application/json", body)
            }),
            Self::V1 => {
                let verify =
                    json!({"currency": "BCH", "unsignedTransaction": hex, "weightedSize": raw.len()});
                let pay = json!({"currency": "BCH", "transactions": [hex]});
                [
                    (invoice.url.clone(), "application/verify-payment", verify.to_string().into_bytes()),
                    (invoice.url.clone(), "application/payment", pay.to_string().into_bytes()),
                ]
            }
            Self::V2 => ["application/payment-verification", "application/payment"].map(|content_type| {
                let body = json!({"chain": "BCH", "currency": "BCH", "transactions": [{"tx": hex}]});
                (invoice.url.clone(), content_type, body.to_string().into_bytes())
            }),
            Self::Bip70 => {
                let payment = Payment { transactions: vec![raw.to_vec()], ..Payment::default() };
                // The verification: the bytes in field 1, a size in field 2.
                let mut verification = Payment { merchant_data: Some(raw.to_vec()), ..Payment::default() };
                verification.transactions.clear();
                let verification = [verification.encode_to_vec(), vec![0x10, 0x64]].concat();
                [
                    (invoice.url.clone(), "application/bitcoincash-verify-payment", verification),
                    (invoice.url.clone(), PAYMENT, payment.encode_to_vec()),
                ]
            }
        };
        let [verify, pay] = requests;
        let send = async |(url, content_type, body): (String, &str, Vec<u8>)| {
            shop.send("POST", &url, &[("Content-Type", content_type)], Body::Sized(&body)).await
        };
        Ok([send(verify).await?, send(pay).await?])
    }
}

/// What is said of one transaction, in every dialect and in both steps.
struct Case {
    name: &'static str,
    raw: Vec<u8>,
    about_inputs: bool,
    text: &'static str,
}

fn changed(good: &Signed, change: impl FnOnce(&mut Transaction)) -> Vec<u8> {
    let mut transaction = good.transaction.clone();
    change(&mut transaction);
    consensus::serialize(&transaction)
}

fn output(satoshis: u64) -> TxOut {
    TxOut { value: Amount::from_sat(satoshis), script_pubkey: regtest::purse::nobody(), token: None }
}

fn input(txid: [u8; 32], vout: u32) -> TxIn {
    TxIn {
        previous_output: OutPoint { txid: Txid::from_byte_array(txid), vout },
        script_sig: ScriptBuf::from(vec![0x51; 10]),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    }
}

/// Transactions that are none, or that cannot be paid with.
fn cases(good: &Signed) -> Vec<Case> {
    let unreadable = "We were unable to parse the transaction you sent";
    let case = |name, raw, about_inputs, text| Case { name, raw, about_inputs, text };
    let without_inputs = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![],
        output: vec![output(1)],
    };
    vec![
        case("nothing", Vec::new(), false, ""),
        case("one byte", vec![2], false, unreadable),
        case("truncated", good.raw[..good.raw.len() - 1].to_vec(), false, unreadable),
        case("half of it", good.raw[..good.raw.len() / 2].to_vec(), false, unreadable),
        case(
            "trailing bytes",
            [&good.raw[..], &[0]].concat(),
            false,
            "bytes are left over after the transaction",
        ),
        case(
            "twice in a row",
            [&good.raw[..], &good.raw].concat(),
            false,
            "bytes are left over after the transaction",
        ),
        case("zeros", vec![0; 1000], false, unreadable),
        case("ones", vec![0xff; 1000], false, unreadable),
        // A number of inputs, and a length of a script, that would fill the memory of who believes them.
        case("2^64 inputs", [&[2, 0, 0, 0][..], &[0xff; 9]].concat(), false, unreadable),
        case(
            "a script of 2^32 bytes",
            [&[2, 0, 0, 0, 1][..], &[7; 36], &[0xfe, 0xff, 0xff, 0xff, 0xff]].concat(),
            false,
            unreadable,
        ),
        case("no inputs", consensus::serialize(&without_inputs), false, unreadable),
        case("no outputs", changed(good, |tx| tx.output.clear()), false, "does not have any output"),
        case("too large", vec![2; 100_001], false, "a transaction has at most 100000 bytes"),
        case(
            "3,200 outputs",
            changed(good, |tx| tx.output.extend(vec![output(1000); 3_200])),
            false,
            "a transaction has at most 100000 bytes",
        ),
        case(
            "2,900 outputs",
            changed(good, |tx| tx.output.extend(vec![output(100_000_000_000); 2_900])),
            true,
            "is less than total output",
        ),
        case(
            "another amount",
            changed(good, |tx| tx.output[0].value = Amount::from_sat(1)),
            false,
            "does not match the amount requested",
        ),
        case(
            "a coinbase",
            changed(good, |tx| tx.input = vec![input([0; 32], u32::MAX)]),
            true,
            "A coinbase transaction cannot be submitted",
        ),
        case("an input twice", changed(good, |tx| tx.input.push(tx.input[0].clone())), true, "twice"),
        case(
            "an unknown input",
            changed(good, |tx| tx.input = vec![input([9; 32], 0)]),
            true,
            "were not found on the blockchain",
        ),
        case(
            "more than it takes in",
            changed(good, |tx| tx.output.push(output(MAX_MONEY))),
            true,
            "is less than total output",
        ),
        case(
            "over all money",
            changed(good, |tx| tx.output.push(output(MAX_MONEY + 1))),
            true,
            "is less than total output",
        ),
        case(
            "2^64 - 1 satoshis",
            changed(good, |tx| tx.output.push(output(u64::MAX))),
            true,
            "is less than total output",
        ),
        case(
            "a sum over 2^64",
            changed(good, |tx| tx.output.extend([output(u64::MAX), output(u64::MAX)])),
            true,
            "is less than total output",
        ),
        case(
            "a negative amount",
            changed(good, |tx| tx.output.push(output(1 << 63))),
            true,
            "is less than total output",
        ),
        case(
            "too low a fee",
            changed(good, |tx| tx.output[1].value += Amount::from_sat(100)),
            false,
            "is below the current minimum threshold",
        ),
    ]
}

on_every_node!(transactions_that_are_none, async |mut shop: Shop| {
    let invoice = shop.invoice(&[61_000]).await?;
    let good = shop.sign(&invoice)?;
    for Case { name, raw, about_inputs, text } in cases(&good) {
        for dialect in DIALECTS {
            for (step, answer) in ["verify", "pay"].iter().zip(dialect.submit(&shop, &invoice, &raw).await?) {
                let said = answer.expect(dialect.status(about_inputs));
                let said = said.map_err(|error| anyhow::anyhow!("{name}, {dialect:?}, {step}: {error}"))?;
                ensure!(said.contains(text) && said.len() < 1_000, "{name}, {dialect:?}, {step}: {said}");
            }
        }
    }
    shop.is_untouched(&invoice).await?;
    // After all that the good one is taken.
    for answer in Dialect::V2.submit(&shop, &invoice, &good.raw).await? {
        answer.ok()?;
    }
    shop.is_paid_with(&invoice, &good).await?;
    Ok(())
});

/// The largest body of a media type, in bytes.
fn most(content_type: &str) -> usize {
    if content_type == "application/payment-request" { 4096 } else { 256 * 1024 }
}

/// Bodies that are no documents, for every request that has one.
fn json_bodies(hex: &str) -> Vec<(&'static str, Vec<u8>)> {
    let nested =
        |open: &str, close: &str| [open.repeat(100_000), close.repeat(100_000)].concat().into_bytes();
    let text = |text: String| text.into_bytes();
    vec![
        ("empty", Vec::new()),
        ("null", b"null".to_vec()),
        ("a number", b"1e3".to_vec()),
        ("a text", b"\"x\"".to_vec()),
        ("an array", b"[]".to_vec()),
        ("truncated", text(format!("{{\"transactions\":[\"{hex}"))),
        ("two documents", b"{}{}".to_vec()),
        ("deep arrays", nested("[", "]")),
        ("deep objects", nested("{\"a\":", "}")),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("latin 1", b"{\"memo\":\"K\xe4se\"}".to_vec()),
        ("utf-16", b"\xff\xfe{\0}\0".to_vec()),
        ("nul", b"\0".to_vec()),
        (
            "a lone surrogate",
            br#"{"raw_tx_hex":"\ud800","transactions":["\ud800"],"unsignedTransaction":"\udfff","chain":"\ud800"}"#.to_vec(),
        ),
        ("not a number", b"{\"weightedSize\":NaN}".to_vec()),
        (
            "a number of 400 digits",
            text(format!(
                "{{\"raw_tx_hex\":{0},\"transactions\":[{0}],\"unsignedTransaction\":{0},\"chain\":{0}}}",
                "9".repeat(400)
            )),
        ),
        ("a million spaces", vec![b' '; 1_000_000]),
    ]
}

on_every_node!(json_that_is_none, async |mut shop: Shop| {
    let invoice = shop.invoice(&[61_000]).await?;
    let hex = shop.sign(&invoice)?.hex;
    let pay = format!("{}/pay", invoice.url);
    let verify = format!("{}/verify", invoice.url);
    let requests = [
        (&pay, "application/json"),
        (&verify, "application/json"),
        (&invoice.url, "application/payment"),
        (&invoice.url, "application/payment-verification"),
        (&invoice.url, "application/verify-payment"),
        (&invoice.url, "application/payment-request"),
    ];
    for (name, body) in json_bodies(&hex) {
        for (url, content_type) in requests {
            let answer =
                shop.send("POST", url, &[("Content-Type", content_type)], Body::Sized(&body)).await?;
            let status = if body.len() > most(content_type) { 413 } else { 400 };
            let said =
                answer.expect(status).map_err(|error| anyhow::anyhow!("{name}, {content_type}: {error}"))?;
            ensure!(!said.is_empty() && said.len() < 1_000, "{name}, {content_type}: {said}");
        }
    }
    shop.is_untouched(&invoice).await
});

/// Values of the wrong type or form, each in its field.
fn fields(hex: &str) -> Vec<(&'static str, Value, &'static str)> {
    let unreadable = "We were unable to parse your payment";
    let not_hex = "it must be a hexadecimal string";
    let one = "Request must include exactly one (1) transaction";
    let (payment, verification) = ("application/payment", "application/verify-payment");
    let odd = &hex[..hex.len() - 1];
    vec![
        (payment, json!({"transactions": [odd]}), not_hex),
        (payment, json!({"transactions": [{"tx": odd}]}), not_hex),
        (payment, json!({"transactions": [format!("0x{hex}")]}), not_hex),
        (payment, json!({"transactions": [format!(" {hex}")]}), not_hex),
        (payment, json!({"transactions": [format!("{hex}\u{0}")]}), not_hex),
        (payment, json!({"transactions": [-1]}), not_hex),
        (payment, json!({"transactions": [1e308]}), not_hex),
        (payment, json!({"transactions": [true]}), not_hex),
        (payment, json!({"transactions": [null]}), not_hex),
        (payment, json!({"transactions": [[hex]]}), not_hex),
        (payment, json!({"transactions": [{"tx": 1e3, "weightedSize": -1}]}), not_hex),
        (payment, json!({"transactions": [{"tx": {"tx": hex}}]}), not_hex),
        (payment, json!({"transactions": hex}), unreadable),
        (payment, json!({"transactions": {"0": hex}}), unreadable),
        (payment, json!({"transactions": null}), unreadable),
        (payment, json!({"transactions": []}), one),
        (payment, json!({"transactions": [hex, hex]}), one),
        (payment, json!({"transactions": vec![hex; 100]}), one),
        (payment, json!({"chain": "BTC", "transactions": [hex]}), "priced in BCH, not BTC"),
        (payment, json!({"chain": "<script>", "transactions": [hex]}), "priced in BCH, not that currency"),
        (payment, json!({"chain": "B\u{0}H", "transactions": [hex]}), "priced in BCH, not that currency"),
        (verification, json!({"unsignedTransaction": odd}), not_hex),
        (verification, json!({"unsignedTransaction": [hex]}), not_hex),
        (verification, json!({"unsignedTransaction": null}), not_hex),
        (verification, json!({"currency": "BCH"}), unreadable),
        (verification, json!({"currency": 7, "unsignedTransaction": hex}), unreadable),
    ]
}

on_every_node!(fields_that_are_none, async |mut shop: Shop| {
    let invoice = shop.invoice(&[61_000]).await?;
    let hex = shop.sign(&invoice)?.hex;
    for (content_type, body, text) in fields(&hex) {
        let said = shop.post(&invoice.url, &[("Content-Type", content_type)], &body).await?.expect(400)?;
        ensure!(said.contains(text), "{body}: {said}");
    }
    // A key that comes twice could mean one thing to a proxy and another to us.
    let twice = format!("{{\"transactions\":[\"{hex}\"],\"transactions\":[\"00\"]}}");
    let headers = [("Content-Type", "application/payment")];
    let said = shop.post_bytes(&invoice.url, &headers, twice.as_bytes()).await?.expect(400)?;
    ensure!(said.contains("We were unable to parse your payment"), "{said}");
    for (raw, text) in [
        (json!(null), "may not be null"),
        (json!(""), "may not be blank"),
        (json!(1e3), "hexadecimal"),
        (json!(-1), "hexadecimal"),
        (json!([hex]), "Not a valid string"),
        (json!({"tx": hex}), "Not a valid string"),
        (json!(&hex[1..]), "hexadecimal"),
        (json!("zz"), "hexadecimal"),
        (json!("\u{0}"), ""),
    ] {
        for step in ["verify", "pay"] {
            let url = format!("{}/{step}", invoice.url);
            let headers = [("Content-Type", "application/json")];
            let said = shop.post(&url, &headers, &json!({"raw_tx_hex": raw})).await?.expect(400)?;
            ensure!(said.contains(text), "{step} {raw}: {said}");
        }
    }
    shop.is_untouched(&invoice).await
});

on_every_node!(amounts_that_are_none, async |mut shop: Shop| {
    let address = shop.new_address()?;
    let url = shop.url("/jpp/invoices/");
    let create = async |amount: &str| {
        let body = format!("{{\"outputs\":[{{\"address\":\"{address}\",\"amount\":{amount}}}]}}");
        shop.post_bytes(&url, &[("Content-Type", "application/json")], body.as_bytes()).await
    };
    let huge = "9".repeat(400);
    for amount in [
        "-1",
        "0",
        "1.5",
        "1e-3",
        "1.2345678e3",
        "1e400",
        "-1e3",
        "\"1e-3\"",
        "\"0x10\"",
        "2100000000000001",
        "9007199254740993",
        "18446744073709551616",
        &huge,
        "null",
        "true",
        "[1000]",
        "{}",
        "\"\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
    ] {
        create(amount).await?.expect(400).map_err(|error| anyhow::anyhow!("{amount}: {error}"))?;
    }
    // Valid amounts, in the forms that the original server took and in the form that Java writes.
    for amount in ["1000", "1000.0", "\"1000\"", "1e3", "1.0E3", "\"1e3\""] {
        let created: Value = serde_json::from_str(&create(amount).await?.expect(201)?)?;
        ensure!(created["outputs"][0]["amount"] == json!(1000), "{amount}: {created}");
    }
    Ok(())
});

on_every_node!(protobuf_that_is_none, async |mut shop: Shop| {
    let invoice = shop.invoice(&[61_000]).await?;
    let good = shop.sign(&invoice)?;
    let unreadable = "We were unable to parse your payment";
    let field = |tag: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len())?;
        Ok::<_, anyhow::Error>([&[tag, length], bytes].concat())
    };
    let payment = |transactions: usize| {
        Payment { transactions: vec![good.raw.clone(); transactions], ..Payment::default() }.encode_to_vec()
    };
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("nothing", Vec::new(), 400, "There is no transaction in your payment"),
        ("no transaction", field(0x22, b"thanks")?, 400, "There is no transaction in your payment"),
        ("two transactions", payment(2), 400, ""),
        ("a transaction of nothing", field(0x12, b"")?, 400, "unable to parse the transaction"),
        ("text", b"{\"transactions\":[]}".to_vec(), 400, unreadable),
        ("0xff", vec![0xff; 100], 400, unreadable),
        ("field 0", vec![0x02, 0x00], 400, unreadable),
        ("a length over the end", vec![0x12, 0x05, 0x00], 400, unreadable),
        ("a length of 2^63", [&[0x12][..], &[0xff; 9], &[0x01]].concat(), 400, unreadable),
        ("a number that never ends", vec![0x80; 1_000], 400, unreadable),
        ("the wrong wire type: a number for bytes", vec![0x10, 0x01], 400, unreadable),
        ("the wrong wire type: 64 bits", [&[0x11][..], &[0; 8]].concat(), 400, unreadable),
        ("a group that is not closed", vec![0x2b], 400, unreadable),
        ("groups in groups", vec![0x2b; 100_000], 400, unreadable),
        ("a memo that is no text", field(0x22, b"\xff")?, 400, "There is no transaction in your payment"),
        ("a refund that is no output", field(0x1a, b"\xff")?, 400, unreadable),
        ("a truncated payment", payment(1)[..100].to_vec(), 400, unreadable),
        ("256 KiB of nothing", vec![0; 256 << 10], 400, unreadable),
        ("more than 256 KiB", vec![0; (256 << 10) + 1], 413, ""),
    ];
    for (name, body, status, text) in cases {
        for content_type in [PAYMENT, "application/bitcoincash-verify-payment"] {
            let headers = [("Content-Type", content_type)];
            let answer = shop.post_bytes(&invoice.url, &headers, &body).await?;
            let said =
                answer.expect(status).map_err(|error| anyhow::anyhow!("{name}, {content_type}: {error}"))?;
            ensure!(content_type != PAYMENT || said.contains(text), "{name}: {said}");
        }
    }
    shop.is_untouched(&invoice).await?;

    // What is unknown is passed over, comes back, and is no reason to refuse a payment.
    let unknown = [&payment(1)[..], &[0xa2, 0x06, 2, 0x3f, 0x3f], &[0xa8, 0x06, 0x7f]].concat();
    let answer = shop.post_bytes(&invoice.url, &[("Content-Type", PAYMENT)], &unknown).await?;
    crate::protobuf::read_ack(&answer, &unknown)?;
    shop.is_paid_with(&invoice, &good).await?;
    Ok(())
});

on_every_node!(bodies_that_are_too_large, async |mut shop: Shop| {
    let invoice = shop.invoice(&[61_000]).await?;
    let rest = ["verify", "pay"].map(|step| (format!("{}/{step}", invoice.url), "application/json"));
    let jpp = ["payment", "payment-request", "payment-verification", "verify-payment"];
    let jpp = jpp.map(|name| (invoice.url.clone(), format!("application/{name}")));
    let all = rest.into_iter().map(|(url, name)| (url, name.to_owned())).chain(jpp);
    for (url, content_type) in all.chain([(invoice.url.clone(), PAYMENT.to_owned())]) {
        let headers = [("Content-Type", content_type.as_str())];
        let most = most(&content_type);
        for (length, status) in [(most, 400), (most + 1, 413), (20 * most, 413)] {
            let body = vec![0; length];
            shop.send("POST", &url, &headers, Body::Sized(&body)).await?.expect(status)?;
            shop.send("POST", &url, &headers, Body::Chunked(&body, 65_536)).await?.expect(status)?;
        }
    }
    shop.is_untouched(&invoice).await
});
