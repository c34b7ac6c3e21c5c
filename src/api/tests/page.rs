//! The page: who gets it, what it says in every state, and that nothing of it is anybody else's.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    LOG, Server, Setup, address, asking,
    client::Answer,
    hex_of,
    html::{check, check_in, links, tags, text},
    node::Node,
    paying, script,
};
use crate::{
    bch::{Address, Network, Transaction},
    follow::Reason,
    ledger::Action,
};

/// What browsers send when an address is opened.
const BROWSERS: [&str; 5] = [
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,\
     application/signed-exchange;v=b3;q=0.7",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/png,image/svg+xml,*/*;q=0.8",
    "text/html, text/plain, text/sgml, text/css, application/xhtml+xml, */*;q=0.01",
    "text/html",
];

const SHOP: [(&str, &str); 1] = [("Authorization", "Bearer shop-key")];

impl Server {
    async fn browse(&self, path: &str) -> Answer {
        self.call("GET", path, &[("Accept", BROWSERS[0])], b"").await
    }

    /// The page of an invoice.
    async fn page(&self, id: &str) -> String {
        let answer = self.browse(&format!("/i/{id}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        check(&answer);
        answer.body
    }
}

fn assert_says(html: &str, parts: &[&str]) {
    let text = text(html);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

/// A payment of one output that carries so many tokens.
fn paying_tokens(coin: u8, output: (u8, u64), amount: i64) -> Transaction {
    let plain = paying(coin, &[output]);
    let mut tx: bitcoincash::Transaction = bitcoincash::consensus::deserialize(plain.raw()).unwrap();
    tx.output[0].token = Some(bitcoincash::token::OutputData {
        id: bitcoincash::hashes::Hash::from_byte_array([0xab; 32]),
        bitfield: 0x10,
        amount: bitcoincash::token::TokenAmount::from_int(amount).unwrap(),
        commitment: Vec::new(),
    });
    Transaction::decode(bitcoincash::consensus::serialize(&tx).into()).unwrap()
}

/// Nothing on it leads to a wallet.
fn assert_asks_for_nothing(html: &str) {
    assert_eq!(links(html), Vec::<String>::new());
    assert!(!html.contains("qr.svg") && !html.contains(":?r="), "{html}");
}

#[tokio::test]
async fn who_gets_it() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let mounts = ["/i", "/jpp/i", "/jpp/i/bitpay", "/jpp/invoices", "/api/jpp/i", "/api/jpp/invoices"];
    for path in mounts.iter().flat_map(|mount| [format!("{mount}/{id}"), format!("{mount}/{id}/")]) {
        for accept in BROWSERS {
            let answer = server.call("GET", &path, &[("Accept", accept)], b"").await;
            assert_eq!(answer.status, 200, "{path} {accept}");
            check(&answer);
        }
        let json = server.get(&path).await;
        let html = server.browse(&path).await;
        for answer in [&json, &html] {
            let vary = answer.headers.iter().filter(|(name, _)| name == "vary");
            assert!(vary.into_iter().any(|(_, value)| value.contains("accept,")), "{answer:?}");
        }
        let head = server.call("HEAD", &path, &[("Accept", BROWSERS[0])], b"").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        for name in ["content-length", "content-type", "content-security-policy"] {
            assert_eq!(head.header(name), html.header(name), "{name}");
        }
        assert_eq!(json.expect(200)["status"], "pending");
    }
    // Whoever asks for JSON in the URL gets no page, and neither does a Java program that asked for nothing.
    for path in [format!("/i/{id}.json"), format!("/i/{id}?format=json"), format!("/jpp/invoices/{id}.json")]
    {
        assert_eq!(server.browse(&path).await.expect(200)["status"], "pending", "{path}");
    }
    for accept in [
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "text/html, image/gif, image/jpeg, */*; q=0.2",
    ] {
        let answer = server.call("GET", &format!("/i/{id}"), &[("Accept", accept)], b"").await;
        assert_eq!(answer.expect(200)["status"], "pending", "{accept}");
    }
}

#[tokio::test]
async fn what_waits_for_its_payment() {
    let server = Setup::new().start().await;
    let body = json!({
        "outputs": [{"address": address(1), "amount": 1_234_567, "description": "two teas"}], "memo": "Order 42",
    });
    let id = server.create(&body).await;
    server.world.move_clock(60);
    let html = server.page(&id).await;
    assert_says(
        &html,
        &[
            "Waiting for payment",
            "0.01234567 BCH 1234567 satoshis",
            "Order 42",
            "two teas",
            &address(1),
            "Time left29 min",
            "2026-11-23 03:13:49 UTC",
            "Any wallet",
            "This is a test network. Its coins have no value.",
            &id,
        ],
    );
    let payment_uri = format!("bchreg:?r=https://pay.example/i/{id}");
    let bip21_uri = format!("{}?amount=0.01234567&r=https://pay.example/i/{id}", address(1));
    assert_eq!(links(&html), [payment_uri, bip21_uri]);
    let images: Vec<_> = tags(&html)
        .iter()
        .filter(|tag| tag.name == "img")
        .filter_map(|tag| tag.attribute("src").map(str::to_owned))
        .collect();
    assert_eq!(images, [format!("../i/{id}/qr.svg"), format!("../i/{id}/qr.svg?uri=bip21")]);
}

#[tokio::test]
async fn what_no_plain_payment_can_say() {
    let server = Setup::new().start().await;
    let aware = Address::of_script(&script(2), Network::Regtest).unwrap().with_token_awareness(true);
    let token = json!({
        "category": "ab".repeat(32), "amount": "9223372036854775807",
        "nft": {"capability": "mutable", "commitment": "c0ffee"},
    });
    let outputs = json!([
        {"address": address(1), "amount": 1000},
        {"address": aware.to_string(), "amount": 2000, "token": token},
    ]);
    let id = server.create(&json!({ "outputs": outputs })).await;
    let html = server.page(&id).await;
    assert_says(
        &html,
        &[
            "0.00003000 BCH 3000 satoshis and CashTokens, listed below",
            "Goes to 2 addresses",
            &address(1),
            &aware.to_string(),
            &"ab".repeat(32),
            "9223372036854775807 in the smallest unit of the token",
            "can be changed",
            "c0ffee",
            "can only be paid with a wallet that opens payment links",
        ],
    );
    assert_eq!(links(&html), [format!("bchreg:?r=https://pay.example/i/{id}")]);
}

#[tokio::test]
async fn what_is_paid_in_part() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 10_000)).await;
    server.world.observe(&paying(1, &[(1, 4_000)])).await;
    let html = server.page(&id).await;
    assert_says(
        &html,
        &[
            "Paid in part",
            "Still missing 0.00006000 BCH 6000 satoshis",
            "Asked for0.00010000 BCH",
            "Received0.00004000 BCH",
            "This asks for what is still missing, and no more.",
        ],
    );
    // The link to the invoice would ask for everything again.
    assert_eq!(links(&html), [format!("{}?amount=0.00006", address(1))]);
    let code = |html: &str| {
        let tags = tags(html);
        tags.iter().find(|tag| tag.name == "img").unwrap().attribute("src").unwrap().to_owned()
    };
    let path = code(&html);
    assert_eq!(path, format!("../i/{id}/qr.svg?uri=rest&satoshis=6000"));
    assert_eq!(server.get(path.trim_start_matches("..")).await.status, 200);

    // So little is missing that the network would not carry it.
    server.world.observe(&paying(2, &[(1, 5_900)])).await;
    let html = server.page(&id).await;
    assert_says(&html, &["Still missing 0.00000100 BCH", "a little more than is missing"]);
    assert_eq!(links(&html), [format!("{}?amount=0.00000546", address(1))]);
    assert!(html.contains("data-copy=\"0.00000546\""), "what is copied is what the network carries: {html}");
    assert_ne!(code(&html), path, "a browser that shows the one code asks for the other");

    // Of two outputs no link says what is missing of which.
    let outputs = json!([asking(2, 1000)["outputs"][0], asking(3, 2000)["outputs"][0]]);
    let two = server.create(&json!({ "outputs": outputs })).await;
    server.world.observe(&paying(3, &[(2, 1000), (3, 1300)])).await;
    let html = server.page(&two).await;
    assert_says(
        &html,
        &[
            "Still missing 0.00000700 BCH",
            "Below, each address says what is still missing.",
            "0.00000700 BCH (700 satoshis) missing",
        ],
    );
    assert_asks_for_nothing(&html);

    // Too few tokens add up to nothing: all of it must come again.
    let category = "ab".repeat(32);
    let output = json!({"address": address(4), "amount": 1000, "token": {"category": category, "amount": 5}});
    let tokens = server.create(&json!({ "outputs": [output] })).await;
    server.world.observe(&paying_tokens(4, (4, 1000), 3)).await;
    let html = server.page(&tokens).await;
    assert_says(
        &html,
        &["Paid in part", "it cannot be completed", "Amount 0.00001000 BCH", "must come in one payment"],
    );
    assert_eq!(links(&html), [format!("bchreg:?r=https://pay.example/i/{tokens}")]);

    // The tokens came, and with them too little: the satoshis that are missing would not complete it either.
    let output = json!({"address": address(5), "amount": 1000, "token": {"category": category, "amount": 5}});
    let short = server.create(&json!({ "outputs": [output] })).await;
    server.world.observe(&paying_tokens(5, (5, 600), 5)).await;
    let html = server.page(&short).await;
    assert_says(&html, &["it cannot be completed", "Amount 0.00001000 BCH", "Received0.00000600 BCH"]);
    assert!(!text(&html).contains("Still missing") && !html.contains("Copy amount"), "{html}");

    // Beside an output that is paid, all of one with tokens is missing.
    let outputs = json!([
        asking(6, 700)["outputs"][0],
        {"address": address(7), "amount": 2000, "token": {"category": category, "amount": 5}},
    ]);
    let mixed = server.create(&json!({ "outputs": outputs })).await;
    server.world.observe(&paying(6, &[(6, 700)])).await;
    let html = server.page(&mixed).await;
    assert_says(
        &html,
        &["Still missing 0.00002000 BCH", "0.00002000 BCH (2000 satoshis) and the tokens missing"],
    );
    server.world.observe(&paying_tokens(7, (7, 900), 5)).await;
    assert_says(&server.page(&mixed).await, &["Still missing 0.00002000 BCH", "must come in one payment"]);

    // Time passes.
    server.world.move_clock(1801);
    let html = server.page(&id).await;
    assert_says(&html, &["Expired", "do not pay any more", "0.00009900 BCH (9900 satoshis) arrived"]);
    assert!(!text(&html).contains("Still missing"), "it would read as a demand");
    assert_asks_for_nothing(&html);
}

