//! The demo, whose page has that of the invoice in a frame.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::{demo_runner::Demo, in_browser, tab::Tab};

/// The frame with the page of the invoice; the other one has what the demo did.
const INVOICE: u16 = 1;

in_browser!(the_demo_pays_on_its_page, async |tab: &Tab| {
    let demo = Path::new(env!("CARGO_BIN_EXE_jppd")).with_file_name("demo");
    let Some(mut demo) = Demo::start("the_demo_pays_on_its_page", &demo)? else { return Ok(()) };
    tab.open(&demo.page()?).await?;
    let invoice_says = async |headline: &str| -> Result<()> {
        tab.enter_frame(Some(INVOICE)).await?;
        tab.until_headline(headline).await?;
        tab.enter_frame(None).await
    };
    invoice_says("Waiting for payment").await?;
    tab.click("button[formaction=pay]").await?;
    invoice_says("Paid").await?;
    tab.click("button[formaction=mine]").await?;
    invoice_says("Paid and confirmed").await?;
    demo.until("payment_confirmed with 1 confirmation(s)")?;
    tab.check_marker().await?;
    tab.check_console().await?;
    // When the demo ends, the page stays open, and says that it hears nothing any more.
    tab.expect("net::ERR_");
    demo.press_enter()?;
    ensure!(demo.wait()?.success());
    Ok(())
});
