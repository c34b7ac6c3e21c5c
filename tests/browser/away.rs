//! The server, the socket or the node is away, and comes back.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use regtest::{SimNode, SimOptions, shop::id};
use serde_json::json;

use crate::{in_browser, page, shop, shop_beside, tab::Tab};

/// What the console says when nobody listens.
const UNREACHABLE: &str = "net::ERR_";

/// What it says when the server does not agree to be a socket.
const NO_SOCKET: &str = "WebSocket connection to";

/// An open page looks for what is no event twice a minute.
const LOOKS_AGAIN: Duration = Duration::from_secs(120);

const LOST: &str = "document.documentElement.dataset.live === 'off'";
const LIVE: &str = "document.documentElement.dataset.live === 'on'";
const NODE_AWAY: &str =
    "document.querySelector('#state').textContent.includes('cannot see payments at the moment')";

in_browser!(the_server_restarts, async |tab: &Tab| {
    tab.expect(UNREACHABLE);
    tab.prepare(
        "window.opened = 0;
        const Real = WebSocket;
        window.WebSocket = class extends Real {
            constructor(url) {
                super(url);
                this.addEventListener('open', () => opened++);
            }
        }",
    )
    .await?;
    let mut shop = shop(&[]).await?;
    let (id, address) = shop.invoice(10_000).await?;
    tab.open(&page(&shop, &id)).await?;
    tab.until("a socket", "opened === 1").await?;
    ensure!(!tab.is_visible(".lost span").await?);

    shop.daemon.kill()?;
    tab.until("lost", LOST).await?;
    ensure!(tab.is_visible(".lost span").await? && !tab.is_visible(".live").await?);
    ensure!(tab.text("h1").await? == "Waiting for payment", "what was shown stays");
    ensure!(tab.is_visible("#pay img.qr").await?);
    shop.payer.pay(&*shop.node, &address, 10_000)?;

    shop.daemon.launch()?;
    tab.until_headline("Paid").await?;
    tab.until("live, and a socket again", &format!("{LIVE} && opened >= 2")).await?;
    ensure!(!tab.is_visible(".lost span").await? && tab.is_visible(".live").await?);
    shop.payer.mine(&*shop.node, 1)?;
    tab.until_headline("Paid and confirmed").await?;
    tab.check_marker().await
});

in_browser!(the_time_to_pay_runs_out_while_the_server_is_away, async |tab: &Tab| {
    tab.expect(UNREACHABLE);
    let mut shop = shop(&[]).await?;
    let address = shop.payee.new_address()?;
    let body = json!({"outputs": [{"address": address, "amount": 10_000}], "expires_in": 30});
    let id = id(&shop.create(&body).await?)?;
    tab.open(&page(&shop, &id)).await?;
    ensure!(tab.is_visible("#pay img.qr").await? && tab.is_visible("#state p").await?);

    shop.daemon.kill()?;
    tab.until("over", "document.documentElement.dataset.over === ''").await?;
    ensure!(tab.text("#left").await? == "00:00" && tab.text("h1").await? == "Expired");
    ensure!(tab.text("#state p").await?.contains("If you have paid, please wait"));
    ensure!(tab.count("#pay").await? == 1 && !tab.is_visible("#pay, #pay *").await?);
    ensure!(!tab.is_visible(".copy").await?, "nor does anything else ask for money");
    tab.until_visible(".lost span", true).await?;

    shop.daemon.launch()?;
    tab.until("the server's word for it", "!document.querySelector('#pay')").await?;
    ensure!(tab.text("h1").await? == "Expired" && tab.is_visible("#state p").await?);
    tab.check_marker().await
});

// The steady clock of a browser stands still while the machine sleeps; the other one does not.
in_browser!(the_time_to_pay_runs_out_while_the_machine_sleeps, async |tab: &Tab| {
    tab.expect(UNREACHABLE);
    tab.prepare(
        "window.slept = 0;
        const real = Date.now;
        Date.now = () => real() + slept",
    )
    .await?;
    let mut shop = shop(&[]).await?;
    let (id, _) = shop.invoice(10_000).await?;
    tab.open(&page(&shop, &id)).await?;
    shop.daemon.kill()?;
    tab.until("lost", LOST).await?;
    tab.run("window.slept = 3600 * 1000").await?;
    tab.until_headline("Expired").await?;
    ensure!(!tab.is_visible("#pay, .copy").await?, "nothing asks for money");
    // It was the clock that was wrong: the server knows better.
    shop.daemon.launch()?;
    tab.until_headline("Waiting for payment").await?;
    ensure!(tab.is_visible("#pay img.qr").await?);
    tab.check_marker().await
});

