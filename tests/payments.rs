//! Payments, end to end: the real program beside a node, over real sockets.
//!
//! Each test runs against the stand-in and against a real `bitcoind`; where there is none the second half says that
//! it is skipped. One test, one node, one daemon: they run side by side. An external node, such as that of
//! `regtest/docker-test`, is shared by all of them; then they run one after the other, each with a daemon of its own.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{OutPoint, Transaction, TxIn, absolute, consensus, transaction};
use jppd::bch::{Address, Network};
use regtest::{
    Node, Shop, eventually,
    purse::raw_hex,
    shop::id,
    wait::with_enough_time,
    wallet::{Category, PayOptions, Payment, TokenOutput},
};
use serde_json::json;

async fn open(node: Arc<dyn Node>, settings: &[(&str, &str)]) -> Result<Shop> {
    Shop::open(Path::new(env!("CARGO_BIN_EXE_jppd")), node, settings).await
}

/// Runs a test body against every node there is.
macro_rules! on_every_node {
    ($name:ident, $body:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> Result<()> {
            regtest::shop::on_every_node(stringify!($name), $body).await
        }
    };
}

on_every_node!(a_payment_straight_to_the_address_is_seen, async |node| {
    let mut shop = open(node, &[]).await?;
    let (id, address) = shop.invoice(12_345).await?;
    let mut socket = shop.socket(&id, 1).await?;
    let txid = shop.payer.pay(&*shop.node, &address, 12_345)?.to_string();
    let event = socket.next().await?;
    ensure!(event["type"] == "payment_received" && event["txid"] == txid.as_str(), "{event}");
    ensure!(event["invoice"]["payment"]["txid"] == txid.as_str(), "{event}");
    ensure!(event["invoice"]["status"] == "paid" && event["invoice"]["via"] == "mempool", "{event}");
    shop.payer.mine(&*shop.node, 1)?;
    ensure!(socket.next().await?["type"] == "payment_confirmed");
    let invoice = shop.until(&id, "confirmed").await?;
    ensure!(invoice["confirmations"] == 1 && invoice["amount_paid"] == 12_345, "{invoice}");
    let kinds = shop.events_until(&id, "payment_confirmed").await?;
    ensure!(kinds == ["invoice_created", "payment_received", "payment_confirmed"], "{kinds:?}");
    Ok(())
});

on_every_node!(a_payment_by_pay_is_credited_once, async |node| {
    let mut shop = open(node, &[]).await?;
    let (id, address) = shop.invoice(50_000).await?;
    let transaction = shop.payer.sign(&address, 50_000)?;
    let verified = shop
        .daemon
        .api()
        .post(&format!("/jpp/invoices/{id}/verify/"), &json!({"raw_tx_hex": raw_hex(&transaction)}))
        .await?;
    ensure!(verified.expect(200)? == json!({"valid": true}));
    ensure!(shop.node.mempool()?.is_empty(), "a verification broadcasts nothing");

    let body = json!({
        "raw_tx_hex": raw_hex(&transaction),
        "memo": "thanks",
        "refund_to": [{"address": address, "amount": 50_000}],
    });
    let path = format!("/jpp/invoices/{id}/pay/");
    let paid = shop.daemon.api().post(&path, &body).await?.expect(200)?;
    let txid = transaction.compute_txid();
    ensure!(paid["status"] == "paid" && paid["via"] == "api", "{paid}");
    ensure!(paid["payment"]["txid"] == txid.to_string() && paid["payment"]["memo"] == "thanks", "{paid}");
    ensure!(paid["payment"]["refund_to"][0]["amount"] == 50_000, "{paid}");
    ensure!(shop.node.mempool()? == [txid]);

    // The same again is the same answer; so is the same after a block.
    ensure!(shop.daemon.api().post(&path, &body).await?.expect(200)?["payment"] == paid["payment"]);
    shop.payer.mine(&*shop.node, 1)?;
    shop.until(&id, "confirmed").await?;
    ensure!(shop.daemon.api().post(&path, &body).await?.expect(200)?["payment"] == paid["payment"]);
    let kinds = shop.events_until(&id, "payment_confirmed").await?;
    ensure!(kinds == ["invoice_created", "payment_received", "payment_confirmed"], "{kinds:?}");

    // Another transaction is too late.
    let second = shop.payer.sign(&address, 50_000)?;
    let answer = shop.pay(&id, &raw_hex(&second)).await?;
    ensure!(answer.status == 400 && answer.body.contains("already paid"), "{answer:?}");
    Ok(())
});

