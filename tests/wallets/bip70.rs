//! The other wallets of BIP70. Most are closed, or not maintained any more, and still out there.
//!
//! Two of them, Badger and bchwallet, want the request signed with a certificate. Badger wants one of an authority that
//! it knows, too, which no test has.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use regtest::nodes;

use crate::{
    certificate::Certificate,
    http::{Answer, Header},
    on_every_node,
    protobuf::{
        ACK, Ack, Certificates, Details, Output, PAYMENT, Payment, REQUEST, Request, read_ack, read_request,
    },
    shop::{Invoice, Shop, Signed},
};

/// What tells one wallet from the other.
struct Wallet<'a> {
    get: &'a [Header<'a>],
    post: &'a [Header<'a>],
    /// What it says about refunds: nothing, an output of no amount, or of all that was paid.
    refund: Option<Refund>,
    memo: Option<&'a str>,
}

#[derive(Clone, Copy)]
enum Refund {
    /// With an amount of 0 that is written down.
    Zero,
    Total,
}

impl Wallet<'_> {
    async fn fetch(&self, shop: &Shop, url: &str) -> Result<Details> {
        read_request(&shop.get(url, self.get).await?)
    }

    /// The payment: what came as merchant_data goes back, and there is one transaction.
    fn payment(&self, shop: &mut Shop, details: &Details, signed: &Signed) -> Result<Vec<u8>> {
        let total = details.outputs.iter().filter_map(|output| output.amount).sum();
        let script = shop.payer.wallet.script(5)?.to_bytes();
        let amount = self.refund.map(|refund| match refund {
            Refund::Zero => 0,
            Refund::Total => total,
        });
        let payment = Payment {
            merchant_data: details.merchant_data.clone(),
            transactions: vec![signed.raw.clone()],
            refund_to: amount.map(|amount| Output { amount: Some(amount), script }).into_iter().collect(),
            memo: self.memo.map(str::to_owned),
        };
        Ok(payment.encode_to_vec())
    }

    async fn send(&self, shop: &Shop, details: &Details, payment: &[u8]) -> Result<Answer> {
        shop.post_bytes(details.payment_url.as_deref().context("a payment_url")?, self.post, payment).await
    }

    /// From the QR code to the acknowledgement.
    async fn pay(&self, shop: &mut Shop, invoice: &Invoice) -> Result<(Signed, Ack)> {
        let details = self.fetch(shop, &invoice.url).await?;
        ensure!(details.payment_url.as_deref() == Some(invoice.url.as_str()), "{details:?}");
        let signed = shop.sign(invoice)?;
        let payment = self.payment(shop, &details, &signed)?;
        let ack = read_ack(&self.send(shop, &details, &payment).await?, &payment)?;
        let standing = shop.is_paid_with(invoice, &signed).await?;
        ensure!(standing["via"] == "bip70", "{standing}");
        let refunds = standing["payment"]["refund_to"].as_array().context("refunds")?;
        ensure!(refunds.len() == usize::from(self.refund.is_some()), "{standing}");
        if let Some(refund) = refunds.first() {
            let total: u64 = invoice.outputs.iter().map(|(_, amount)| amount).sum();
            let told = matches!(self.refund, Some(Refund::Total)).then_some(total);
            ensure!(refund["amount"].as_u64() == told, "0 is no amount: {standing}");
            ensure!(refund["address"] == shop.payer.wallet.address(5)?.as_str(), "{standing}");
        }
        Ok((signed, ack))
    }
}

on_every_node!(flowee_pay_broadcasts_at_the_same_time, async |mut shop: Shop| {
    let invoice = shop.invoice(&[21_000, 22_000]).await?;
    let agent =
        [("User-Agent", "flowee-pay"), ("Accept-Encoding", "gzip, deflate"), ("Connection", "Keep-Alive")];
    let wallet = Wallet {
        get: &[&[("accept", REQUEST)], &agent[..]].concat(),
        post: &[&[("Content-Type", PAYMENT), ("accept", ACK)], &agent[..]].concat(),
        refund: None,
        memo: None,
    };
    let details = wallet.fetch(&shop, &invoice.url).await?;
    let signed = shop.sign(&invoice)?;
    let payment = wallet.payment(&mut shop, &details, &signed)?;
    let (node, raw) = (shop.node.clone(), signed.raw.clone());
    let broadcast = tokio::task::spawn_blocking(move || node.send(&raw));
    let answer = wallet.send(&shop, &details, &payment).await?;
    read_ack(&answer, &payment)?;
    // Whichever of both came first, the other one found it there.
    drop(broadcast.await?);
    shop.is_paid_with(&invoice, &signed).await?;

    // What goes wrong is shown if it is short, and plain text.
    let refused = shop.get(&invoice.url, wallet.get).await?;
    ensure!(refused.has("content-type")?.starts_with("text/plain"), "{refused:?}");
    let text = refused.expect(400)?;
    ensure!(text.len() < 100 && !text.contains('<') && text.contains("already paid"), "{text}");
    Ok(())
});