#[tokio::test]
async fn what_is_paid() {
    let server = Setup::new().start().await;
    server.world.block(100, &[]).await;
    let mut body = asking(1, 1000);
    body["confirmations_required"] = json!(2);
    let id = server.create(&body).await;
    let tx = paying(7, &[(1, 1500)]);
    server.world.move_clock(1);
    server.world.observe(&tx).await;
    let html = server.page(&id).await;
    let txid = tx.txid().to_string();
    assert_says(
        &html,
        &[
            "Paid The payment arrived, and you do not need to pay anything more.",
            "0.00000500 BCH (500 satoshis) too much arrived.",
            "Received at2026-11-23 02:43:50 UTC",
            "Confirmations0 (2 needed)",
            &txid,
        ],
    );
    assert!(html.contains("class=\"state good\""));
    assert_asks_for_nothing(&html);
    server.world.block(101, &[&tx]).await;
    assert_says(&server.page(&id).await, &["the network is confirming it", "Confirmations1 (2 needed)"]);
    server.world.block(102, &[&paying(9, &[(9, 1000)])]).await;
    let html = server.page(&id).await;
    assert_says(&html, &["Paid and confirmed", "Confirmations2 (2 needed)"]);
    assert_asks_for_nothing(&html);

    // Where nothing is asked of the chain, nothing is waited for.
    let mut body = asking(2, 1000);
    body["confirmations_required"] = json!(0);
    let id = server.create(&body).await;
    server.world.observe(&paying(8, &[(2, 1000)])).await;
    let html = server.page(&id).await;
    assert_says(
        &html,
        &["Paid The payment arrived. You do not need to pay anything more.", "Confirmations0 "],
    );
}

