//! The demo, as somebody in front of it goes through it: with the buttons of its page, and with no keyboard at all.

#![expect(clippy::unwrap_used, reason = "helpers of a test, which fails where they do")]

mod runner;

use std::path::Path;

use regtest::{Client, client::Answer};

use crate::runner::Demo;

fn demo(test: &str) -> Option<Demo> {
    Demo::start(test, Path::new(env!("CARGO_BIN_EXE_demo"))).unwrap()
}

/// The client of an address, and the path in it.
fn client(url: &str) -> (Client, String) {
    let (port, path) = url.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
    (Client::new(port.parse().unwrap()), format!("/{path}"))
}

async fn page(url: &str) -> Answer {
    let (client, path) = client(url);
    client.with("accept", "text/html").get(&path).await.unwrap()
}

#[tokio::test]
async fn its_buttons_pay_and_mine() {
    let Some(mut demo) = demo("its_buttons_pay_and_mine") else { return };
    let till = demo.page().unwrap();
    let counter = page(&till).await;
    assert_eq!(counter.status, 200);
    let policy = &counter.headers["content-security-policy"];
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    let frame = counter.body.split_once("<iframe src=\"").unwrap().1;
    let invoice = frame.split_once('"').unwrap().0;
    assert!(policy.contains(invoice), "{policy}");
    assert!(page(invoice).await.body.contains("Waiting for payment"));

    let (till, _) = client(&till);
    let press = async |button: &str| till.post_text(button, "").await.unwrap();
    let paid = press("/pay").await;
    assert!(paid.body.contains("The demo wallet paid: "), "{paid:?}");
    assert_eq!(press("/pay").await.body, paid.body, "it pays once");
    demo.until("\"payment_received\"").unwrap();
    assert!(page(invoice).await.body.contains("Paid"));
    assert!(press("/mine").await.body.contains("A block was mined."));
    demo.until("payment_confirmed with 1 confirmation(s)").unwrap();
    assert!(page(invoice).await.body.contains("Paid and confirmed"));

    demo.press_enter().unwrap();
    demo.until("8. jppd was told to stop, and did (exit status: 0).").unwrap();
    assert!(demo.wait().unwrap().success());
}

#[test]
fn without_a_keyboard_it_goes_on_by_itself() {
    let Some(mut demo) = demo("without_a_keyboard_it_goes_on_by_itself") else { return };
    demo.take_keyboard();
    let said = demo.until("8. jppd was told to stop").unwrap();
    assert_eq!(said.matches("\"type\": \"payment_received\"").count(), 1, "{said}");
    assert_eq!(said.matches("It was paid straight to the address").count(), 1, "{said}");
    assert!(demo.wait().unwrap().success());
}
