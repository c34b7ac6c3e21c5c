//! Client libraries of other people, from npm, pay at the real program beside the stand-in.
//!
//! What `tests/wallets` sends was written down by us. Here the code is that of others: bitcore-wallet-client, with its
//! two versions of JPP, and bitcore-payment-protocol, with its BIP70. The scripts in `tests/clients` call them with an
//! invoice and print what they made of each answer.
//!
//! The libraries are installed once, into cargo's folder for such things, as the lock file says, but for three packages
//! that bitcore-wallet-client names and that paying does not use: a compiler, mnemonics, and signing by several, a
//! hundred megabytes together. `overrides` puts a package of nothing in their place. Where there is no Node, no npm, or
//! no registry, the test says on standard error that it is skipped.

#[path = "wallets/certificate.rs"]
mod certificate;
#[path = "clients/npm.rs"]
mod npm;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{
    ScriptBuf, Transaction, base58,
    hashes::{Hash as _, hash160},
};
use regtest::{
    Daemon, Node as _, Purse, SimNode, SimOptions,
    node::skipped,
    purse::raw_hex,
    wallet::{Wallet, script_of},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::certificate::Certificate;

/// Where the scripts are, and what they need.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// The first byte of an address of a test network.
const TEST_ADDRESS: u8 = 0x6f;

/// The folder with the libraries, or why there is none.
async fn libraries() -> Result<&'static Result<PathBuf, String>> {
    static LIBRARIES: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    LIBRARIES.get_or_try_init(|| npm::install(Path::new(SCRIPTS))).await
}

/// Runs a script in the folder with the libraries, and gives what it printed.
async fn run(folder: &Path, script: &str, job: &Value) -> Result<Value> {
    let mut node = Command::new("node");
    node.arg(Path::new(SCRIPTS).join(script)).current_dir(folder);
    let done = npm::finish(&mut node, &job.to_string(), Duration::from_secs(120)).await?.context("node")?;
    ensure!(done.success, "{script}: {}", done.complaints);
    serde_json::from_str(&done.output).with_context(|| format!("{script}: {}", done.complaints))
}

/// The program beside the stand-in, with an invoice, and a payer.
struct Shop {
    node: SimNode,
    payer: Purse,
    daemon: Daemon,
    folder: PathBuf,
    id: String,
    url: String,
    address: String,
}

const AMOUNT: u64 = 12_345;
const MEMO: &str = "K\u{e4}se";

impl Shop {
    /// `None`, and a word on standard error, where the libraries cannot be had.
    async fn open(test: &str) -> Result<Option<Self>> {
        Self::open_with(test, &[]).await
    }

    async fn open_with(test: &str, settings: &[(&str, &str)]) -> Result<Option<Self>> {
        let folder = match libraries().await? {
            Ok(folder) => folder.clone(),
            Err(why) => {
                skipped(&format!("{test}: {why}"));
                return Ok(None);
            }
        };
        let node = SimNode::start(SimOptions::default())?;
        let payer = Purse::fund(&node, 1)?;
        let program = Path::new(env!("CARGO_BIN_EXE_jppd"));
        let daemon = Daemon::start_signing(program, &node, settings).await?;
        let address = Wallet::from_seed(2)?.new_address()?;
        let body = json!({"outputs": [{"address": address, "amount": AMOUNT}], "memo": MEMO});
        let created = daemon.api().post("/jpp/invoices/", &body).await?.expect(201)?;
        let text = |key: &str| Ok::<_, anyhow::Error>(created[key].as_str().context("a text")?.to_owned());
        let (id, url) = (text("payment_id")?, text("payment_url")?);
        Ok(Some(Self { node, payer, daemon, folder, id, url, address }))
    }

    /// What pays, the same without signatures, and another one that would.
    fn sign(&mut self) -> Result<(Transaction, Value)> {
        let signed = self.payer.sign(&self.address, AMOUNT)?;
        let mut unsigned = signed.clone();
        unsigned.input.iter_mut().for_each(|input| input.script_sig = ScriptBuf::new());
        let rival = self.payer.sign(&self.address, AMOUNT)?;
        let job =
            json!({"signed": raw_hex(&signed), "unsigned": raw_hex(&unsigned), "rival": raw_hex(&rival)});
        Ok((signed, job))
    }