#[tokio::test]
async fn what_was_spent_twice() {
    let server = Setup::new().start().await;
    server.world.block(100, &[]).await;
    let id = server.create(&asking(1, 1000)).await;
    server.world.observe(&paying(7, &[(1, 1000)])).await;
    let thief = paying(7, &[(9, 900)]);
    server.world.observe(&thief).await;
    let html = server.page(&id).await;
    assert_says(&html, &["Paid, but in doubt", "another one spends the same coins"]);
    assert!(html.contains("class=\"state warn\""), "a glance must not take it for paid");
    assert_asks_for_nothing(&html);
    server.world.block(101, &[&thief]).await;
    let html = server.page(&id).await;
    assert_says(&html, &["Waiting for payment", "does not count any more"]);
    assert_eq!(links(&html).len(), 2, "it can be paid again");
}

#[tokio::test]
async fn what_is_in_a_block_is_not_in_doubt() {
    let server = Setup::new().start().await;
    server.world.block(100, &[]).await;
    let id = server.create(&asking(1, 1000)).await;
    let first = paying(7, &[(1, 400)]);
    server.world.observe(&first).await;
    server.world.act(Action::Proven { txids: vec![first.txid()] }).await;
    let doubt = "A payment for this invoice is in doubt";
    assert_says(&server.page(&id).await, &["Paid in part", doubt]);
    server.world.block(101, &[&first]).await;
    let html = server.page(&id).await;
    assert_says(&html, &["Paid in part"]);
    assert!(!html.contains(doubt), "{html}");
    // Nothing speaks against the rest.
    server.world.observe(&paying(8, &[(1, 600)])).await;
    let html = server.page(&id).await;
    assert_says(&html, &["Paid The payment arrived"]);
    assert!(html.contains("class=\"state good\""), "{html}");
}