on_every_node!(bitcoin_com_wallet, async |mut shop: Shop| {
    // It takes the URL at which the original had its invoices, and the same URL for both steps.
    let mut invoice = shop.invoice(&[21_000]).await?;
    let wallet = Wallet {
        get: &[("Accept", REQUEST), ("User-Agent", "okhttp/3.12.12"), ("Accept-Encoding", "gzip")],
        post: &[
            ("Accept", ACK),
            ("Content-Type", PAYMENT),
            ("User-Agent", "okhttp/3.12.12"),
            ("Accept-Encoding", "gzip"),
        ],
        refund: Some(Refund::Total),
        memo: None,
    };
    let original = shop.url(&format!("/api/jpp/invoices/{}/", invoice.id));
    let details = wallet.fetch(&shop, &original).await?;
    let signed = shop.sign(&invoice)?;
    let payment = wallet.payment(&mut shop, &details, &signed)?;
    read_ack(&shop.post_bytes(&original, wallet.post, &payment).await?, &payment)?;
    shop.is_paid_with(&invoice, &signed).await?;

    invoice = shop.invoice(&[21_000, 22_000]).await?;
    wallet.pay(&mut shop, &invoice).await?;
    Ok(())
});

on_every_node!(badger, async |mut shop: Shop| {
    let invoice = shop.invoice(&[21_000, 22_000]).await?;
    let wallet = Wallet {
        // A GET that says what its body is, and has none.
        get: &[("Accept", REQUEST), ("Content-Type", "application/octet-stream")],
        post: &[
            ("Accept", "application/bitcoincash-paymentrequest, application/bitcoincash-paymentack"),
            ("Content-Type", PAYMENT),
            ("Content-Transfer-Encoding", "binary"),
        ],
        refund: Some(Refund::Zero),
        memo: Some("Badger"),
    };
    // It refuses what is from the future: the time is the invoice's, and not the answer's.
    let first = wallet.fetch(&shop, &invoice.url).await?;
    // The document gives times in whole seconds, so the test waits for the next second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    ensure!(wallet.fetch(&shop, &invoice.url).await?.time == first.time, "{first:?}");

    // If it fails it tries the same with other types, of another kind of money, which must fail, too.
    let other = [("Accept", "application/simpleledger-paymentrequest"), wallet.get[1]];
    ensure!(shop.get(&invoice.url, &other).await?.status == 406);
    let other = [("Accept", wallet.post[0].1), ("Content-Type", "application/simpleledger-payment")];
    shop.post_bytes(&invoice.url, &other, b"").await?.expect(400)?;

    // It hashes the transaction of the acknowledgement to know what it paid with.
    let (signed, ack) = wallet.pay(&mut shop, &invoice).await?;
    ensure!(ack.payment.transactions == [signed.raw], "the transaction, and not its hash");
    Ok(())
});

on_every_node!(bitcoincashj, async |mut shop: Shop| {
    let invoice = shop.invoice(&[21_000, 22_000]).await?;
    let java = [("User-Agent", "Java/1.8.0_292"), ("Host", ""), ("Connection", "keep-alive")];
    let wallet = Wallet {
        get: &[&[("Accept", REQUEST), ("Cache-Control", "no-cache"), ("Pragma", "no-cache")], &java[..]]
            .concat(),
        post: &[
            &[
                ("Content-Type", PAYMENT),
                ("Accept", ACK),
                ("Cache-Control", "no-cache"),
                ("Pragma", "no-cache"),
            ],
            &java[..],
            &[("Content-Length", "")],
        ]
        .concat(),
        refund: Some(Refund::Total),
        memo: Some("thanks"),
    };
    let (_, ack) = wallet.pay(&mut shop, &invoice).await?;
    ensure!(ack.memo.is_some_and(|memo| !memo.is_empty()), "what it shows");
    Ok(())
});

