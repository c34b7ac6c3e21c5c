//! The demo, as somebody in front of it goes through it: with the buttons of its page, and with no keyboard at all.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test, which fails where they do")]

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use regtest::{Client, client::Answer, node::skipped};

/// How often an end of the demo is looked for, a tenth of a second apart.
const LOOKS: u32 = 600;

/// The demo as a child.
struct Demo {
    child: Child,
    keys: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    /// Starts it; `None`, and a word of it, where only this package was built and there is no `jppd` to start.
    fn start(test: &str) -> Option<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_demo"));
        if !program.with_file_name("jppd").is_file() {
            skipped(&format!("{test}: there is no jppd beside the demo (build the whole workspace)"));
            return None;
        }
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self { keys: child.stdin.take(), child, said })
    }

    /// What it says up to a line that contains something, this line included.
    fn until(&mut self, part: &str) -> String {
        let mut said = String::new();
        for line in &mut self.said {
            let line = line.unwrap();
            said.push_str(&line);
            said.push('\n');
            if line.contains(part) {
                return said;
            }
        }
        panic!("it never said {part:?}:\n{said}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Without a keyboard it goes on to its end, and ends its own child.
        drop(self.keys.take());
        for _ in 0..LOOKS {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    let Some(mut demo) = Demo::start("its_buttons_pay_and_mine") else { return };
    let said = demo.until("with a button that pays");
    let till = said.lines().last().unwrap().rsplit_once(' ').unwrap().1;
    let counter = page(till).await;
    assert_eq!(counter.status, 200);
    let policy = &counter.headers["content-security-policy"];
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    let frame = counter.body.split_once("<iframe src=\"").unwrap().1;
    let invoice = frame.split_once('"').unwrap().0;
    assert!(policy.contains(invoice), "{policy}");
    assert!(page(invoice).await.body.contains("Waiting for payment"));

    let (till, _) = client(till);
    let press = async |button: &str| till.post_text(button, "").await.unwrap();
    let paid = press("/pay").await;
    assert!(paid.body.contains("The demo wallet paid: "), "{paid:?}");
    assert_eq!(press("/pay").await.body, paid.body, "it pays once");
    demo.until("\"payment_received\"");
    assert!(page(invoice).await.body.contains("Paid"));
    assert!(press("/mine").await.body.contains("A block was mined."));
    demo.until("payment_confirmed with 1 confirmation(s)");
    assert!(page(invoice).await.body.contains("Paid and confirmed"));

    demo.keys.as_mut().unwrap().write_all(b"\n").unwrap();
    demo.until("8. jppd was told to stop, and did (exit status: 0).");
    assert!(demo.child.wait().unwrap().success());
}

#[test]
fn without_a_keyboard_it_goes_on_by_itself() {
    let Some(mut demo) = Demo::start("without_a_keyboard_it_goes_on_by_itself") else { return };
    drop(demo.keys.take());
    let said = demo.until("8. jppd was told to stop");
    assert_eq!(said.matches("\"type\": \"payment_received\"").count(), 1, "{said}");
    assert_eq!(said.matches("It was paid straight to the address").count(), 1, "{said}");
    assert!(demo.child.wait().unwrap().success());
}