on_every_node!(a_payment_first_seen_in_a_block_counts, async |node| {
    let mut shop = open(node, &[("JPPD_INVOICE__CONFIRMATIONS_REQUIRED", "3")]).await?;
    let (id, address) = shop.invoice(7_000).await?;
    let transaction = shop.payer.sign(&address, 7_000)?;
    shop.node.mine_transactions(&[transaction], &regtest::purse::nobody())?;
    let invoice = shop.until(&id, "paid").await?;
    ensure!(invoice["via"] == "block" && invoice["late"] == false, "{invoice}");
    shop.payer.mine(&*shop.node, 2)?;
    shop.until(&id, "confirmed").await?;
    let kinds = shop.events_until(&id, "payment_confirmed").await?;
    let wanted = ["invoice_created", "payment_received", "confirmation", "confirmation", "payment_confirmed"];
    ensure!(kinds == wanted, "{kinds:?}");
    Ok(())
});

on_every_node!(partial_payments_add_up, async |node| {
    let mut shop = open(node, &[]).await?;
    let (id, address) = shop.invoice(10_000).await?;
    shop.payer.pay(&*shop.node, &address, 6_000)?;
    let mut socket = shop.socket(&id, 1).await?;
    let event = socket.next().await?;
    ensure!(event["type"] == "partial_payment" && event["invoice"]["underpaid"] == 4_000, "{event}");
    shop.payer.pay(&*shop.node, &address, 5_000)?;
    let event = socket.next().await?;
    ensure!(event["type"] == "payment_received" && event["invoice"]["overpaid"] == 1_000, "{event}");
    shop.payer.pay(&*shop.node, &address, 2_000)?;
    let event = socket.next().await?;
    ensure!(event["type"] == "payment_recorded" && event["invoice"]["overpaid"] == 3_000, "{event}");
    Ok(())
});

on_every_node!(several_outputs_and_tokens, async |node| {
    let mut shop = open(node, &[]).await?;
    // A new category: a thousand tokens for the payer.
    let own = shop.payer.wallet.token_address(0)?;
    let token = TokenOutput { category: Category::New, amount: 1_000, nft: None };
    // A genesis spends an output numbered 0, which a fresh coinbase is.
    let genesis = shop.payer.wallet.pay(&[Payment::with_token(own, 1_000, token)], PayOptions::default())?;
    shop.node.send(&consensus::serialize(&genesis))?;
    shop.payer.mine(&*shop.node, 1)?;
    let category = genesis.input[0].previous_output.txid;

    let (plain, aware) = (shop.payee.new_address()?, shop.payee.token_address(5)?);
    let invoice = shop
        .create(&json!({"outputs": [
            {"address": plain, "amount": 2_000, "description": "tea"},
            {"address": aware, "amount": 1_000, "token": {"category": category.to_string(), "amount": 40}},
        ]}))
        .await?;
    ensure!(invoice["outputs"][1]["address"] == aware.as_str(), "{invoice}");
    let id = id(&invoice)?;

    // Only the satoshis: not what is asked.
    let without = shop.payer.sign_all(&[(&plain, 2_000), (&aware, 1_000)])?;
    let answer = shop.pay(&id, &raw_hex(&without)).await?;
    ensure!(answer.status == 400, "{answer:?}");
    shop.payer.wallet.release(&without);

    let token = TokenOutput {
        category: Category::Existing(bitcoincash::hashes::Hash::from_byte_array(*category.as_ref())),
        amount: 40,
        nft: None,
    };
    let payments = [Payment::new(plain.as_str(), 2_000), Payment::with_token(aware.as_str(), 1_000, token)];
    let transaction = shop.payer.wallet.pay(&payments, PayOptions::default())?;
    let paid = shop.pay(&id, &raw_hex(&transaction)).await?.expect(200)?;
    ensure!(paid["status"] == "paid" && paid["amount_paid"] == 3_000, "{paid}");
    Ok(())
});

