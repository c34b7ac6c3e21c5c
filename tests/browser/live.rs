//! What happens to an invoice is seen without the page being loaded anew.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use regtest::{Shop, shop::id};
use serde_json::{Value, json};

use crate::{in_browser, page, shop, tab::Tab};

/// A page with a socket that says nothing looks after half a minute.
const SOON: Duration = Duration::from_secs(20);

/// An invoice to a fresh address with further terms. Gives its id and the address.
async fn invoice(shop: &mut Shop, satoshis: u64, terms: Value) -> Result<(String, String)> {
    let address = shop.payee.new_address()?;
    let mut body = terms;
    body["outputs"] = json!([{"address": address, "amount": satoshis}]);
    let created = shop.create(&body).await?;
    Ok((id(&created)?, address))
}

in_browser!(a_payment_turns_the_page_to_paid, async |tab: &Tab| {
    let mut shop = shop(&[]).await?;
    let (id, address) = invoice(&mut shop, 12_345, json!({"confirmations_required": 2})).await?;
    tab.open(&page(&shop, &id)).await?;
    ensure!(tab.text("h1").await? == "Waiting for payment");
    ensure!(tab.is_visible("#pay img.qr").await? && tab.is_visible(".live").await?);
    ensure!(!tab.is_visible(".still, .lost span").await?);
    let title = tab.value("document.title").await?;

    let txid = shop.payer.pay(&*shop.node, &address, 12_345)?.to_string();
    tab.until_headline("Paid").await?;
    ensure!(tab.value("document.querySelector('#state').classList.contains('good')").await? == true);
    ensure!(tab.text("#payment code").await? == txid);
    ensure!(tab.count("#pay, #left, a.button").await? == 0, "nothing asks for money");
    let paid_title = tab.value("document.title").await?;
    ensure!(paid_title != title && paid_title.as_str().is_some_and(|title| title.starts_with("Paid")));

    shop.payer.mine(&*shop.node, 1)?;
    tab.until("1 of 2", "document.querySelector('#payment dl').textContent.includes('1 (2 needed)')").await?;
    ensure!(tab.text("h1").await? == "Paid");
    shop.payer.mine(&*shop.node, 1)?;
    tab.until_headline("Paid and confirmed").await?;
    ensure!(tab.text("#payment dl").await?.contains("2 (2 needed)"));
    tab.check_marker().await
});

in_browser!(a_payment_in_part_asks_for_the_rest, async |tab: &Tab| {
    let mut shop = shop(&[]).await?;
    let (id, address) = invoice(&mut shop, 50_000, json!({})).await?;
    tab.open(&page(&shop, &id)).await?;
    let source = "document.querySelector('#pay img.qr').getAttribute('src')";
    let whole = tab.value(source).await?;

    shop.payer.pay(&*shop.node, &address, 30_000)?;
    tab.until_headline("Paid in part").await?;
    ensure!(tab.text("#ask-title").await? == "Still missing");
    ensure!(tab.text("#ask .amount").await? == "0.00020000 BCH");
    let rest = tab.value(source).await?;
    ensure!(
        rest != whole && rest.as_str().is_some_and(|rest| rest.contains("uri=rest&satoshis=20000")),
        "{rest}"
    );
    tab.until("the code is drawn", "document.querySelector('#pay img.qr').naturalWidth > 0").await?;
    let link = tab.value("document.querySelector('a.button').getAttribute('href')").await?;
    ensure!(link.as_str().is_some_and(|link| link.contains("amount=0.0002")), "{link}");

    shop.payer.pay(&*shop.node, &address, 20_000)?;
    tab.until_headline("Paid").await?;
    ensure!(tab.count("#payment code.whole").await? == 2, "both transactions");
    ensure!(tab.count("#pay").await? == 0);
    tab.check_marker().await
});

in_browser!(the_time_to_pay_runs_out, async |tab: &Tab| {
    let mut shop = shop(&[]).await?;
    let (id, _) = invoice(&mut shop, 10_000, json!({"expires_in": 30})).await?;
    tab.open(&page(&shop, &id)).await?;
    tab.run("window.readings = new Set()").await?;
    let read = "readings.add(document.querySelector('#left').textContent).size > 2";
    tab.until("three times", read).await?;
    let readings = tab.value("[...readings]").await?;
    for reading in readings.as_array().context("readings")? {
        let reading = reading.as_str().context("the time that is left")?;
        ensure!(reading.len() == 5 && reading.starts_with("00:"), "{readings}");
    }
    tab.until_headline("Expired").await?;
    ensure!(tab.count("#pay, #left, a.button").await? == 0, "nothing asks for money");
    ensure!(!tab.is_visible(".copy").await?);
    tab.check_marker().await
});

in_browser!(the_page_is_asked_for_when_the_socket_says_so, async |tab: &Tab| {
    tab.prepare(
        "window.seen = [];
        const Real = WebSocket;
        window.WebSocket = class extends Real {
            constructor(url) {
                super(url);
                this.addEventListener('open', () => seen.push('open'));
                this.addEventListener('message', ({ data }) => seen.push(JSON.parse(data).type));
            }
        };
        const real = fetch;
        window.fetch = (...request) => (seen.push('asked'), real(...request))",
    )
    .await?;
    let mut shop = shop(&[]).await?;
    let (id, address) = invoice(&mut shop, 10_000, json!({})).await?;
    tab.open(&page(&shop, &id)).await?;
    tab.until("open", "seen.includes('open')").await?;
    shop.payer.pay(&*shop.node, &address, 10_000)?;
    tab.until_within(SOON, "paid", "document.querySelector('h1').textContent === 'Paid'").await?;
    let seen = tab.value("seen.slice(0, 4)").await?;
    ensure!(seen == json!(["open", "hello", "payment_received", "asked"]), "{seen}");
    Ok(())
});
