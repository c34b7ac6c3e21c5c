//! An invoice's socket.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is a failure of the test")]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::{Server, Setup, address, asking, paying};

type Socket = WebSocketStream<TcpStream>;

async fn open(server: &Server, id: &str, query: &str) -> Socket {
    let url = format!("ws://test/ws/jpp/invoice/{id}/{query}");
    client_async(url, server.connect().await).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Message {
    timeout(Duration::from_secs(10), socket.next()).await.expect("nothing comes").unwrap().unwrap()
}

async fn event(socket: &mut Socket) -> Value {
    loop {
        match next(socket).await {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn close(socket: &mut Socket) -> (u16, String) {
    loop {
        match next(socket).await {
            Message::Close(Some(CloseFrame { code, reason })) => return (code.into(), reason.to_string()),
            Message::Text(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn silent(socket: &mut Socket) {
    let message = timeout(Duration::from_millis(200), socket.next()).await;
    assert!(message.is_err(), "{message:?}");
}

fn kinds(events: &[Value]) -> Vec<(&str, u64)> {
    events.iter().map(|event| (event["type"].as_str().unwrap(), event["n"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn a_payment_as_it_comes() {
    let server = Setup::new().start().await;
    let body = json!({
        "outputs": [{"address": address(1), "amount": 1000}], "memo": "tea", "merchant_data": {"secret": 1},
    });
    let id = server.create(&body).await;
    let mut socket = open(&server, &id, "").await;
    silent(&mut socket).await;
    let part = paying(1, &[(1, 400)]);
    server.world.observe(&part).await;
    let partial = event(&mut socket).await;
    assert_eq!(kinds(std::slice::from_ref(&partial)), [("partial_payment", 2)]);
    assert_eq!(partial["txid"], part.txid().to_string());
    assert_eq!(partial["invoice"]["amount_paid"], 400);

    server.world.move_clock(2);
    let rest = paying(2, &[(1, 600)]);
    server.world.observe(&rest).await;
    let Message::Text(text) = next(&mut socket).await else { panic!() };
    let received: Value = serde_json::from_str(&text).unwrap();
    let invoice = server.get(&format!("/i/{id}")).await.body;
    let at = "2026-11-23T02:43:51.099Z";
    let expected = format!(
        r#"{{"type":"payment_received","invoice":{invoice},"txid":"{}","paid_at":"{at}","memo":"tea","n":3,"at":"{at}"}}"#,
        rest.txid()
    );
    assert_eq!(text.as_str(), expected);
    assert_eq!(received["invoice"]["merchant_data"], Value::Null);
    assert!(!text.contains("seq"));

    // Whoever comes later hears of it at once, and what a client says is of no interest.
    let mut late = open(&server, &id, "").await;
    let Message::Text(again) = next(&mut late).await else { panic!() };
    assert_eq!(again, text);
    for message in [Message::text("hello"), Message::binary(vec![1, 2, 3]), Message::Pong(vec![].into())] {
        late.send(message).await.unwrap();
    }
    late.send(Message::Ping(vec![7].into())).await.unwrap();
    assert_eq!(next(&mut late).await, Message::Pong(vec![7].into()));

    let all = open(&server, &id, "?since=0").await;
    let events: Vec<Value> = all
        .take(3)
        .map(|message| serde_json::from_str(message.unwrap().to_text().unwrap()).unwrap())
        .collect()
        .await;
    assert_eq!(kinds(&events), [("invoice_created", 1), ("partial_payment", 2), ("payment_received", 3)]);
    let keys: Vec<_> = partial.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 5, "{keys:?}");

    let mut tail = open(&server, &id, "?since=2").await;
    assert_eq!(event(&mut tail).await["n"], 3);
    let mut live = open(&server, &id, "?since=3").await;
    silent(&mut live).await;
    server.world.observe(&paying(3, &[(1, 700)])).await;
    for socket in [&mut late, &mut tail, &mut live] {
        assert_eq!(kinds(&[event(socket).await]), [("payment_recorded", 4)]);
    }
}

#[tokio::test]
async fn the_payment_that_holds_is_told_even_after_many_events() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    server.world.observe(&paying(200, &[(1, 1000)])).await;
    for coin in 0..100 {
        server.world.observe(&paying(coin, &[(1, 600)])).await;
    }
    let mut socket = open(&server, &id, "").await;
    assert_eq!(kinds(&[event(&mut socket).await]), [("payment_received", 2)]);
    silent(&mut socket).await;
    // Resuming is complete, page after page.
    let mut all = open(&server, &id, "?since=0").await;
    for n in 1..=102 {
        assert_eq!(event(&mut all).await["n"], n);
    }
}

#[tokio::test]
async fn before_the_upgrade() {
    let server = Setup::new()
        .with_limits(|limits| (limits.max_sockets, limits.max_sockets_per_address) = (3, 2))
        .start()
        .await;
    let id = server.create(&asking(1, 1000)).await;
    let upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "6D69KGBOr4Re+Nj6zx9aQA=="),
    ];
    let ask = async |path: &str| {
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in upgrade {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = server.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, format!("{head}\r\n").as_bytes()).await.unwrap();
        let mut buffer = vec![0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await.unwrap();
        (super::client::Answer::parse(std::str::from_utf8(&buffer[..read]).unwrap()), stream)
    };
    let unknown = "/ws/jpp/invoice/2c442fff579b4dee995e4640c452258c/";
    assert_eq!(ask(unknown).await.0.expect(404), json!({"detail": "Not found."}));
    assert_eq!(ask(&format!("/api/ws/jpp/invoice/{id}/")).await.0.status, 404);
    let since = ask(&format!("/ws/jpp/invoice/{id}?since=x")).await.0;
    assert_eq!(since.expect(400), json!({"since": ["A valid integer is required."]}));
    assert_eq!(server.get(&format!("/ws/jpp/invoice/{id}/")).await.status, 426);

    let first = ask(&format!("/ws/jpp/invoice/{id}")).await;
    assert_eq!(first.0.status, 101);
    let second = open(&server, &id, "").await;
    let refused = ask(&format!("/ws/jpp/invoice/{id}/")).await.0;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("30")));
    drop((first, second));
    sleep(Duration::from_millis(200)).await;
    open(&server, &id, "").await;

    let full = Setup::new().with_limits(|limits| limits.max_sockets = 1).start().await;
    let id = full.create(&asking(1, 1000)).await;
    let _socket = open(&full, &id, "").await;
    let url = format!("ws://test/ws/jpp/invoice/{id}/");
    let error = client_async(url, full.connect().await).await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
}

#[tokio::test]
async fn the_end_is_told() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let mut sockets = [open(&server, &id, "").await, open(&server, &id, "?since=1").await];
    server.world.stop.stop();
    for socket in &mut sockets {
        assert_eq!(close(socket).await, (1001, String::new()));
        // The client's side of the closing handshake.
        while socket.next().await.is_some_and(|message| message.is_ok()) {}
    }
    timeout(Duration::from_secs(3), server.serving).await.expect("it never ends").unwrap();
    assert_eq!(server.world.notifier.listened(), 0);
}

#[tokio::test]
async fn a_message_too_large_ends_the_socket() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let mut socket = open(&server, &id, "").await;
    socket.send(Message::text("x".repeat(16 * 1024))).await.unwrap();
    silent(&mut socket).await;
    socket.send(Message::text("x".repeat(16 * 1024 + 1))).await.unwrap();
    let end = timeout(Duration::from_secs(5), socket.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

#[tokio::test]
async fn a_reader_that_has_gone_is_not_waited_for() {
    let server = Setup::new()
        .with_limits(|limits| limits.socket_ping_interval = Duration::from_millis(200))
        .start()
        .await;
    let id = server.create(&asking(1, 1000)).await;
    let mut there = open(&server, &id, "").await;
    let reading = tokio::spawn(async move {
        // Reading is what answers pings.
        let mut pings = 0;
        while pings < 6 {
            match next(&mut there).await {
                Message::Ping(_) => pings += 1,
                other => panic!("{other:?}"),
            }
        }
    });
    let mut gone = open(&server, &id, "").await;
    sleep(Duration::from_millis(900)).await;
    let mut messages = Vec::new();
    while let Ok(Some(Ok(message))) = timeout(Duration::from_secs(1), gone.next()).await {
        messages.push(message);
    }
    let Some(Message::Close(Some(frame))) = messages.last() else { panic!("{messages:?}") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4008, "1"));
    reading.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_told_where_to_go_on() {
    let server = Setup::new()
        .with_limits(|limits| limits.socket_write_timeout = Duration::from_millis(700))
        .start()
        .await;
    // Large events fill the buffers between the two.
    let outputs: Vec<Value> = (1..=100)
        .map(|tag| json!({"address": address(tag), "amount": 1_000_000, "description": "\u{1F375}".repeat(512)}))
        .collect();
    let id = server.create(&json!({ "outputs": outputs })).await;
    let slow = TcpSocket::new_v4().unwrap();
    slow.set_recv_buffer_size(4096).unwrap();
    let slow = slow.connect(server.address).await.unwrap();
    let url = format!("ws://test/ws/jpp/invoice/{id}/");
    let (mut slow, _) = client_async(url, slow).await.unwrap();
    let mut quick = open(&server, &id, "").await;
    for coin in 0..60 {
        server.world.observe(&paying(coin, &[(1, 600)])).await;
        // Nobody waits for the slow one.
        assert_eq!(event(&mut quick).await["n"], u64::from(coin) + 2);
    }
    sleep(Duration::from_millis(1500)).await;
    let (mut last, mut end) = (1, None);
    while let Ok(Some(Ok(message))) = timeout(Duration::from_secs(5), slow.next()).await {
        match message {
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(event["n"], last + 1);
                last += 1;
            }
            Message::Close(frame) => {
                end = frame;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let frame = end.expect("it is told");
    assert_eq!(u16::from(frame.code), 4008);
    let told: u64 = frame.reason.parse().unwrap();
    assert!((1..=last).contains(&told) && last < 61, "told {told}, received {last}");
    let mut resumed = open(&server, &id, &format!("?since={told}")).await;
    for n in told + 1..=61 {
        assert_eq!(event(&mut resumed).await["n"], n);
    }
}

/// Nothing that a client sends is needed but a pong now and then: one that sends much only makes work.
#[tokio::test]
async fn a_client_that_sends_too_much_is_closed() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    for flood in
        [Message::text("x"), Message::Ping("x".as_bytes().into()), Message::Pong("x".as_bytes().into())]
    {
        let mut modest = open(&server, &id, "").await;
        for _ in 0..10 {
            modest.send(flood.clone()).await.unwrap();
        }
        let mut socket = open(&server, &id, "").await;
        for _ in 0..11 {
            // The end may come first.
            let _ = socket.send(flood.clone()).await;
        }
        let (code, reason) = loop {
            match next(&mut socket).await {
                Message::Close(Some(CloseFrame { code, reason })) => {
                    break (u16::from(code), reason.to_string());
                }
                Message::Pong(_) | Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((code, reason.as_str()), (1008, "too many messages"));
        let ended = timeout(Duration::from_millis(300), async {
            loop {
                match modest.next().await {
                    Some(Ok(Message::Pong(_) | Message::Ping(_))) => {}
                    other => break other,
                }
            }
        });
        assert!(ended.await.is_err());
    }
}