#[tokio::test]
async fn what_came_late_or_too_late() {
    let server = Setup::new().start().await;
    let [late, never] = [server.create(&asking(1, 1000)).await, server.create(&asking(2, 1000)).await];
    server.world.move_clock(1801);
    // Nobody has judged them yet, and they are over all the same.
    for id in [&late, &never] {
        let html = server.page(id).await;
        assert_says(&html, &["Expired The time to pay is over.", "Expired2026-11-23 03:13:49 UTC"]);
        assert_asks_for_nothing(&html);
    }
    server.world.act(Action::Tick { judge_expiry: true, clock_wrong: false }).await;
    server.world.observe(&paying(1, &[(1, 1000)])).await;
    let html = server.page(&late).await;
    assert_says(&html, &["Paid late The payment came after the time to pay was over."]);
    assert!(html.contains("class=\"state warn\""), "a glance must not take it for paid");
    assert!(!text(&html).contains("You do not need to pay"), "{html}");
    let html = server.page(&never).await;
    assert_says(&html, &["Expired", "ask the merchant for a new invoice"]);
    assert_asks_for_nothing(&html);
}

#[tokio::test]
async fn what_was_withdrawn() {
    let server = Setup::new().start().await;
    let created = server.post_with("/jpp/invoices/", &SHOP, &asking(1, 1000)).await.expect(201);
    let id = created["payment_id"].as_str().unwrap();
    server.post_with(&format!("/jpp/invoices/{id}/cancel"), &SHOP, &Value::Null).await.expect(200);
    let html = server.page(id).await;
    assert_says(&html, &["Cancelled The merchant withdrew this invoice. Please do not pay it."]);
    assert_asks_for_nothing(&html);
    server.world.observe(&paying(1, &[(1, 1000)])).await;
    let html = server.page(id).await;
    assert_says(&html, &["Cancelled", "0.00001000 BCH (1000 satoshis) arrived for this invoice."]);
    assert_asks_for_nothing(&html);
}

#[tokio::test]
async fn what_is_under_way() {
    // The node is asked, and nobody knows whether it took the payment.
    let node = Node::start("0.00001400");
    node.refuse(Some((-1, "away")));
    let server = Setup::new().with_node(&node).start().await;
    let id = server.create(&asking(1, 1000)).await;
    let body = json!({"raw_tx_hex": hex_of(&paying(7, &[(1, 1000)]))});
    assert_eq!(server.post(&format!("/i/{id}/pay"), &body).await.status, 503);
    assert_says(&server.page(&id).await, &["Payment under way", "If it is yours, please do not pay again"]);
}

