//! A node, a payer with coins, a payee, and the daemon with an invoice that wallets pay.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{ScriptBuf, Transaction, consensus};
use regtest::{Daemon, Node, Purse, Socket, eventually, purse::raw_hex, wallet::Wallet};
use serde_json::{Value, json};

use crate::http::{Answer, Body, Header, Server};

/// What is needed to pay.
pub(crate) struct Shop {
    pub(crate) node: Arc<dyn Node>,
    pub(crate) payer: Purse,
    payee: Wallet,
    daemon: Daemon,
}

/// An invoice, as the merchant knows it.
pub(crate) struct Invoice {
    pub(crate) id: String,
    /// What a wallet gets out of the QR code.
    pub(crate) url: String,
    /// Addresses and amounts.
    pub(crate) outputs: Vec<(String, u64)>,
}

/// A transaction that pays an invoice, in the forms in which wallets send it.
pub(crate) struct Signed {
    pub(crate) transaction: Transaction,
    pub(crate) raw: Vec<u8>,
    pub(crate) hex: String,
}

impl Shop {
    pub(crate) async fn open(node: Arc<dyn Node>, settings: &[(&str, &str)]) -> Result<Self> {
        let payer = Purse::fund(&*node, 1)?;
        let program = Path::new(env!("CARGO_BIN_EXE_jppd"));
        let daemon = Daemon::start_signing(program, &*node, settings).await?;
        Ok(Self { node, payer, payee: Wallet::from_seed(2)?, daemon })
    }

    /// An invoice that asks for these amounts, each at an address of its own.
    pub(crate) async fn invoice(&mut self, amounts: &[u64]) -> Result<Invoice> {
        let mut outputs = Vec::new();
        for amount in amounts {
            outputs.push((self.payee.new_address()?, *amount));
        }
        self.invoice_with(outputs, json!({"memo": "K\u{e4}se \u{2013} two"})).await
    }

    /// An invoice with further fields.
    pub(crate) async fn invoice_with(
        &self,
        outputs: Vec<(String, u64)>,
        mut fields: Value,
    ) -> Result<Invoice> {
        let asked: Vec<Value> =
            outputs.iter().map(|(address, amount)| json!({"address": address, "amount": amount})).collect();
        fields["outputs"] = Value::from(asked);
        let created = self.daemon.api().post("/jpp/invoices/", &fields).await?.expect(201)?;
        let text = |key: &str| Ok::<_, anyhow::Error>(created[key].as_str().context("a text")?.to_owned());
        Ok(Invoice { id: text("payment_id")?, url: text("payment_url")?, outputs })
    }

    /// The address of a new key of the payee.
    pub(crate) fn new_address(&mut self) -> Result<String> {
        self.payee.new_address()
    }

    /// A transaction that pays an invoice.
    pub(crate) fn sign(&mut self, invoice: &Invoice) -> Result<Signed> {
        let outputs: Vec<(&str, u64)> =
            invoice.outputs.iter().map(|(address, amount)| (address.as_str(), *amount)).collect();
        Ok(Signed::of(self.payer.sign_all(&outputs)?))
    }

    /// The invoice as it stands.
    pub(crate) async fn standing(&self, id: &str) -> Result<Value> {
        self.daemon.api().get(&format!("/jpp/invoices/{id}/")).await?.expect(200)
    }

    /// Waits until an invoice has a status.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Result<Value> {
        eventually(
            || format!("{id} is {status}\n{}", self.daemon.log()),
            async || {
                let standing = self.standing(id).await?;
                Ok((standing["status"] == status).then_some(standing))
            },
        )
        .await
    }

    /// A socket with every event of an invoice.
    pub(crate) async fn events(&self, id: &str) -> Result<Socket> {
        self.daemon.api().events(id, 0).await
    }

    /// Nothing was broadcast, and nothing was counted.
    pub(crate) async fn is_untouched(&self, invoice: &Invoice) -> Result<()> {
        ensure!(self.node.mempool()?.is_empty(), "nothing is broadcast");
        let standing = self.standing(&invoice.id).await?;
        ensure!(standing["status"] == "pending" && standing["payments"] == json!([]), "{standing}");
        Ok(())
    }

    /// The invoice is paid with this transaction, once, and the node has it; a wallet that broadcasts it now does no harm.
    pub(crate) async fn is_paid_with(&self, invoice: &Invoice, signed: &Signed) -> Result<Value> {
        let txid = signed.transaction.compute_txid();
        ensure!(self.node.mempool()?.contains(&txid), "it is broadcast");
        let standing = self.standing(&invoice.id).await?;
        ensure!(standing["status"] == "paid", "{standing}");
        ensure!(standing["payment"]["txid"] == txid.to_string(), "{standing}");
        let asked: u64 = invoice.outputs.iter().map(|(_, amount)| amount).sum();
        ensure!(standing["amount_paid"] == asked && standing["overpaid"] == 0, "{standing}");
        let again = self.node.send(&signed.raw);
        ensure!(again == Ok(txid), "the wallet's own broadcast finds it there: {again:?}");
        Ok(standing)
    }

    /// Sends a wallet's request to where a URL points, and makes sure that it may read the answer in a browser.
    pub(crate) async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[Header<'_>],
        body: Body<'_>,
    ) -> Result<Answer> {
        let (server, path) = Server::of_url(url)?;
        let answer = server.send(method, &path, headers, body).await?;
        ensure!(answer.status < 500, "{method} {path}: {answer:?}");
        ensure!(answer.header("location")?.is_none(), "nothing redirects: {answer:?}");
        let origin = answer.header("access-control-allow-origin")?;
        ensure!(origin == Some("*"), "{answer:?}");
        Ok(answer)
    }

    pub(crate) async fn get(&self, url: &str, headers: &[Header<'_>]) -> Result<Answer> {
        self.send("GET", url, headers, Body::None).await
    }

    /// `POST` with a JSON body of a known length.
    pub(crate) async fn post(&self, url: &str, headers: &[Header<'_>], body: &Value) -> Result<Answer> {
        self.post_bytes(url, headers, body.to_string().as_bytes()).await
    }

    pub(crate) async fn post_bytes(&self, url: &str, headers: &[Header<'_>], body: &[u8]) -> Result<Answer> {
        self.send("POST", url, headers, Body::Sized(body)).await
    }

    /// The URL of another path of the same server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.daemon.url())
    }
}

impl Signed {
    pub(crate) fn of(transaction: Transaction) -> Self {
        let (raw, hex) = (consensus::serialize(&transaction), raw_hex(&transaction));
        Self { transaction, raw, hex }
    }

    /// Without unlocking scripts, as most wallets verify.
    pub(crate) fn unsigned(&self) -> String {
        self.with_scripts(|_| ScriptBuf::new())
    }

    /// With zeros where the signatures will stand, of the same length.
    pub(crate) fn with_placeholders(&self) -> String {
        self.with_scripts(|script| {
            let mut bytes = script.to_bytes();
            let signature = bytes.first().map_or(0, |length| usize::from(*length));
            bytes.iter_mut().skip(1).take(signature).for_each(|byte| *byte = 0);
            bytes.into()
        })
    }

    fn with_scripts(&self, script: impl Fn(&ScriptBuf) -> ScriptBuf) -> String {
        let mut changed = self.transaction.clone();
        for input in &mut changed.input {
            input.script_sig = script(&input.script_sig);
        }
        raw_hex(&changed)
    }

    pub(crate) fn size(&self) -> usize {
        self.raw.len()
    }
}