on_every_node!(what_the_node_refuses_is_released, async |node| {
    let mut shop = open(node, &[]).await?;
    let (id, address) = shop.invoice(9_000).await?;
    let good = shop.payer.sign(&address, 9_000)?;
    let mut bad = good.clone();
    let mut script = bad.input[0].script_sig.to_bytes();
    script[10] ^= 1;
    bad.input[0].script_sig = script.into();
    let answer = shop.pay(&id, &raw_hex(&bad)).await?;
    ensure!(answer.status == 400 && answer.body.contains("mandatory-script-verify"), "{answer:?}");
    let invoice = shop.get(&id).await?;
    ensure!(invoice["status"] == "pending" && invoice["payments"] == json!([]), "{invoice}");
    shop.pay(&id, &raw_hex(&good)).await?.expect(200)?;

    // What was spent cannot be spent again, for whatever invoice.
    let (other, elsewhere) = shop.invoice(9_000).await?;
    shop.payer.wallet.release(&good);
    let rival = shop.payer.wallet.pay(&[Payment::new(elsewhere, 9_000)], PayOptions::default())?;
    ensure!(rival.input[0].previous_output == good.input[0].previous_output, "it spends the same coin");
    let answer = shop.pay(&other, &raw_hex(&rival)).await?;
    ensure!(answer.status == 400, "{answer:?}");
    Ok(())
});

on_every_node!(an_older_transaction_pays_nothing, async |node| {
    let mut shop = open(node, &[]).await?;
    let address = shop.payee.new_address()?;
    let mempool = shop.payer.sign(&address, 4_000)?;
    shop.node.send(&consensus::serialize(&mempool))?;
    // Until it was met, it is not known to be older.
    shop.until_looked().await?;
    let invoice = shop.create(&json!({"outputs": [{"address": address, "amount": 4_000}]})).await?;
    let id = id(&invoice)?;
    let answer = shop.pay(&id, &raw_hex(&mempool)).await?;
    ensure!(answer.status == 400 && answer.body.contains("older than the invoice"), "{answer:?}");
    shop.payer.mine(&*shop.node, 1)?;
    shop.until_looked().await?;
    let answer = shop.pay(&id, &raw_hex(&mempool)).await?;
    ensure!(answer.status == 400 && answer.body.contains("older than the invoice"), "{answer:?}");
    ensure!(shop.get(&id).await?["status"] == "pending");
    Ok(())
});

on_every_node!(a_kill_loses_nothing, async |node| {
    let mut shop = open(node, &[]).await?;
    let (before, before_address) = shop.invoice(1_000).await?;
    let (during, during_address) = shop.invoice(2_000).await?;
    let (mined, mined_address) = shop.invoice(3_000).await?;
    shop.payer.pay(&*shop.node, &before_address, 1_000)?;
    shop.until(&before, "paid").await?;
    shop.daemon.kill()?;
    shop.payer.pay(&*shop.node, &mined_address, 3_000)?;
    shop.payer.mine(&*shop.node, 2)?;
    shop.payer.pay(&*shop.node, &during_address, 2_000)?;
    shop.daemon.launch()?;
    shop.daemon.wait_ready().await?;
    shop.until(&before, "confirmed").await?;
    shop.until(&mined, "confirmed").await?;
    shop.until(&during, "paid").await?;
    for (id, last) in
        [(&before, "payment_confirmed"), (&mined, "payment_confirmed"), (&during, "payment_received")]
    {
        let kinds = shop.events_until(id, last).await?;
        let received = kinds.iter().filter(|kind| *kind == "payment_received").count();
        ensure!(received == 1, "{kinds:?}");
    }
    Ok(())
});