#[tokio::test]
async fn what_is_held_is_not_paid_twice() {
    let server = Setup::new().start().await;
    let mut body = asking(1, 1000);
    body["zero_conf"] = json!({"min_score": 1.0});
    let id = server.create(&body).await;
    let tx = paying(7, &[(1, 1000)]);
    server.world.observe(&tx).await;
    let page = server.page(&id).await;
    assert_says(&page, &["Payment being checked", "Please do not pay again."]);
    assert!(!page.contains("qr.svg") && !page.contains("?r="), "{page}");
    assert!(!text(&page).contains("Expired"), "{page}");
    server.world.act(Action::Proven { txids: vec![tx.txid()] }).await;
    assert_says(&server.page(&id).await, &["Payment being checked", "another one spends the same coins"]);
    // While it is held, it does not expire.
    server.world.move_clock(1801);
    let page = server.page(&id).await;
    assert_says(&page, &["Payment being checked"]);
    assert!(!text(&page).contains("Expired"), "{page}");
}

#[tokio::test]
async fn a_part_that_is_held_is_not_asked_for_again() {
    let server = Setup::new().start().await;
    server.world.block(100, &[]).await;
    let mut body = asking(1, 1000);
    body["zero_conf"] = json!({"min_score": 1.0});
    let id = server.create(&body).await;
    let first = paying(7, &[(1, 600)]);
    server.world.observe(&first).await;
    let page = server.page(&id).await;
    assert_says(&page, &["Payment being checked", "Please do not pay again."]);
    assert_asks_for_nothing(&page);
    // Once it counts, the rest is asked for, and while a second part is held, nothing.
    server.world.block(101, &[&first]).await;
    assert_says(&server.page(&id).await, &["Still missing", "0.00000400 BCH"]);
    server.world.observe(&paying(8, &[(1, 300)])).await;
    let page = server.page(&id).await;
    assert_says(&page, &["Payment being checked"]);
    assert_asks_for_nothing(&page);
    assert!(!text(&page).contains("ask the merchant"), "{page}");
    // Its time is over: what counts of it stays with the merchant.
    server.world.move_clock(1801);
    assert_says(&server.page(&id).await, &["Expired", "0.00000600 BCH"]);
}