in_browser!(a_payment_is_seen_without_a_socket, async |tab: &Tab| {
    tab.expect(NO_SOCKET);
    let mut shop = shop(&[("JPPD_LIMITS__MAX_SOCKETS_PER_ADDRESS", "1")]).await?;
    let (id, address) = shop.invoice(10_000).await?;
    let _only_one = shop.socket(&id, 0).await?;
    tab.open(&page(&shop, &id)).await?;
    tab.until("live", LIVE).await?;
    shop.payer.pay(&*shop.node, &address, 10_000)?;
    tab.until_headline("Paid").await?;
    ensure!(tab.is_visible(".live").await? && !tab.is_visible(".lost span").await?, "the page is true");
    tab.until_complaint(NO_SOCKET).await?;
    tab.check_marker().await
});

// Something on the way swallows the upgrade: it is neither agreed to nor refused.
in_browser!(a_payment_is_seen_while_the_socket_hangs, async |tab: &Tab| {
    tab.prepare("window.WebSocket = class { static OPEN = 1; readyState = 0; close() {} }").await?;
    let mut shop = shop(&[]).await?;
    let (id, address) = shop.invoice(10_000).await?;
    tab.open(&page(&shop, &id)).await?;
    shop.payer.pay(&*shop.node, &address, 10_000)?;
    tab.until_headline("Paid").await?;
    tab.check_marker().await
});

in_browser!(the_node_goes_away, async |tab: &Tab| {
    let node = Arc::new(SimNode::start(SimOptions::default())?);
    let mut shop = shop_beside(node.clone(), &[]).await?;
    let (id, _) = shop.invoice(10_000).await?;
    tab.open(&page(&shop, &id)).await?;
    ensure!(tab.value(NODE_AWAY).await? == false);
    node.refuse_rpc(true)?;
    tab.until_within(LOOKS_AGAIN, "the node is away", NODE_AWAY).await?;
    ensure!(tab.text("h1").await? == "Waiting for payment");
    node.refuse_rpc(false)?;
    tab.until("the node is back", &format!("!{NODE_AWAY}")).await?;
    tab.check_marker().await
});

in_browser!(an_unknown_invoice_has_a_page, async |tab: &Tab| {
    tab.expect("the server responded with a status of 404");
    let shop = shop(&[]).await?;
    tab.open(&page(&shop, "2c442fff579b4dee995e4640c452258c")).await?;
    ensure!(tab.text("h1").await? == "Invoice not found" && tab.count("h1").await? == 1);
    ensure!(tab.is_visible("#state.stop svg").await?);
    ensure!(!tab.is_visible(".live, .lost span, #pay").await?);
    Ok(())
});

// No browser can be made to wait until a disk fails, so here its answers are put together from those there are: a page
// that says what is wrong and when to look again, and in the end the invoice.
in_browser!(what_was_away_comes_back, async |tab: &Tab| {
    tab.expect("the server responded with a status of 404");
    let mut shop = shop(&[]).await?;
    let (id, _) = shop.invoice(10_000).await?;
    let stand_in = "
        const away = (main) => {
            if (main && !main.dataset.socket) main.dataset.again = 1;
        };
        new MutationObserver(() => away(document.querySelector('main')))
            .observe(document, {childList: true, subtree: true});
        window.statuses = [];
        const real = fetch;
        window.fetch = async (url, ...rest) => {
            const status = window.back ? 200 : 503;
            statuses.push(status);
            const text = await (await real(window.back ? 'INVOICE' : url, ...rest)).text();
            const page = new DOMParser().parseFromString(text, 'text/html');
            away(page.querySelector('main'));
            return new Response(page.documentElement.outerHTML, {status});
        }";
    tab.prepare(&stand_in.replace("INVOICE", &id)).await?;
    tab.open(&page(&shop, "2c442fff579b4dee995e4640c452258c")).await?;
    tab.until("asked", "statuses.length >= 2").await?;
    ensure!(tab.is_visible(".live").await? && tab.text("h1").await? == "Invoice not found");
    tab.check_marker().await?;
    // The page of the invoice has another frame: it is loaded.
    tab.run("window.back = true").await?;
    tab.until("loaded anew", "!window.marker").await
});