on_every_node!(an_invoice_expires_and_can_be_paid_late, async |node| {
    let mut shop = open(node, &[("JPPD_INVOICE__SUBMISSION_GRACE", "1s")]).await?;
    let address = shop.payee.new_address()?;
    let invoice =
        shop.create(&json!({"outputs": [{"address": address, "amount": 1_000}], "expires_in": 1})).await?;
    let id = id(&invoice)?;
    shop.until(&id, "expired").await?;
    // Only time ends the grace for submissions, so the test waits for it: 1 s.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let transaction = shop.payer.sign(&address, 1_000)?;
    let answer = shop.pay(&id, &raw_hex(&transaction)).await?;
    ensure!(answer.status == 400 && answer.body.contains("expired"), "{answer:?}");
    shop.node.send(&consensus::serialize(&transaction))?;
    let paid = shop.until(&id, "paid").await?;
    ensure!(paid["late"] == true, "{paid}");
    let kinds = shop.events_until(&id, "payment_received").await?;
    ensure!(kinds == ["invoice_created", "invoice_expired", "payment_received"], "{kinds:?}");
    Ok(())
});

on_every_node!(a_double_spend_in_a_block_is_told, async |node| {
    let mut shop = open(node, &[]).await?;
    let (id, address) = shop.invoice(8_000).await?;
    let transaction = shop.payer.sign(&address, 8_000)?;
    shop.node.send(&consensus::serialize(&transaction))?;
    shop.until(&id, "paid").await?;
    let rival = shop.payer.wallet.double_spend(&transaction, PayOptions::default())?;
    shop.node.mine_transactions(&[rival], &regtest::purse::nobody())?;
    let invoice = shop.until(&id, "pending").await?;
    ensure!(invoice["double_spend"] == "conflict" && invoice["payments"][0]["state"] == "lost", "{invoice}");
    let kinds = shop.events_until(&id, "payment_reverted").await?;
    let wanted = ["invoice_created", "payment_received", "double_spend_detected", "payment_reverted"];
    ensure!(kinds == wanted, "{kinds:?}");
    Ok(())
});

on_every_node!(a_double_spend_proof_is_told, async |node| {
    let mut shop = open(node, &[]).await?;
    let (id, address) = shop.invoice(8_000).await?;
    let transaction = shop.payer.sign(&address, 8_000)?;
    shop.node.send(&consensus::serialize(&transaction))?;
    shop.until(&id, "paid").await?;
    let mut socket = shop.socket(&id, 2).await?;
    let rival = shop.payer.wallet.double_spend(&transaction, PayOptions::default())?;
    ensure!(shop.node.send(&consensus::serialize(&rival)).is_err(), "the node keeps the first one");
    let event = socket.next().await?;
    ensure!(event["type"] == "double_spend_detected", "{event}");
    ensure!(event["invoice"]["double_spend"] == "proof" && event["invoice"]["status"] == "paid", "{event}");
    let risk = &event["invoice"]["payments"][0]["zero_conf"];
    ensure!(risk["double_spend"] == "proof" && risk["seen_at"].is_string(), "{event}");
    shop.payer.mine(&*shop.node, 1)?;
    let invoice = shop.until(&id, "confirmed").await?;
    ensure!(invoice["payments"][0]["zero_conf"].is_null(), "{invoice}");
    Ok(())
});