    /// The keys that a wallet would trust: those that are published, under the names that answers give them.
    async fn trusted_keys(&self) -> Result<Value> {
        let published = self.daemon.api().get("/signingKeys/paymentProtocol.json").await?.expect(200)?;
        let mut trusted = json!({});
        for key in published["publicKeys"].as_array().context("keys")? {
            let public_key = key.as_str().context("a key")?;
            let hash = hash160::Hash::hash(&hex::decode(public_key)?);
            let identity = base58::encode_check(&[&[TEST_ADDRESS][..], hash.as_byte_array()].concat());
            let domains = &published["validDomains"];
            trusted[identity] = json!({
                "owner": published["owner"], "domains": domains, "networks": ["regtest"], "publicKey": public_key,
            });
        }
        Ok(trusted)
    }

    async fn is_paid_with(&self, transaction: &Transaction) -> Result<Value> {
        let txid = transaction.compute_txid();
        ensure!(self.node.mempool()? == [txid], "it alone is broadcast");
        let invoice = self.daemon.api().get(&format!("/jpp/invoices/{}/", self.id)).await?.expect(200)?;
        ensure!(invoice["status"] == "paid" && invoice["payment"]["txid"] == txid.to_string(), "{invoice}");
        Ok(invoice)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bitcore_wallet_client_pays_by_version_2() -> Result<()> {
    let Some(mut shop) = Shop::open("bitcore_wallet_client_pays_by_version_2").await? else { return Ok(()) };
    let (signed, mut job) = shop.sign()?;
    job["version"] = json!(2);
    job["url"] = json!(shop.url);
    job["trustedKeys"] = shop.trusted_keys().await?;
    let seen = run(&shop.folder, "bitcore-wallet-client.mjs", &job).await?;

    // The check is a check: it knows the key, and takes no other.
    let untrusted = seen["untrusted"]["error"].as_str().context("an error")?;
    ensure!(untrusted.starts_with("Response signed by unknown key"), "{seen}");
    let options = &seen["options"];
    ensure!(options["verified"] == true && options["memo"] == MEMO, "{seen}");
    ensure!(options["payProUrl"] == shop.url.as_str() && options["paymentId"] == shop.id.as_str(), "{seen}");
    let option = &options["paymentOptions"][0];
    ensure!(option["estimatedAmount"] == AMOUNT && option["network"] == "regtest", "{seen}");
    let selection = &seen["selections"][0];
    ensure!(selection["verified"] == true && selection["requiredFeeRate"] == 1, "{seen}");
    let instruction = &selection["instructions"][0];
    ensure!(instruction["toAddress"] == shop.address.as_str() && instruction["amount"] == AMOUNT, "{seen}");
    ensure!(seen["selections"][1] == *selection && seen["selections"][2] == *selection, "{seen}");
    ensure!(seen["verified"]["verified"] == true, "{seen}");
    ensure!(seen["verified"]["memo"] == "Payment appears valid", "{seen}");
    ensure!(seen["paid"]["verified"] == true && seen["paid"]["memo"] == "Transaction received", "{seen}");
    ensure!(seen["again"] == seen["paid"], "{seen}");
    // It asks for no JSON, and so it finds no reason: it has one text for them all.
    for refused in ["rival", "closed"] {
        let text = "The PayPro request was invalid. Please try again later.";
        ensure!(seen[refused]["error"] == text, "{seen}");
    }
    ensure!(seen["unknown"]["error"] == "The invoice is no available.", "{seen}");
    shop.is_paid_with(&signed).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bitcore_wallet_client_pays_by_version_1() -> Result<()> {
    let Some(mut shop) = Shop::open("bitcore_wallet_client_pays_by_version_1").await? else { return Ok(()) };
    let (signed, mut job) = shop.sign()?;
    job["version"] = json!(1);
    job["url"] = json!(shop.url);
    job["network"] = json!("regtest");
    job["trustedKeys"] = shop.trusted_keys().await?;
    let seen = run(&shop.folder, "bitcore-wallet-client.mjs", &job).await?;

    let request = &seen["request"];
    ensure!(request["verified"] == true && request["memo"] == MEMO && request["coin"] == "bch", "{seen}");
    let bare = shop.address.strip_prefix("bchreg:").context("a prefix")?;
    ensure!(request["amount"] == AMOUNT && request["toAddress"] == bare, "{seen}");
    ensure!(request["requiredFeeRate"] == 1 && request["paymentId"] == shop.id.as_str(), "{seen}");
    ensure!(seen["paid"]["memo"] == "Transaction received", "{seen}");
    ensure!(seen["paid"]["body"]["payment"]["transactions"] == json!([raw_hex(&signed)]), "{seen}");
    ensure!(seen["rival"]["error"] == "Bad Request" && seen["closed"]["error"] == "Bad Request", "{seen}");
    shop.is_paid_with(&signed).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bitcore_payment_protocol_pays_by_bip70() -> Result<()> {
    let Some(mut shop) = Shop::open("bitcore_payment_protocol_pays_by_bip70").await? else { return Ok(()) };
    let (signed, mut job) = shop.sign()?;
    let refund = shop.payer.wallet.address(5)?;
    job["url"] = json!(shop.url);
    job["refund"] = json!(hex::encode(script_of(&refund)?));
    let seen = run(&shop.folder, "bitcore-payment-protocol.mjs", &job).await?;

    let expected = json!({
        "status": 200, "contentType": "application/bitcoincash-paymentrequest", "version": 1, "pkiType": "none",
        "verified": true, "validSize": true,
    });
    ensure!(seen["request"] == expected, "{seen}");
    let details = &seen["details"];
    let script = hex::encode(script_of(&shop.address)?);
    ensure!(details["outputs"] == json!([{"amount": AMOUNT, "script": script}]), "{seen}");
    ensure!(details["network"] == "regtest" && details["memo"] == MEMO, "{seen}");
    ensure!(details["paymentUrl"] == shop.url.as_str() && details["requiredFeeRate"] == 1, "{seen}");
    ensure!(details["expires"].as_u64() > details["time"].as_u64(), "{seen}");
    let ack = &seen["ack"];
    ensure!(ack["status"] == 200, "{seen}");
    ensure!(ack["contentType"] == "application/bitcoincash-paymentack", "{seen}");
    ensure!(ack["transaction"] == raw_hex(&signed) && ack["paymentMemo"] == "Paid with bitcore", "{seen}");
    ensure!(ack["memo"].as_str().is_some_and(|memo| !memo.is_empty()), "{seen}");
    let refused = json!({"status": 400, "text": "Invoice no longer accepting payments: it is already paid"});
    ensure!(seen["refused"] == refused, "{seen}");

    let invoice = shop.is_paid_with(&signed).await?;
    let refunds = json!([{"amount": null, "address": refund, "description": null}]);
    ensure!(invoice["payment"]["refund_to"] == refunds && invoice["via"] == "bip70", "{invoice}");

    Ok(())
}

/// Badger has the same library. It knows the signature and the chain, and that it does not know the authority.
#[tokio::test(flavor = "multi_thread")]
async fn bitcore_payment_protocol_checks_the_certificate() -> Result<()> {
    let name = "bitcore_payment_protocol_checks_the_certificate";
    let Some(certificate) = Certificate::issue(name)? else { return Ok(()) };
    let settings = certificate.settings()?;
    let settings = settings.each_ref().map(|(key, value)| (*key, value.as_str()));
    let Some(mut shop) = Shop::open_with(name, &settings).await? else { return Ok(()) };
    let (signed, mut job) = shop.sign()?;
    job["url"] = json!(shop.url);
    job["refund"] = json!(hex::encode(script_of(&shop.address)?));
    let seen = run(&shop.folder, "bitcore-payment-protocol.mjs", &job).await?;
    ensure!(seen["request"]["pkiType"] == "x509+sha256", "{seen}");
    let verified = &seen["request"]["verified"];
    ensure!(verified["verified"] == true && verified["isChain"] == true, "{seen}");
    ensure!(verified["caTrusted"] == false, "{seen}");
    shop.is_paid_with(&signed).await?;
    Ok(())
}

#[test]
fn the_lock_names_no_registry() -> Result<()> {
    npm::check_lock(Path::new(SCRIPTS), 101)
}