#[tokio::test]
async fn what_others_wrote_is_text() {
    let node = Node::start("0.00001400");
    let server = Setup::new().with_node(&node).start().await;
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</bdi></p></section><h1>Paid</h1>",
        "<!--",
        "]]>&lt;b&gt;&amp;&#60;",
        "{{ frame.words.paid }} {% include \"x\" %}",
        "\u{202e}diaP\u{202c} \u{2067}\u{202e}",
        "javascript:alert(1)\nsecond line\u{7}",
        "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    ];
    for (coin, hostile) in (1..).zip(hostile) {
        let body = json!({
            "memo": hostile,
            "outputs": [{"address": address(coin), "amount": 1000, "description": hostile}],
        });
        let id = server.create(&body).await;
        let escaped: String = hostile
            .chars()
            .map(|letter| match letter {
                '<' | '>' | '&' | '"' | '\'' => format!("&#{};", u32::from(letter)),
                letter => letter.to_string(),
            })
            .collect();
        let whole = format!("<bdi>{escaped}</bdi>");
        let page = server.browse(&format!("/i/{id}")).await.body;
        assert_eq!(page.matches(&whole).count(), 2, "{hostile:?} in {page}");
        assert_eq!(page.matches(&escaped).count(), page.matches(&whole).count(), "and nowhere else");
        let body = json!({"raw_tx_hex": hex_of(&paying(coin, &[(coin, 1000)])), "memo": hostile});
        server.post(&format!("/i/{id}/pay"), &body).await.expect(200);
        let answer = server.browse(&format!("/i/{id}")).await;
        assert_eq!(answer.body.matches(&whole).count(), 3, "{hostile:?}");
        if !hostile.contains('{') {
            check(&answer);
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_a_page_too() {
    let server = Setup::new().start().await;
    let unknown = "2c442fff579b4dee995e4640c452258c";
    for path in
        [format!("/i/{unknown}"), "/i/zzz/".to_owned(), "/jpp/i/%ff".to_owned(), "/i/%3Cb%3E".to_owned()]
    {
        let answer = server.browse(&path).await;
        assert_eq!((answer.status, server.get(&path).await.status), (404, 404), "{path}");
        check(&answer);
        assert_says(&answer.body, &["Invoice not found", "Please check the link"]);
        assert!(
            !answer.body.contains("%3C") && !answer.body.contains("<b>"),
            "nothing of the path is repeated"
        );
        let head = server.call("HEAD", &path, &[("Accept", BROWSERS[0])], b"").await;
        assert_eq!((head.status, head.body.as_str()), (404, ""));
    }
    let id = server.create(&asking(1, 1000)).await;
    server.world.store.fail(true);
    let path = format!("/i/{id}");
    let answer = server.browse(&path).await;
    assert_eq!((answer.status, server.get(&path).await.status), (503, 503));
    assert_eq!(answer.header("retry-after"), Some("5"));
    check(&answer);
    assert_says(&answer.body, &["Not available at the moment", "A payment that you sent is not lost."]);
}

#[tokio::test]
async fn what_it_is_drawn_with() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let html = server.page(&id).await;
    let mut bytes = server.longest(&id).await;
    let mut content_types = Vec::new();
    for tag in tags(&html) {
        let Some(path) = tag.attribute("src").or(tag.attribute("href").filter(|_| tag.name == "link")) else {
            continue;
        };
        let answer = server.get(&path.replacen("..", "", 1)).await;
        assert_eq!(answer.status, 200, "{path}");
        bytes += answer.bytes.len();
        content_types.push(answer.header("content-type").unwrap().to_owned());
        if path.contains("/assets/") {
            let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&answer.bytes));
            assert!(path.contains(&digest[..16]), "{path} is named by its content");
            let cached = Some("public, max-age=31536000, immutable");
            assert_eq!(answer.header("cache-control"), cached);
            assert!(!answer.body.contains("url(") && !answer.body.contains("@import"), "it loads nothing");
        }
    }
    let (svg, css, js) = ("image/svg+xml", "text/css; charset=utf-8", "text/javascript; charset=utf-8");
    let expected = [svg, css, js, svg, svg];
    assert_eq!(content_types, expected);
    assert!(bytes < 60_000, "{bytes} bytes in all");
    for path in ["/assets/", "/assets/page.css", "/assets/page-0000000000000000.css", "/assets/%ff"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.header("cache-control")), (404, Some("no-store")), "{path}");
    }
    let answer = server.call("POST", "/assets/page.css", &[], b"").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
}

#[tokio::test]
async fn what_its_script_is_told() {
    let node = Node::start("0.00001400");
    let server = Setup::new().with_node(&node).start().await;
    server.world.health.set(BTreeSet::new());
    let id = server.create(&asking(1, 1000)).await;
    let told = async |path: &str| {
        let answer = server.browse(path).await;
        let tags = tags(&answer.body);
        let main = tags.iter().find(|tag| tag.name == "main").unwrap();
        let told = |name: &str| main.attribute(name).unwrap_or("-").to_owned();
        [told("data-socket"), told("data-since"), told("data-now"), told("data-again")].join(" ")
    };
    let now = "2026-11-23T02:43:49.099Z";
    let socket = format!("ws/jpp/invoice/{id}/");
    assert_eq!(told(&format!("/i/{id}")).await, format!("../{socket} 1 {now} 30"));
    assert_eq!(told(&format!("/jpp/i/bitpay/{id}/")).await, format!("../../../../{socket} 1 {now} 30"));
    // A payment is under way: no event tells when that is over.
    node.refuse(Some((-1, "away")));
    let body = json!({"raw_tx_hex": hex_of(&paying(7, &[(1, 1000)]))});
    assert_eq!(server.post(&format!("/i/{id}/pay"), &body).await.status, 503);
    assert_eq!(told(&format!("/i/{id}")).await, format!("../{socket} 1 {now} 5"));
    server.world.health.set(BTreeSet::from([Reason::NodeUnreachable]));
    assert_eq!(told(&format!("/i/{id}")).await, format!("../{socket} 1 {now} 10"));
    server.world.health.set(BTreeSet::new());
    // Hardly anything but an event changes what is over, and nothing what is not there.
    server.world.move_clock(1801);
    let now = "2026-11-23T03:13:50.099Z";
    assert_eq!(told(&format!("/i/{id}")).await, format!("../{socket} 1 {now} 5"), "nobody has judged it");
    server.world.act(Action::Tick { judge_expiry: true, clock_wrong: false }).await;
    assert_eq!(told(&format!("/i/{id}")).await, format!("../{socket} 2 {now} 300"));
    assert_eq!(told("/i/zzz").await, "- - - -");
    // Events are numbered within one log, which the script names when it goes on.
    let tags = tags(&server.browse(&format!("/i/{id}")).await.body);
    assert_eq!(tags.iter().find(|tag| tag.name == "main").unwrap().attribute("data-log"), Some(LOG));
    server.world.store.fail(true);
    assert_eq!(told(&format!("/i/{id}")).await, "- - - 5");
}