on_every_node!(a_held_payment_counts_when_it_is_safe_enough, async |node| {
    let mut shop = open(node, &[]).await?;
    // While it is held, another one is refused.
    let id = with_enough_time(Duration::from_secs(2), async |wait| {
        let address = shop.payee.new_address()?;
        let terms = json!({"min_score": 1.0, "wait_ms": wait.as_millis()});
        let body = json!({"outputs": [{"address": address, "amount": 8_000}], "zero_conf": terms});
        let invoice = shop.create(&body).await?;
        ensure!(invoice["zero_conf"] == terms, "{invoice}");
        let id = id(&invoice)?;
        let [first, other] = [(); 2].map(|()| shop.payer.sign(&address, 8_000));
        let (first, other) = (raw_hex(&first?), raw_hex(&other?));
        let began = Instant::now();
        let held = shop.pay(&id, &first).await?.expect(200)?;
        let refused = shop.pay(&id, &other).await?;
        if began.elapsed() >= wait {
            return Ok(None);
        }
        ensure!(held["status"] == "pending" && held["payments"][0]["state"] == "held", "{held}");
        ensure!(refused.status == 400 && refused.body.contains("being checked"), "{refused:?}");
        Ok(Some(id))
    })
    .await?;
    let paid = shop.until(&id, "paid").await?;
    ensure!(paid["payments"][0]["zero_conf"]["dsproof_score"] == 1.0, "{paid}");
    let kinds = shop.events_until(&id, "payment_received").await?;
    ensure!(kinds == ["invoice_created", "payment_held", "payment_received"], "{kinds:?}");
    Ok(())
});

on_every_node!(a_reorg_takes_a_confirmation_back_and_gives_it_again, async |node| {
    let mut shop = open(node, &[]).await?;
    let (id, address) = shop.invoice(8_000).await?;
    shop.payer.pay(&*shop.node, &address, 8_000)?;
    shop.payer.mine(&*shop.node, 1)?;
    shop.until(&id, "confirmed").await?;
    let (tip, _) = shop.node.tip()?;
    shop.node.invalidate(tip)?;
    shop.until(&id, "paid").await?;
    shop.payer.mine(&*shop.node, 2)?;
    shop.until(&id, "confirmed").await?;
    let wanted =
        ["invoice_created", "payment_received", "payment_confirmed", "payment_reverted", "payment_confirmed"];
    shop.events_are(&id, &wanted).await
});

on_every_node!(a_node_that_is_away_answers_503_and_comes_back, async |node| {
    let mut shop = open(node, &[]).await?;
    let (id, address) = shop.invoice(8_000).await?;
    let transaction = shop.payer.sign(&address, 8_000)?;
    shop.node.stop()?;
    let answer = shop.pay(&id, &raw_hex(&transaction)).await?;
    ensure!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{answer:?}");
    ensure!(shop.get(&id).await?["status"] == "pending", "everything else goes on");
    let (other, other_address) = shop.invoice(1_000).await?;
    shop.until_not_ready("node_unreachable").await?;
    shop.node.start()?;
    shop.daemon.wait_ready().await?;
    shop.pay(&id, &raw_hex(&transaction)).await?.expect(200)?;
    shop.payer.pay(&*shop.node, &other_address, 1_000)?;
    shop.until(&other, "paid").await?;
    Ok(())
});

on_every_node!(an_audit_agrees_with_the_node_beside_the_daemon, async |node| {
    let mut shop = open(node, &[("JPPD_FOLLOW__AUDIT_EVERY", "100ms")]).await?;
    let (mined, address) = shop.invoice(8_000).await?;
    shop.payer.pay(&*shop.node, &address, 8_000)?;
    shop.payer.mine(&*shop.node, 1)?;
    shop.until(&mined, "confirmed").await?;
    let (waiting, address) = shop.invoice(9_000).await?;
    shop.payer.pay(&*shop.node, &address, 9_000)?;
    shop.until(&waiting, "paid").await?;
    shop.invoice(10_000).await?;
    let audited = shop.daemon.command(&["audit"])?;
    let (found, summary) = (String::from_utf8(audited.stdout)?, String::from_utf8(audited.stderr)?);
    ensure!(audited.status.code() == Some(0) && found.is_empty(), "{found}{summary}");
    ensure!(summary == "3 invoices, 3 scripts, 2 payments: all agree with the node\n", "{summary}");
    // The daemon audits by itself.
    let audited = async || Ok((shop.counted("jppd_audits_total").await? > 1).then_some(()));
    eventually(|| format!("two audits\n{}", shop.daemon.log()), audited).await?;
    ensure!(shop.counted("jppd_missed_payments_total").await? == 0);
    Ok(())
});