const BCHWALLET: Wallet<'_> = Wallet {
    get: &[("User-Agent", "Go-http-client/1.1"), ("Accept", REQUEST), ("Accept-Encoding", "gzip")],
    post: &[
        ("User-Agent", "Go-http-client/1.1"),
        ("Content-Length", ""),
        ("Accept", ACK),
        ("Content-Type", PAYMENT),
        ("Accept-Encoding", "gzip"),
    ],
    refund: Some(Refund::Total),
    memo: None,
};

on_every_node!(next_cash, async |mut shop: Shop| {
    let invoice = shop.invoice(&[21_000, 22_000]).await?;
    let wallet = Wallet {
        get: &[("host", ""), ("accept", REQUEST), ("connection", "close")],
        post: &[
            ("host", ""),
            ("content-type", PAYMENT),
            ("accept", ACK),
            ("content-length", ""),
            ("connection", "close"),
        ],
        refund: Some(Refund::Total),
        memo: None,
    };
    wallet.pay(&mut shop, &invoice).await?;
    Ok(())
});

/// What bchwallet checks of a signed request: two certificates at least, the first issued by the second, and a signature
/// of the first over the request while its signature is there and empty.
fn check_certificate(answer: &Answer, certificate: &Certificate) -> Result<()> {
    let mut request = Request::decode(answer.body.as_slice())?;
    ensure!(request.pki_type.as_deref() == Some("x509+sha256"), "{request:?}");
    let chain = Certificates::decode(request.pki_data.as_deref().context("certificates")?)?.certificates;
    ensure!(chain.len() >= 2, "the leaf alone is refused");
    for (der, name) in chain.iter().zip(["leaf", "issuer"]) {
        fs::write(certificate.path(name), der)?;
        certificate.openssl(&format!("x509 -inform DER -in {name} -out {name}.pem"))?;
    }
    certificate.openssl("verify -partial_chain -CAfile issuer.pem leaf.pem")?;
    fs::write(certificate.path("public"), certificate.openssl("x509 -in leaf.pem -pubkey -noout")?)?;
    fs::write(certificate.path("signature"), request.signature.replace(Vec::new()).context("a signature")?)?;
    fs::write(certificate.path("signed"), request.encode_to_vec())?;
    certificate.openssl("dgst -sha256 -verify public -signature signature signed")?;
    // The check is a check: without the field it is another message.
    request.signature = None;
    fs::write(certificate.path("signed"), request.encode_to_vec())?;
    ensure!(certificate.openssl("dgst -sha256 -verify public -signature signature signed").is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bchwallet_checks_the_certificate() -> Result<()> {
    let name = "bchwallet_checks_the_certificate";
    let Some(certificate) = Certificate::issue(name)? else { return Ok(()) };
    let settings = certificate.settings()?;
    let settings = settings.each_ref().map(|(key, value)| (*key, value.as_str()));
    for node in nodes(name)? {
        let mut shop = Shop::open(node, &settings).await?;
        let invoice = shop.invoice(&[21_000, 22_000]).await?;
        let answer = shop.get(&invoice.url, BCHWALLET.get).await?;
        check_certificate(&answer, &certificate)?;
        BCHWALLET.pay(&mut shop, &invoice).await?;
    }
    Ok(())
}

on_every_node!(merchant_data_of_an_older_version_is_taken, async |mut shop: Shop| {
    // A wallet that opened the invoice before an update echoes the 16 bytes of its id.
    let invoice = shop.invoice(&[21_000]).await?;
    let wallet =
        Wallet { get: &[("Accept", REQUEST)], post: &[("Content-Type", PAYMENT)], refund: None, memo: None };
    let mut details = wallet.fetch(&shop, &invoice.url).await?;
    details.merchant_data = Some(hex::decode(&invoice.id)?);
    let signed = shop.sign(&invoice)?;
    let payment = wallet.payment(&mut shop, &details, &signed)?;
    read_ack(&wallet.send(&shop, &details, &payment).await?, &payment)?;
    shop.is_paid_with(&invoice, &signed).await.map(drop)
});
