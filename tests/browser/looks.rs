//! How the page looks, on a phone and at a till, by day and by night.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use regtest::{Shop, shop::id};
use serde_json::json;

use crate::{in_browser, page, shop, tab::Tab};

/// Where the pictures stay.
const PICTURES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/browser");

/// Name, width, height, device pixels for one of the page, and whether it is a phone.
const SCREENS: [(&str, u32, u32, u32, bool); 3] =
    [("phone", 390, 844, 2, true), ("small", 320, 568, 2, true), ("till", 1280, 800, 1, false)];

/// The least side of a code that a camera reads from arm's length, in CSS pixels.
const LEAST_CODE: u64 = 200;

/// Light and dark.
pub(crate) const SCHEMES: [&str; 2] = ["light", "dark"];

/// Shows the page by day or by night.
pub(crate) async fn set_scheme(tab: &Tab, scheme: &str) -> Result<()> {
    let features = json!([
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]);
    tab.command("Emulation.setEmulatedMedia", json!({"features": features})).await?;
    Ok(())
}

/// Invoices in the states that a payer sees most: their names, headlines and ids. What has to run out runs out in
/// between, so the headline is to be waited for.
pub(crate) async fn invoices(shop: &mut Shop) -> Result<Vec<(&'static str, &'static str, String)>> {
    let mut made = Vec::new();
    for (name, headline, paid, lifetime) in [
        ("waiting", "Waiting for payment", 0, 1800),
        ("partial", "Paid in part", 30_000, 1800),
        ("paid", "Paid", 50_000, 1800),
        ("expired", "Expired", 0, 1),
    ] {
        let address = shop.payee.new_address()?;
        let body = json!({
            "outputs": [{"address": address, "amount": 50_000, "description": "Coffee, ground, 250 g"}],
            "memo": "Order 4711\nThank you for coming.",
            "expires_in": lifetime,
        });
        let id = id(&shop.create(&body).await?)?;
        if paid > 0 {
            shop.payer.pay(&*shop.node, &address, paid)?;
        }
        made.push((name, headline, id));
    }
    Ok(made)
}

in_browser!(on_every_screen, async |tab: &Tab| {
    let mut shop = shop(&[]).await?;
    let invoices = invoices(&mut shop).await?;
    fs::create_dir_all(PICTURES)?;
    for (name, headline, id) in invoices {
        tab.open(&page(&shop, &id)).await?;
        tab.until_headline(headline).await?;
        for (screen, width, height, scale, phone) in SCREENS {
            let metrics =
                json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone});
            tab.command("Emulation.setDeviceMetricsOverride", metrics).await?;
            let mut grounds = Vec::new();
            for scheme in SCHEMES {
                set_scheme(tab, scheme).await?;
                let picture = format!("{name}-{screen}-{scheme}");
                tab.until(
                    &picture,
                    "[...document.images].every((it) => it.naturalWidth > 0 || !it.checkVisibility())",
                )
                .await?;
                check_widths(tab, width).await.with_context(|| picture.clone())?;
                grounds.push(tab.value("getComputedStyle(document.body).backgroundColor").await?);
                take(tab, &picture).await?;
            }
            ensure!(grounds[0] != grounds[1], "{name}: the same by day and by night: {grounds:?}");
        }
        tab.check_marker().await?;
    }
    Ok(())
});

/// Nothing is wider than the screen, and the code is as large as it must be.
async fn check_widths(tab: &Tab, width: u32) -> Result<()> {
    let measured = tab
        .value(
            "({
                screen: innerWidth,
                // Without the bar to scroll by.
                room: document.documentElement.clientWidth,
                page: document.documentElement.scrollWidth,
                codes: [...document.querySelectorAll('.qr')].filter((it) => it.checkVisibility())
                    .map((it) => it.getBoundingClientRect())
                    .map(({left, right, width, height}) =>
                        ({left, right, side: Math.round(width), even: width === height})),
            })",
        )
        .await?;
    ensure!(measured["screen"] == width && measured["page"] == measured["room"], "{measured}");
    let expected = u64::from(tab.count("#pay").await? > 0);
    let codes = measured["codes"].as_array().context("codes")?;
    ensure!(codes.len() as u64 == expected, "{measured}");
    for code in codes {
        ensure!(code["even"] == true && code["side"].as_u64() >= Some(LEAST_CODE), "{measured}");
        ensure!(
            code["left"].as_f64() >= Some(0.0) && code["right"].as_f64() <= Some(f64::from(width)),
            "{measured}"
        );
    }
    Ok(())
}

/// Keeps a picture of the whole page.
async fn take(tab: &Tab, name: &str) -> Result<()> {
    let taken = tab.command("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await?;
    let picture = BASE64_STANDARD.decode(taken["data"].as_str().context("a picture")?)?;
    fs::write(Path::new(PICTURES).join(format!("{name}.png")), picture)?;
    Ok(())
}