fn gap_is_empty(shop: &Shop, call: &[&str]) -> Result<()> {
    let told = shop.daemon.command(call)?;
    let summary = String::from_utf8(told.stderr)?;
    ensure!(told.status.code() == Some(0), "{summary}");
    ensure!(summary == "the node has every block that was not walked yet\n", "{summary}");
    Ok(())
}

on_every_node!(a_gap_is_told_and_there_is_none, async |node| {
    let shop = open(node, &[]).await?;
    let told = shop.daemon.command(&["gap", "--acknowledge"])?;
    ensure!(told.status.code() == Some(1), "the store is in use: {told:?}");
    gap_is_empty(&shop, &["gap"])?;
    shop.daemon.terminate().await?;
    gap_is_empty(&shop, &["gap"])?;
    gap_is_empty(&shop, &["gap", "--acknowledge"])?;
    // Nothing is made where no store is.
    let store = shop.daemon.folder().join("store");
    std::fs::remove_dir_all(&store)?;
    for call in [&["gap"][..], &["gap", "--acknowledge"]] {
        let told = shop.daemon.command(call)?;
        ensure!(told.status.code() == Some(64), "no store, which no further try mends: {told:?}");
        ensure!(!store.exists(), "{told:?}");
    }
    Ok(())
});

on_every_node!(a_transaction_of_many_inputs_is_looked_up_in_batches, async |node| {
    let mut shop = open(node, &[]).await?;
    for tx in shop.payer.wallet.split(120, 2_000, PayOptions::default())? {
        shop.node.send(&consensus::serialize(&tx))?;
    }
    let small = shop.payer.wallet.coins().filter(|(_, coin)| coin.output.value.to_sat() == 2_000);
    let input: Vec<TxIn> =
        small.map(|(outpoint, _)| TxIn { previous_output: *outpoint, ..TxIn::default() }).collect();
    ensure!(input.len() == 120, "{} coins", input.len());
    let (version, lock_time) = (transaction::Version::TWO, absolute::LockTime::ZERO);
    let of_these = Transaction { version, lock_time, input, output: Vec::new() };
    let paying = shop.payer.wallet.double_spend(&of_these, PayOptions::default())?;
    let output = paying.output.first().context("an output")?;
    let address =
        Address::of_script(&output.script_pubkey, Network::Regtest).context("an address")?.to_string();
    let asked = json!({"outputs": [{"address": address, "amount": output.value.to_sat()}]});
    let id = id(&shop.create(&asked).await?)?;

    // One coin in the second batch is none: it is waited for once, and named.
    let mut wrong = paying.clone();
    let made_up = OutPoint { txid: "77".repeat(32).parse()?, vout: 3 };
    wrong.input.get_mut(70).context("an input")?.previous_output = made_up;
    let path = format!("/jpp/invoices/{id}/verify/");
    let started = Instant::now();
    let refused =
        shop.daemon.api().post(&path, &json!({"raw_tx_hex": raw_hex(&wrong)})).await?.expect(400)?;
    ensure!(started.elapsed() >= Duration::from_secs(1), "a parent gets a second to arrive");
    ensure!(refused.to_string().contains(&made_up.to_string()), "{refused}");
    let paid = shop.pay(&id, &raw_hex(&paying)).await?.expect(200)?;
    ensure!(paid["status"] == "paid", "{paid}");
    Ok(())
});