#[tokio::test]
async fn what_is_said_while_nobody_watches() {
    let server = Setup::new().start().await;
    server.world.health.set(BTreeSet::new());
    let id = server.create(&asking(1, 1000)).await;
    let words = "The merchant cannot see payments at the moment.";
    assert!(!server.page(&id).await.contains(words));
    let unpublished = Reason::TopicNotPublished { topic: "rawtx" };
    for (reason, told) in
        [(Reason::NodeUnreachable, true), (Reason::NodeWarmingUp, true), (unpublished, false)]
    {
        server.world.health.set(BTreeSet::from([reason.clone()]));
        let html = server.page(&id).await;
        assert_eq!(html.contains(words), told, "{reason:?}");
        assert_eq!(links(&html).len(), 2, "it is not lost, so it may be paid");
    }
    server.world.health.set(BTreeSet::from([Reason::NodeUnreachable]));
    server.world.observe(&paying(1, &[(1, 1000)])).await;
    assert!(!server.page(&id).await.contains(words), "it is paid, and nobody waits for anything");
    // Its time is over, and the payment may have been made in time: nobody looked.
    let late = server.create(&asking(2, 1000)).await;
    server.world.move_clock(1801);
    let html = server.page(&late).await;
    assert_says(&html, &["Expired", "If you have paid, please wait", words]);
    assert!(!html.contains("ask the merchant for a new invoice"), "{html}");
    assert_asks_for_nothing(&html);
}

/// What browsers send in the languages that there are words of, the tag of the page they get, and three of its texts:
/// of an invoice that waits, that is expired, and that is not there.
const LANGUAGES: [(&str, &str, [&str; 3]); 7] = [
    (
        "en-GB,en;q=0.9",
        "en",
        [
            "Waiting for payment Pay the amount below with your Bitcoin Cash wallet.",
            "Please do not pay any more.",
            "Invoice not found There is no invoice at this web address.",
        ],
    ),
    (
        "es-MX,es;q=0.9,en;q=0.8",
        "es",
        [
            "Esperando el pago Pague el importe indicado abajo con su billetera de Bitcoin Cash.",
            "Por favor, ya no pague esta factura.",
            "Factura no encontrada No hay ninguna factura en esta dirección web.",
        ],
    ),
    (
        "DE-at, en;q=0.9",
        "de",
        [
            "Warten auf Zahlung Zahlen Sie den unten genannten Betrag mit Ihrer Bitcoin-Cash-Wallet.",
            "Bitte bezahlen Sie diese Rechnung nicht mehr.",
            "Rechnung nicht gefunden Unter dieser Webadresse gibt es keine Rechnung.",
        ],
    ),
    (
        "ja",
        "ja",
        [
            "お支払い待ち 下記の金額をBitcoin Cashのウォレットでお支払いください。",
            "この請求書はもう支払わないでください。",
            "請求書が見つかりません このURLに請求書はありません。",
        ],
    ),
    (
        "fil-PH,fil;q=0.9,en-US;q=0.8",
        "fil",
        [
            "Naghihintay ng bayad Bayaran ang halaga sa ibaba gamit ang inyong Bitcoin Cash wallet.",
            "Mangyaring huwag nang bayaran ang invoice na ito.",
            "Hindi nahanap ang invoice Walang invoice sa web address na ito.",
        ],
    ),
    ("tl-PH,en;q=0.5", "fil", ["Naghihintay ng bayad", "huwag nang magbayad", "Hindi nahanap ang invoice"]),
    ("fr-FR,fr;q=0.9,nonsense=;", "en", ["Waiting for payment", "do not pay any more", "Invoice not found"]),
];

