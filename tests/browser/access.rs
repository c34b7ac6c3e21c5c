//! Barriers that a machine can find: axe-core looks at the page in its states, by day and by night.
//!
//! It is installed from npm like the client libraries of `tests/clients.rs`, and put into the page by chromedriver,
//! which the policy of the page does not bind.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use regtest::node::skipped;
use serde_json::Value;

use crate::{
    in_browser,
    looks::{SCHEMES, invoices, set_scheme},
    npm, page, shop,
    tab::Tab,
};

/// What says which axe-core.
const WANTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser");

/// Looks at all of the page, by the rules of WCAG 2.2 up to AA and by what its authors hold to be good besides.
const LOOK: &str = "return axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    rules: {'target-size': {enabled: true}},
    resultTypes: ['violations'],
}).then(({violations, passes}) => ({
    passes: passes.length,
    violations: violations.flatMap((it) => it.nodes.map(({html, failureSummary}) =>
        [it.id, it.help, it.tags.join(' '), html, failureSummary].join('\\n  '))),
}))";

in_browser!(no_barriers, async |tab: &Tab| {
    let folder = match npm::install(Path::new(WANTED)).await? {
        Ok(folder) => folder,
        Err(why) => {
            skipped(&format!("no_barriers: {why}"));
            return Ok(());
        }
    };
    let axe = fs::read_to_string(folder.join("node_modules/axe-core/axe.min.js"))?;
    tab.expect("the server responded with a status of 404");
    tab.expect("net::ERR_");
    let mut shop = shop(&[]).await?;
    let mut pages = invoices(&mut shop).await?;
    pages.push(("unknown", "Invoice not found", "2c442fff579b4dee995e4640c452258c".to_owned()));
    let mut found = Vec::new();
    let mut look = async |what: &str| {
        for scheme in SCHEMES {
            set_scheme(tab, scheme).await?;
            found.extend(barriers(tab).await?.into_iter().map(|it| format!("{what}, {scheme}: {it}")));
        }
        Ok::<_, anyhow::Error>(())
    };
    for (name, headline, id) in pages.iter().rev() {
        tab.open(&page(&shop, id)).await?;
        tab.until_headline(headline).await?;
        tab.run(&axe).await?;
        look(name).await?;
    }
    // The last one waits for its payment.
    tab.click("label[for=by-any]").await?;
    look("any wallet").await?;
    shop.daemon.kill()?;
    tab.until_visible(".lost span", true).await?;
    look("lost").await?;
    ensure!(found.is_empty(), "{}", found.join("\n\n"));

    // The check is a check.
    tab.run("document.querySelector('.by-any img').removeAttribute('alt')").await?;
    let found = barriers(tab).await?;
    ensure!(found.len() == 1 && found[0].starts_with("image-alt"), "{found:?}");
    Ok(())
});

/// What is found in the page.
async fn barriers(tab: &Tab) -> Result<Vec<String>> {
    let seen = tab.run(LOOK).await?;
    ensure!(seen["passes"].as_u64() > Some(10), "it looked at nothing: {seen}");
    let violations = seen["violations"].as_array().context("violations")?;
    Ok(violations.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

#[test]
fn the_lock_names_no_registry() -> Result<()> {
    npm::check_lock(Path::new(WANTED), 2)
}
