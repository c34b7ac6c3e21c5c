//! What a payer does with the page: copy, use the keyboard, have no scripts.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use fantoccini::key::Key;
use regtest::{Shop, SimNode, SimOptions, shop::id};
use serde_json::{Value, json};

use crate::{in_browser, page, shop, shop_beside, tab::Tab, text};

/// How often Tab is pressed at most to get somewhere.
const FAR: usize = 20;

/// An invoice with everything that can be copied, as its creator got it.
async fn invoice(shop: &mut Shop) -> Result<Value> {
    let address = shop.payee.new_address()?;
    shop.create(&json!({"outputs": [{"address": address, "amount": 12_345}]})).await
}

/// Clicks on each button that is to be seen, and gives what the clipboard has each time. `board` is the clipboard.
async fn copy_all(tab: &Tab, board: &str) -> Result<Vec<String>> {
    tab.run(
        "window.said = [];
        const said = document.querySelector('#said');
        new MutationObserver(() => window.said.push(said.textContent)).observe(said, {childList: true});
        let index = 0;
        for (const button of document.querySelectorAll('.copy')) {
            delete button.dataset.at;
            if (button.checkVisibility()) button.dataset.at = index++;
        }",
    )
    .await?;
    let mut copied = Vec::new();
    for at in 0..tab.count("[data-at]").await? {
        tab.run(&format!("return {board}.writeText('nothing')")).await?;
        tab.run("said.length = 0").await?;
        tab.click(&format!("[data-at='{at}']")).await?;
        tab.until("said", "said.includes('Copied')").await?;
        let focused = tab.value("document.activeElement.dataset.at").await?;
        ensure!(focused == json!(at.to_string()), "the focus is where it was, and not at {focused}");
        let text = tab.run(&format!("return {board}.readText()")).await?;
        copied.push(text.as_str().context("a text")?.to_owned());
    }
    tab.until("it is not said for ever", "document.querySelector('#said').textContent === ''").await?;
    ensure!(tab.count("textarea").await? == 0);
    Ok(copied)
}

async fn check_copies(tab: &Tab, board: &str) -> Result<()> {
    tab.command(
        "Browser.grantPermissions",
        json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}),
    )
    .await?;
    let mut shop = shop(&[]).await?;
    let created = invoice(&mut shop).await?;
    tab.open(&page(&shop, &id(&created)?)).await?;
    let address = text(&created["outputs"][0], "address")?;
    let (by_link, by_any) = (text(&created, "payment_uri")?, text(&created, "bip21_uri")?);
    let copied = copy_all(tab, board).await?;
    ensure!(copied == ["0.00012345", by_link, address], "{copied:?}");
    tab.click("label[for=by-any]").await?;
    let copied = copy_all(tab, board).await?;
    ensure!(copied == ["0.00012345", by_any, address], "{copied:?}");
    tab.check_marker().await
}

in_browser!(what_is_copied, async |tab: &Tab| check_copies(tab, "navigator.clipboard").await);

// A page that came over plain HTTP has no clipboard, but a test must have one to look into.
in_browser!(what_is_copied_without_a_clipboard, async |tab: &Tab| {
    tab.prepare(
        "window.board = navigator.clipboard;
        Object.defineProperty(navigator, 'clipboard', {value: undefined})",
    )
    .await?;
    check_copies(tab, "board").await?;
    ensure!(tab.value("navigator.clipboard").await?.is_null());
    Ok(())
});

in_browser!(the_ways_to_pay_by_keyboard, async |tab: &Tab| {
    let node = Arc::new(SimNode::start(SimOptions::default())?);
    let mut shop = shop_beside(node.clone(), &[]).await?;
    let (id, _) = shop.invoice(12_345).await?;
    tab.open(&page(&shop, &id)).await?;
    let focus = "document.activeElement.id";
    let mut presses = 0;
    while tab.value(focus).await? != "by-link" {
        ensure!(presses < FAR, "Tab does not get there");
        presses += 1;
        tab.press(Key::Tab).await?;
    }
    ensure!(tab.is_visible(".by-link").await? && !tab.is_visible(".by-any").await?);
    let outline = "getComputedStyle(document.activeElement.labels[0]).outlineStyle";
    ensure!(tab.value(outline).await? == "solid", "the focus is to be seen");
    tab.press(Key::Right).await?;
    let chosen = async || {
        ensure!(tab.value(focus).await? == "by-any", "the focus");
        ensure!(tab.is_visible(".by-any img.qr").await? && !tab.is_visible(".by-link").await?);
        ensure!(tab.value(outline).await? == "solid");
        Ok(())
    };
    chosen().await?;

    // The page changes below it.
    node.refuse_rpc(true)?;
    shop.until_not_ready("node_unreachable").await?;
    tab.ask().await?;
    tab.until("changed", "document.querySelector('#state li')?.textContent.includes('cannot see')").await?;
    chosen().await?;
    tab.press(Key::Left).await?;
    ensure!(tab.value(focus).await? == "by-link");
    ensure!(tab.is_visible(".by-link img.qr").await? && !tab.is_visible(".by-any").await?);
    tab.press(Key::Tab).await?;
    ensure!(tab.value("document.activeElement.matches('.by-link a.button')").await? == true);
    tab.check_marker().await
});

in_browser!(without_scripts, async |tab: &Tab| {
    tab.command("Emulation.setScriptExecutionDisabled", json!({"value": true})).await?;
    let mut shop = shop(&[]).await?;
    let created = invoice(&mut shop).await?;
    tab.open(&page(&shop, &id(&created)?)).await?;
    ensure!(tab.value("document.documentElement.dataset.live ?? null").await?.is_null(), "no script runs");
    ensure!(tab.text("h1").await? == "Waiting for payment");
    ensure!(tab.text("#ask .amount").await? == "0.00012345 BCH");
    ensure!(tab.is_visible("#left").await? && tab.is_visible("#outputs code.whole").await?);
    ensure!(tab.is_visible(".still a").await?, "how to look again");
    ensure!(!tab.is_visible(".copy, .live, .lost span").await?, "what needs a script");
    for (way, other, uri) in [("by-any", "by-link", "bip21_uri"), ("by-link", "by-any", "payment_uri")] {
        tab.click(&format!("label[for={way}]")).await?;
        tab.until_visible(&format!(".{way} img.qr"), true).await?;
        ensure!(!tab.is_visible(&format!(".{other}")).await?);
        let link =
            tab.value(&format!("document.querySelector('.{way} a.button').getAttribute('href')")).await?;
        ensure!(link == created[uri], "{link}");
    }
    // It is told what happened when it looks again.
    shop.payer.pay(&*shop.node, text(&created["outputs"][0], "address")?, 12_345)?;
    shop.until(&id(&created)?, "paid").await?;
    tab.click(".still a").await?;
    tab.until_headline("Paid").await?;
    ensure!(!tab.is_visible(".copy").await?);
    Ok(())
});
