//! An invoice's socket.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is a failure of the test")]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use regtest::{
    eventually,
    wait::{PATIENCE, with_enough_time},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::{LOG, Server, Setup, address, asking, paying};

type Socket = WebSocketStream<TcpStream>;

async fn open(server: &Server, id: &str, query: &str) -> Socket {
    let url = format!("ws://test/ws/jpp/invoice/{id}/{query}");
    client_async(url, server.connect().await).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Message {
    timeout(PATIENCE, socket.next()).await.expect("nothing comes").unwrap().unwrap()
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

/// Opens a socket that begins with `hello`, and takes it; `last` is the number of the invoice's last event.
async fn hello(server: &Server, id: &str, query: &str, last: u64) -> Socket {
    let mut socket = open(server, id, query).await;
    assert_eq!(event(&mut socket).await, json!({"type": "hello", "log": LOG, "last": last}), "{query}");
    socket
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
    let mut socket = hello(&server, &id, "?events=all", 1).await;
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
        r#"{{"type":"payment_received","invoice":{invoice},"txid":"{}","paid_at":"{at}","memo":"tea","n":3,"at":"{at}","log":"{LOG}"}}"#,
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

    let all = hello(&server, &id, "?since=0", 3).await;
    let events: Vec<Value> = all
        .take(3)
        .map(|message| serde_json::from_str(message.unwrap().to_text().unwrap()).unwrap())
        .collect()
        .await;
    assert_eq!(kinds(&events), [("invoice_created", 1), ("partial_payment", 2), ("payment_received", 3)]);
    let keys: Vec<_> = partial.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert_eq!((&partial["log"], &partial["invoice"]["log"]), (&json!(LOG), &json!(LOG)));

    let mut tail = hello(&server, &id, "?since=2", 3).await;
    assert_eq!(event(&mut tail).await["n"], 3);
    let mut live = hello(&server, &id, "?since=3", 3).await;
    silent(&mut live).await;
    let mut late_of_all = hello(&server, &id, "?events=all", 3).await;
    assert_eq!(event(&mut late_of_all).await, received);
    server.world.observe(&paying(3, &[(1, 700)])).await;
    for socket in [&mut socket, &mut late_of_all, &mut tail, &mut live] {
        assert_eq!(kinds(&[event(socket).await]), [("payment_recorded", 4)]);
    }
    silent(&mut late).await;
}

#[tokio::test]
async fn without_a_query_a_socket_sends_payment_received_alone() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let mut all = hello(&server, &id, "?events=all&since=0", 1).await;
    let mut original = open(&server, &id, "").await;
    let mut of_this_log = open(&server, &id, &format!("?log={LOG}")).await;
    let first = paying(1, &[(1, 400)]);
    server.world.block(1, &[]).await;
    server.world.observe(&first).await;
    let rest = paying(2, &[(1, 600)]);
    server.world.observe(&rest).await;
    server.world.observe(&paying(3, &[(1, 700)])).await;
    server.world.block(2, &[&first, &rest]).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|event: &Value| event["type"] != "payment_confirmed") {
        told.push(event(&mut all).await);
    }
    let expected = [
        ("invoice_created", 1),
        ("partial_payment", 2),
        ("payment_received", 3),
        ("payment_recorded", 4),
        ("payment_confirmed", 5),
    ];
    assert_eq!(kinds(&told), expected);
    for socket in [&mut original, &mut of_this_log] {
        assert_eq!(event(socket).await, told[2]);
        silent(socket).await;
    }
    // A socket that is opened later receives `payment_received` once, and no other event.
    let mut late = open(&server, &id, "").await;
    assert_eq!(event(&mut late).await, told[2]);
    silent(&mut late).await;
    let unknown = client_async(format!("ws://test/ws/jpp/invoice/{id}/?events=some"), server.connect().await);
    assert!(unknown.await.unwrap_err().to_string().contains("400"));
}

#[tokio::test]
async fn a_position_of_another_log_is_refused_right_after_the_upgrade() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    server.world.observe(&paying(1, &[(1, 400)])).await;
    let reason = format!(r#"{{"last":2,"log":"{LOG}"}}"#);
    let other = "2c442fff579b4dee995e4640c452258c";
    for query in [
        "since=3",
        "since=18446744073709551615",
        &format!("since=0&log={other}"),
        &format!("events=all&log={other}"),
        &format!("log={other}"),
        "since=1&log=no-id",
    ] {
        let mut socket = open(&server, &id, &format!("?{query}")).await;
        let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("{query}: no close frame") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4409, reason.as_str()), "{query}");
    }
    let dashed = "9B2F0D1C-6D3E-4F7A-A1B0-C2D3E4F50617";
    for query in ["?since=2".to_owned(), format!("?since=2&log={LOG}"), format!("?since=2&log={dashed}")] {
        let mut socket = hello(&server, &id, &query, 2).await;
        silent(&mut socket).await;
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
    let mut all = hello(&server, &id, "?since=0", 102).await;
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
    let is_free = async || Ok((ask(&format!("/ws/jpp/invoice/{id}/")).await.0.status == 101).then_some(()));
    eventually(|| "a place that is free again", is_free).await.unwrap();

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
    timeout(PATIENCE, server.serving).await.expect("it never ends").unwrap();
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
    let end = timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

#[tokio::test]
async fn a_reader_that_has_gone_is_not_waited_for() {
    with_enough_time(Duration::from_millis(200), async |interval| {
        let server = Setup::new().with_limits(|limits| limits.socket_ping_interval = interval).start().await;
        let (id, other) = (server.create(&asking(1, 1000)).await, server.create(&asking(2, 1000)).await);
        let mut there = open(&server, &id, "").await;
        let mut gone = open(&server, &other, "").await;
        assert_eq!(server.world.notifier.listened(), 2);
        // Reading is what answers pings, and this machine may be too slow for that.
        let mut pings = 0;
        while pings < 6 {
            match next(&mut there).await {
                Message::Ping(_) => pings += 1,
                Message::Close(_) => return Ok(None),
                other => panic!("{other:?}"),
            }
        }
        let is_alone = async || Ok((server.world.notifier.listened() == 1).then_some(()));
        eventually(|| "the one that is gone is noticed", is_alone).await?;
        assert_eq!(close(&mut gone).await, (4008, "1".to_owned()));
        Ok(Some(()))
    })
    .await
    .unwrap();
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
    let url = format!("ws://test/ws/jpp/invoice/{id}/?since=1");
    let (mut slow, _) = client_async(url, slow).await.unwrap();
    let mut quick = hello(&server, &id, "?since=1", 1).await;
    for coin in 0..60 {
        server.world.observe(&paying(coin, &[(1, 600)])).await;
        // Nobody waits for the slow one.
        assert_eq!(event(&mut quick).await["n"], u64::from(coin) + 2);
    }
    // Only the slow one listens after that, and then nobody.
    drop(quick);
    let is_given_up = async || Ok((server.world.notifier.listened() == 0).then_some(()));
    eventually(|| "the slow one is given up", is_given_up).await.unwrap();
    let (mut last, mut end) = (1, None);
    while let Ok(Some(Ok(message))) = timeout(PATIENCE, slow.next()).await {
        match message {
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                if event["type"] == "hello" {
                    continue;
                }
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
    let mut resumed = hello(&server, &id, &format!("?since={told}"), 61).await;
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