/// A key of a merchant, made by the program and added to a file.
fn merchant_key(file: &Path, name: &str) -> Result<String> {
    let file = file.to_str().context("a path in UTF-8")?;
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_jppd"))
        .args(["keys", "merchant", name, "--file", file])
        .output()?;
    ensure!(made.status.success(), "{made:?}");
    Ok(format!("Bearer {}", String::from_utf8(made.stdout)?.trim()))
}

on_every_node!(an_address_of_anyone_becomes_the_first_merchants, async |node| {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys");
    let (first, second) = (merchant_key(&file, "first")?, merchant_key(&file, "second")?);
    let mut shop =
        open(node, &[("JPPD_HTTP__API_KEYS_FILE", file.to_str().context("a path in UTF-8")?)]).await?;
    let address = shop.payee.new_address()?;
    let ask = |satoshis: u64| json!({"outputs": [{"address": address, "amount": satoshis}]});
    let with = |key: &str| shop.daemon.api().with("authorization", key);

    // A client without a key asks for the address first.
    let rival = id(&shop.create(&ask(7_000)).await?)?;
    let own = with(&first).post("/jpp/invoices/", &ask(7_000)).await?.expect(201)?;
    ensure!(own["shared"] == false, "{own}");
    shop.payer.pay(&*shop.node, &address, 7_000)?;
    shop.until(&id(&own)?, "paid").await?;
    ensure!(shop.get(&rival).await?["status"] == "pending");
    shop.daemon.api().post("/jpp/invoices/", &ask(7_000)).await?.expect(400)?;
    with(&second).post("/jpp/invoices/", &ask(7_000)).await?.expect(400)?;
    // A payment that a wallet submits for the invoice without a key pays that invoice.
    let transaction = shop.payer.sign(&address, 7_000)?;
    let paid = shop.pay(&rival, &raw_hex(&transaction)).await?.expect(200)?;
    ensure!(paid["status"] == "paid" && paid["amount_paid"] == 7_000, "{paid}");

    // The operator gives the address to another merchant.
    let told = shop.daemon.command(&["scripts", "release", &address])?;
    let said = String::from_utf8(told.stderr)?;
    ensure!(told.status.code() == Some(1) && said.contains("jppd is running with this store"), "{said}");
    let told = shop.daemon.command(&["scripts", "show", &address])?;
    ensure!(String::from_utf8(told.stdout)?.contains("owner: merchant first"));
    let waiting = with(&first).post("/jpp/invoices/", &ask(9_000)).await?.expect(201)?;
    shop.daemon.terminate().await?;
    ensure!(shop.daemon.command(&["scripts", "release", &address])?.status.success());
    shop.daemon.launch()?;
    shop.daemon.wait_ready().await?;
    let theirs = with(&second).post("/jpp/invoices/", &ask(9_000)).await?.expect(201)?;
    shop.payer.pay(&*shop.node, &address, 9_000)?;
    shop.until(&id(&theirs)?, "paid").await?;
    ensure!(shop.get(&id(&waiting)?).await?["status"] == "pending");
    with(&first).post("/jpp/invoices/", &ask(1_000)).await?.expect(400)?;
    Ok(())
});

on_every_node!(sigterm_ends_in_order, async |node| {
    let mut shop = open(node, &[]).await?;
    let (id, _) = shop.invoice(8_000).await?;
    let mut socket = shop.socket(&id, 1).await?;
    let status = shop.daemon.terminate().await?;
    ensure!(status.success(), "{status}\n{}", shop.daemon.log());
    let closed = socket.next().await.unwrap_err().to_string();
    ensure!(closed.contains("1001"), "{closed}");
    shop.daemon.launch()?;
    shop.daemon.wait_ready().await?;
    ensure!(shop.get(&id).await?["status"] == "pending");
    Ok(())
});
