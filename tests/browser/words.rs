//! What merchants and payers write is text, whatever they write, and however it gets into the page; and what we write is
//! in the payer's language.

use anyhow::{Result, ensure};
use regtest::{purse::raw_hex, shop::id};
use serde_json::{Value, json};

use crate::{in_browser, page, shop, tab::Tab};

/// What would run, load or say something if it were taken for markup.
const HOSTILE: [&str; 5] = [
    "<script>window.hacked=1</script>",
    "\"><img src=x onerror=window.hacked=1>",
    "</bdi></p></section><h1>Paid</h1>",
    "</main><iframe srcdoc=\"<script>parent.hacked=1</script>\"></iframe><!--",
    "' onfocus='window.hacked=1' autofocus='",
];

/// The texts that others wrote, and how often there is what no text makes.
const FOUND: &str = "({
    theirs: [...document.querySelectorAll('.theirs')].map((it) => it.textContent),
    children: document.querySelectorAll('.theirs bdi *').length,
    h1: document.querySelectorAll('h1').length,
    foreign: document.querySelectorAll('iframe, body script, img:not(.qr), [autofocus]').length,
    hacked: typeof window.hacked,
})";

async fn check(tab: &Tab, theirs: &[&str]) -> Result<()> {
    let found = tab.value(FOUND).await?;
    let expected = json!({"theirs": theirs, "children": 0, "h1": 1, "foreign": 0, "hacked": "undefined"});
    ensure!(found == expected, "{found} instead of {expected}");
    Ok(())
}

in_browser!(what_others_wrote_is_text, async |tab: &Tab| {
    let mut shop = shop(&[]).await?;
    for words in HOSTILE {
        let address = shop.payee.new_address()?;
        let output = json!({"address": address, "amount": 10_000, "description": words});
        let id = id(&shop.create(&json!({"outputs": [output], "memo": words})).await?)?;
        tab.open(&page(&shop, &id)).await?;
        check(tab, &[words, words]).await?;

        // The payer's words come into the page that is open.
        let paying = shop.payer.sign(&address, 10_000)?;
        let body = json!({"raw_tx_hex": raw_hex(&paying), "memo": words});
        shop.daemon.api().post(&format!("/i/{id}/pay"), &body).await?.expect(200)?;
        tab.until_headline("Paid").await?;
        check(tab, &[words, words, words]).await?;
        tab.check_marker().await?;

        // And they stand in one that is opened afterwards.
        tab.open(&page(&shop, &id)).await?;
        check(tab, &[words, words, words]).await?;
    }
    Ok(())
});

in_browser!(the_policy_stops_what_would_slip_through, async |tab: &Tab| {
    let mut shop = shop(&[]).await?;
    let (id, _) = shop.invoice(10_000).await?;
    tab.open(&page(&shop, &id)).await?;
    tab.check_console().await?;
    for (markup, directive) in [
        ("<img src=x: onerror=window.hacked=1>", "script-src 'self'"),
        ("<p style='position: fixed'>Paid</p>", "style-src 'self'"),
        ("<img src='https://example.com/x.png'>", "img-src 'self'"),
        ("<iframe src='https://example.com/'></iframe>", "default-src 'none'"),
    ] {
        let place =
            "const it = document.createElement('div'); document.body.append(it); it.innerHTML = arguments[0]";
        tab.run_with(place, vec![json!(markup)]).await?;
        tab.until_complaint(directive).await?;
    }
    ensure!(tab.value("window.hacked").await? == Value::Null);
    Ok(())
});

in_browser!(the_page_speaks_the_payers_language, async |tab: &Tab| {
    let languages = json!({"headers": {"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}});
    tab.command("Network.enable", json!({})).await?;
    tab.command("Network.setExtraHTTPHeaders", languages).await?;
    let mut shop = shop(&[]).await?;
    let (id, address) = shop.invoice(10_000).await?;
    tab.open(&page(&shop, &id)).await?;
    ensure!(tab.text("h1").await? == "Warten auf Zahlung");
    ensure!(tab.value("document.documentElement.lang").await? == "de");
    // The script writes times in the language of the page, and asks for the page in the same.
    let time = "/^[0-9]{2}[.][0-9]{2}[.][0-9]{4}, [0-9]{2}:[0-9]{2}:[0-9]{2} UTC$/.test(
        document.querySelector('main time').textContent)";
    ensure!(tab.value(time).await? == true, "{}", tab.text("main time").await?);
    shop.payer.pay(&*shop.node, &address, 10_000)?;
    tab.until_headline("Bezahlt").await?;
    ensure!(tab.value(time).await? == true, "{}", tab.text("main time").await?);
    tab.click(".copy").await?;
    tab.until("said", "document.querySelector('#said').textContent === 'Kopiert'").await?;
    tab.check_marker().await
});