impl Server {
    async fn browse_in(&self, path: &str, languages: &str) -> Answer {
        self.call("GET", path, &[("Accept", BROWSERS[0]), ("Accept-Language", languages)], b"").await
    }

    /// How many bytes the page of an invoice has, in the language in which it is longest.
    async fn longest(&self, id: &str) -> usize {
        let mut longest = 0;
        for (languages, ..) in LANGUAGES {
            longest = longest.max(self.browse_in(&format!("/i/{id}"), languages).await.body.len());
        }
        longest
    }
}

#[tokio::test]
async fn what_language_it_is_in() {
    let server = Setup::new().start().await;
    let [waiting, expired] = [server.create(&asking(1, 1000)).await, server.create(&asking(2, 1000)).await];
    let cancelled = server.post_with("/jpp/invoices/", &SHOP, &asking(3, 1000)).await.expect(201);
    let cancelled = cancelled["payment_id"].as_str().unwrap();
    server.post_with(&format!("/jpp/invoices/{cancelled}/cancel"), &SHOP, &Value::Null).await.expect(200);
    let paths = [format!("/i/{waiting}"), format!("/i/{expired}"), "/i/zzz".to_owned()];
    let vary = |answer: &Answer| {
        let mut vary = answer.headers.iter().filter(|(name, _)| name == "vary");
        vary.any(|(_, value)| value == "accept, accept-language, x-paypro-version")
    };
    let mut pages = Vec::new();
    for (place, (path, status)) in paths.iter().zip([200, 200, 404]).enumerate() {
        if place == 1 {
            server.world.move_clock(1801);
        }
        for (languages, tag, texts) in LANGUAGES {
            let answer = server.browse_in(path, languages).await;
            assert_eq!(
                (answer.status, answer.header("content-language")),
                (status, Some(tag)),
                "{languages}"
            );
            check_in(&answer, tag);
            assert!(vary(&answer), "{answer:?}");
            assert_says(&answer.body, &[texts[place]]);
            pages.push(answer.body);
        }
    }
    // Whatever it is written in, it asks for the same.
    for page in &pages[..LANGUAGES.len()] {
        assert_eq!(links(page), links(&pages[0]));
        assert_says(page, &["0.00001000 BCH 1000 "]);
    }
    for page in &pages[LANGUAGES.len()..] {
        assert_asks_for_nothing(page);
    }
    // In Spanish a cancelled invoice (cancelada) is a paid one to many, so it is annulled.
    let answer = server.browse_in(&format!("/i/{cancelled}"), "es-AR").await;
    assert_says(
        &answer.body,
        &["Factura anulada El comercio ha anulado esta factura. Por favor, no la pague."],
    );
    // What is no page is in no language, and is chosen by the same.
    let json = server.call("GET", &paths[0], &[("Accept-Language", "de")], b"").await;
    assert_eq!((json.header("content-language"), vary(&json)), (None, true));
    server.world.store.fail(true);
    for (languages, tag, text) in [
        ("es", "es", "Un pago que haya enviado no se ha perdido."),
        ("de", "de", "Eine Zahlung, die Sie gesendet haben, ist nicht verloren."),
        ("ja", "ja", "すでに送信された支払いは失われていません。"),
        ("fil", "fil", "Hindi nawala ang bayad na naipadala na ninyo."),
        ("*", "en", "A payment that you sent is not lost."),
    ] {
        let answer = server.browse_in(&paths[0], languages).await;
        assert_eq!((answer.status, answer.header("content-language")), (503, Some(tag)), "{languages}");
        check_in(&answer, tag);
        assert!(vary(&answer), "{answer:?}");
        assert_says(&answer.body, &[text]);
    }
}
