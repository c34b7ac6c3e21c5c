//! A page, as a test sees it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use fantoccini::{
    Client, Locator,
    actions::{InputSource as _, KeyAction, KeyActions},
    key::Key,
    wd::WebDriverCompatibleCommand,
};
use hyper::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// How long something is waited for. The machine may be a slow one with more to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A page in a browser of its own.
pub(crate) struct Tab {
    client: Client,
    /// Parts of what the console may say.
    expected: Mutex<Vec<&'static str>>,
}

impl Tab {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, expected: Mutex::default() }
    }

    /// Opens a page, and leaves a mark that is gone when the page is loaded anew.
    pub(crate) async fn open(&self, url: &str) -> Result<()> {
        self.client.goto(url).await?;
        self.run("window.marker = 1").await?;
        Ok(())
    }

    /// Fails if the page was loaded anew since it was opened.
    pub(crate) async fn check_marker(&self) -> Result<()> {
        ensure!(self.value("window.marker").await? == 1, "the page was loaded anew");
        Ok(())
    }

    /// From now on sees what is in a frame of the page, by its place; `None` for the page itself.
    pub(crate) async fn enter_frame(&self, place: Option<u16>) -> Result<()> {
        match place {
            Some(place) => Ok(self.client.enter_frame(place).await?),
            None => Ok(self.client.enter_parent_frame().await?),
        }
    }

    /// Runs statements in the page. What they return comes back; a promise is waited for.
    pub(crate) async fn run(&self, statements: &str) -> Result<Value> {
        self.run_with(statements, vec![]).await
    }

    /// The same with values, which stand in `arguments`.
    pub(crate) async fn run_with(&self, statements: &str, arguments: Vec<Value>) -> Result<Value> {
        let done = self.client.execute(statements, arguments).await;
        done.with_context(|| statements.chars().take(200).collect::<String>())
    }

    /// What an expression is in the page.
    pub(crate) async fn value(&self, expression: &str) -> Result<Value> {
        self.run(&format!("return {expression}")).await
    }

    /// Waits until an expression is true; `what` names that.
    pub(crate) async fn until(&self, what: &str, expression: &str) -> Result<()> {
        self.until_within(PATIENCE, what, expression).await
    }

    /// The same with a patience of its own.
    pub(crate) async fn until_within(&self, time: Duration, what: &str, expression: &str) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            // While a page is loaded there may be nothing to ask.
            let last = self.value(&format!("Boolean({expression})")).await;
            if matches!(last, Ok(Value::Bool(true))) {
                return Ok(());
            }
            if Instant::now() > until {
                let shown = self.value("document.documentElement.outerHTML").await;
                bail!("never {what}: {last:?}\n{shown:?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until this is the headline.
    pub(crate) async fn until_headline(&self, headline: &str) -> Result<()> {
        self.until(headline, &format!("document.querySelector('h1')?.textContent === {}", json!(headline)))
            .await
    }

    /// Waits until something is to be seen, or is not.
    pub(crate) async fn until_visible(&self, selector: &str, visible: bool) -> Result<()> {
        let what = format!("{selector} visible: {visible}");
        self.until(&what, &format!("({}) === {visible}", is_visible(selector))).await
    }

    /// Whether there is something of this kind to be seen.
    pub(crate) async fn is_visible(&self, selector: &str) -> Result<bool> {
        Ok(self.value(&is_visible(selector)).await? == true)
    }

    /// How much there is of this kind, to be seen or not.
    pub(crate) async fn count(&self, selector: &str) -> Result<u64> {
        let count = self.value(&format!("document.querySelectorAll({}).length", json!(selector))).await?;
        count.as_u64().context("a number")
    }

    /// The text of the first of this kind.
    pub(crate) async fn text(&self, selector: &str) -> Result<String> {
        let text = self.value(&format!("document.querySelector({}).textContent", json!(selector))).await?;
        Ok(text.as_str().context("a text")?.to_owned())
    }

    /// Clicks on the first of this kind that is to be seen.
    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        for element in self.client.find_all(Locator::Css(selector)).await? {
            if element.is_displayed().await? {
                return Ok(element.click().await?);
            }
        }
        bail!("there is no {selector} to click on")
    }

    /// Presses a key.
    pub(crate) async fn press(&self, key: Key) -> Result<()> {
        let value = char::from(key);
        let keys = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
        Ok(self.client.perform_actions(keys).await?)
    }

    /// Makes the script ask for the page now, as it does when a network comes back.
    pub(crate) async fn ask(&self) -> Result<()> {
        self.run("dispatchEvent(new Event('online'))").await?;
        Ok(())
    }

    /// A command of the DevTools protocol.
    pub(crate) async fn command(&self, name: &'static str, parameters: Value) -> Result<Value> {
        let command = Command { path: "goog/cdp/execute", body: json!({"cmd": name, "params": parameters}) };
        self.client.issue_cmd(command).await.with_context(|| name)
    }

    /// Runs statements in every page that is opened from now on, before anything of the page.
    pub(crate) async fn prepare(&self, statements: &str) -> Result<()> {
        self.command("Page.addScriptToEvaluateOnNewDocument", json!({"source": statements})).await?;
        Ok(())
    }

    /// Says that the console may have complaints with this in it.
    pub(crate) fn expect(&self, part: &'static str) {
        self.expected.lock().push(part);
    }

    /// What the browser complained of since the last time: errors, warnings, what the policy stopped.
    pub(crate) async fn complaints(&self) -> Result<Vec<String>> {
        let log = self.client.issue_cmd(Command { path: "se/log", body: json!({"type": "browser"}) }).await?;
        let entries = log.as_array().context("entries")?.iter();
        let entries = entries.filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        Ok(entries.map(ToString::to_string).collect())
    }

    /// Waits until the browser complains of something; what it complained of before that is forgotten.
    pub(crate) async fn until_complaint(&self, part: &str) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut complaints = Vec::new();
        while !complaints.iter().any(|complaint: &String| complaint.contains(part)) {
            ensure!(Instant::now() < until, "no complaint of {part}: {complaints:?}");
            tokio::time::sleep(PAUSE).await;
            complaints.extend(self.complaints().await?);
        }
        Ok(())
    }

    /// Fails if the browser complained of something that nobody expected.
    pub(crate) async fn check_console(&self) -> Result<()> {
        let mut complaints = self.complaints().await?;
        let expected = self.expected.lock().clone();
        complaints.retain(|complaint| !expected.iter().any(|part| complaint.contains(part)));
        ensure!(complaints.is_empty(), "on the console:\n{}", complaints.join("\n"));
        Ok(())
    }

    /// Ends the browser.
    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.client.close().await?)
    }
}

fn is_visible(selector: &str) -> String {
    // `checkVisibility` takes an empty element for a visible one.
    let selector = json!(selector);
    format!(
        "[...document.querySelectorAll({selector})]
        .some((it) => it.checkVisibility({{visibilityProperty: true}}) && it.getBoundingClientRect().height > 0)"
    )
}

/// A command of chromedriver beyond WebDriver.
#[derive(Debug)]
struct Command {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
