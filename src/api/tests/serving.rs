//! Connections: their deadlines, their number, their end.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use regtest::wait::PATIENCE;

use super::{Server, Setup, client::Answer};
use crate::api::TrustedProxies;

/// Interim response of a server that is ready to read the body.
const CONTINUE: [u8; 25] = *b"HTTP/1.1 100 Continue\r\n\r\n";

const REQUEST: &[u8] = b"GET /jpp/ HTTP/1.1\r\nHost: test\r\n\r\n";

/// Reads one answer of a connection that stays open.
async fn answer(stream: &mut TcpStream) -> Answer {
    let mut text = String::new();
    loop {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(read, 0, "the connection ended after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        if text.ends_with('}') {
            return Answer::parse(&text);
        }
    }
}

/// How long it takes until a connection is ended from the other side.
async fn ended_after(stream: &mut TcpStream) -> Duration {
    let started = Instant::now();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is never ended");
    started.elapsed()
}

#[tokio::test]
async fn silence_and_half_a_head_are_cut_off_and_a_kept_connection_is_not() {
    let head = Duration::from_millis(400);
    // Patience with a connection that is kept never ends here, so that what ends is ended for its head.
    let server = Setup::new()
        .with_limits(|limits| (limits.header_timeout, limits.idle_timeout) = (head, 100 * PATIENCE))
        .start()
        .await;
    let started = Instant::now();
    ended_after(&mut server.connect().await).await;
    assert!(started.elapsed() >= head);

    let started = Instant::now();
    let mut half = server.connect().await;
    half.write_all(b"GET /jpp/ HTTP/1.1\r\nHost: te").await.unwrap();
    ended_after(&mut half).await;
    assert!(started.elapsed() >= head);

    let started = Instant::now();
    let mut drop_by_drop = server.connect().await;
    for byte in REQUEST.iter().cycle() {
        if drop_by_drop.write_all(&[*byte]).await.is_err() {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "it is never ended");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(started.elapsed() >= head);

    let mut kept = server.connect().await;
    for _ in 0..2 {
        kept.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(&mut kept).await.status, 200);
        sleep(2 * head).await;
    }
    // The next head begins and is not ended.
    let started = Instant::now();
    kept.write_all(b"GET /jp").await.unwrap();
    ended_after(&mut kept).await;
    assert!(started.elapsed() >= head);

    let rest = 3 * head;
    let server = Setup::new()
        .with_limits(|limits| (limits.header_timeout, limits.idle_timeout) = (head, rest))
        .start()
        .await;
    let started = Instant::now();
    let mut idle = server.connect().await;
    idle.write_all(REQUEST).await.unwrap();
    assert_eq!(answer(&mut idle).await.status, 200);
    ended_after(&mut idle).await;
    assert!(started.elapsed() >= rest);
}

#[tokio::test]
async fn a_body_that_does_not_come() {
    let server =
        Setup::new().with_limits(|limits| limits.request_timeout = Duration::from_millis(300)).start().await;
    let half = "POST /jpp/invoices/ HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
                Content-Length: 100\r\n\r\n{\"outputs\":";
    let answer = Answer::parse(&server.send(half.as_bytes()).await);
    let detail = "The body of the request did not arrive in time.";
    assert_eq!(answer.expect(408), serde_json::json!({ "detail": detail }));
}

#[tokio::test]
async fn an_answer_that_takes_too_long() {
    let slow = axum::routing::post(|| async { sleep(Duration::from_secs(60)).await });
    let router = axum::Router::new().route("/slow", slow);
    let router = crate::api::frame::public(router, Duration::from_millis(100), super::nobody());
    let answer = super::fuzzing::ask(&router, "POST", "/slow", b"", &[]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    answer.json();
}

#[tokio::test]
async fn an_answer_that_is_not_read() {
    use crate::api::stream::{Course, Stream};
    let (near, _far) = tokio::io::duplex(64);
    let patience = Duration::from_millis(200);
    let mut stream = Stream::new(near, std::sync::Arc::new(Course::default()), patience, patience);
    let started = Instant::now();
    let error = stream.write_all(&[0; 1000]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(started.elapsed() >= patience);
}

#[tokio::test]
async fn a_reader_slower_than_the_floor_is_cut_and_a_faster_one_is_not() {
    use crate::api::stream::{Course, Stream};
    // Bytes read in each 50 ms, and whether so many are enough after a patience of 300 ms.
    for (each_time, is_enough) in [(1, false), (600, true)] {
        let (near, mut far) = tokio::io::duplex(64);
        let patience = Duration::from_millis(300);
        let course = std::sync::Arc::new(Course::default());
        let mut stream = Stream::new(near, course, patience, patience);
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; each_time];
            while far.read_exact(&mut buffer).await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        });
        let written = async {
            stream.write_all(&vec![0; 12_000]).await?;
            stream.flush().await
        };
        let written = timeout(Duration::from_secs(10), written).await.expect("it has no end");
        assert_eq!(written.is_ok(), is_enough, "{written:?}");
        drop(stream);
        reading.await.unwrap();
    }
}

/// A WebSocket has deadlines of its own: nothing is asked of a stream.
#[tokio::test]
async fn a_stream_may_be_read_as_slowly_as_it_likes() {
    use crate::api::stream::{Course, Stream};
    let (near, _far) = tokio::io::duplex(64);
    let patience = Duration::from_millis(100);
    let course = std::sync::Arc::new(Course::default());
    course.request_began();
    course.upgraded();
    let mut stream = Stream::new(near, course, patience, patience);
    let written = timeout(Duration::from_millis(500), stream.write_all(&[0; 1000])).await;
    assert!(written.is_err(), "{written:?}");
}

async fn from(server: &Server, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(server.address).await.unwrap()
}

#[tokio::test]
async fn a_connection_too_many_takes_the_place_of_one_that_does_nothing() {
    let server = Setup::new()
        .with_limits(|limits| {
            limits.max_connections = 3;
            limits.header_timeout = Duration::from_secs(5);
        })
        .start()
        .await;
    let mut answered = server.connect().await;
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    for stream in [&mut answered, &mut half] {
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(stream).await.status, 200);
    }
    // A tenth of the head's time is what a new connection has.
    sleep(Duration::from_millis(600)).await;
    let mut fourth = server.connect().await;
    fourth.write_all(REQUEST).await.unwrap();
    assert_eq!(answer(&mut fourth).await.status, 200);
    // The one without an answer first, then the one that rests longest, though the next head has begun on it.
    assert!(ended_after(&mut silent).await < Duration::from_secs(2));
    answered.write_all(b"GET /jp").await.unwrap();
    let mut fifth = server.connect().await;
    fifth.write_all(REQUEST).await.unwrap();
    assert_eq!(answer(&mut fifth).await.status, 200);
    assert!(ended_after(&mut answered).await < Duration::from_secs(2));
    half.write_all(REQUEST).await.unwrap();
    assert_eq!(answer(&mut half).await.status, 200);
}

#[tokio::test]
async fn one_address_cannot_shut_out_another() {
    let server = Setup::new()
        .with_limits(|limits| {
            limits.max_connections = 20;
            limits.max_connections_per_address = 5;
        })
        .start()
        .await;
    let mut kept = from(&server, "127.0.0.2").await;
    kept.write_all(REQUEST).await.unwrap();
    assert_eq!(answer(&mut kept).await.status, 200);
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(from(&server, "127.0.0.3").await);
    }
    for _ in 0..3 {
        kept.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(&mut kept).await.status, 200);
        // Even a new connection from the very address finds a place.
        let mut honest = from(&server, "127.0.0.3").await;
        honest.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(&mut honest).await.status, 200);
    }
    for mut other in others.drain(..95) {
        assert!(ended_after(&mut other).await < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn the_holder_of_a_key_has_more_connections() {
    let server = Setup::new().with_limits(|limits| limits.max_connections_per_address = 2).start().await;
    let with_key = b"GET /jpp/ HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer shop-key\r\n\r\n";
    let mut shop = Vec::new();
    for _ in 0..10 {
        let mut stream = server.connect().await;
        stream.write_all(with_key).await.unwrap();
        assert_eq!(answer(&mut stream).await.status, 200);
        shop.push(stream);
    }
    for stream in &mut shop {
        stream.write_all(with_key).await.unwrap();
        assert_eq!(answer(stream).await.status, 200);
    }
    // A wrong key is none; and a connection whose last request had none counts for its address again.
    let wrong = b"GET /jpp/ HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer wrong\r\n\r\n";
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(wrong).await.unwrap();
        assert_eq!(answer(&mut stream).await.status, 200);
        shop.push(stream);
    }
    assert!(ended_after(&mut shop[10]).await < Duration::from_secs(2));
    for stream in &mut shop[..3] {
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(stream).await.status, 200);
    }
    assert!(ended_after(&mut shop[0]).await < Duration::from_secs(2));
}

/// A socket is no connection of HTTP any more: it has a limit of its own.
#[tokio::test]
async fn sockets_do_not_count_as_connections() {
    let server = Setup::new().with_limits(|limits| limits.max_connections_per_address = 2).start().await;
    let id = server.create(&super::asking(1, 1000)).await;
    let url = format!("ws://test/ws/jpp/invoice/{id}/");
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(tokio_tungstenite::client_async(&url, server.connect().await).await.unwrap().0);
    }
    assert_eq!(server.get("/jpp/").await.status, 200);
    for socket in &mut sockets {
        use futures_util::{SinkExt as _, StreamExt as _};
        use tokio_tungstenite::tungstenite::Message;
        socket.send(Message::Ping(b"there?".as_slice().into())).await.unwrap();
        let pong = timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(pong, Message::Pong(_)), "{pong:?}");
    }
}

/// Behind a trusted proxy the client that it names is limited, and nobody else's word about it counts.
#[tokio::test]
async fn limits_count_the_client_behind_a_trusted_proxy() {
    let proxies = TrustedProxies::new(&["127.0.0.1/32".parse().unwrap()]);
    let server = Setup::new()
        .with(|settings| settings.trusted_proxies = proxies)
        .with_limits(|limits| {
            limits.verify_per_minute = 1;
            limits.max_connections_per_address = 2;
        })
        .start()
        .await;
    let id = server.create(&super::asking(1, 1000)).await;
    let ask = async |from_address: &str, forwarded: &str| {
        let mut stream = from(&server, from_address).await;
        let request = format!(
            "POST /jpp/invoices/{id}/verify HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{forwarded}\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        Answer::parse(&text).status
    };
    let proxied = async |forwarded: &str| ask("127.0.0.1", forwarded).await;
    assert_eq!(proxied("X-Forwarded-For: 198.51.100.1\r\n").await, 400);
    assert_eq!(proxied("X-Forwarded-For: 198.51.100.1\r\n").await, 429);
    assert_eq!(proxied("X-Forwarded-For: 203.0.113.9, 198.51.100.1\r\n").await, 429);
    assert_eq!(proxied("Forwarded: for=198.51.100.1\r\n").await, 429);
    assert_eq!(proxied("X-Forwarded-For: 198.51.100.2\r\n").await, 400);
    // One network of 64 bits is one client.
    assert_eq!(proxied("X-Forwarded-For: 2001:db8::1\r\n").await, 400);
    assert_eq!(proxied("X-Forwarded-For: 2001:db8::2\r\n").await, 429);
    assert_eq!(proxied("X-Forwarded-For: 2001:db8:0:1::2\r\n").await, 400);
    // From elsewhere the header is nobody's word.
    assert_eq!(ask("127.0.0.2", "").await, 400);
    for number in 0..5 {
        assert_eq!(ask("127.0.0.2", &format!("X-Forwarded-For: 198.51.100.{number}\r\n")).await, 429);
    }
    // The proxy keeps as many connections as it likes.
    let mut kept = Vec::new();
    for _ in 0..20 {
        kept.push(from(&server, "127.0.0.1").await);
    }
    for (number, stream) in kept.iter_mut().enumerate() {
        let request =
            format!("GET /jpp/ HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.{number}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(answer(stream).await.status, 200);
    }
    for stream in &mut kept {
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(stream).await.status, 200);
    }
}

/// Method, path, headers, and the status of the refusal.
type Refusal<'a> = (&'a str, String, &'a [(&'a str, &'a str)], u16);

/// A client that writes its whole body before it reads gets to see why it was refused, wherever that is decided.
#[tokio::test]
async fn a_refusal_is_not_lost_behind_a_body() {
    let server = Setup::new()
        .with(|settings| settings.open_creation = false)
        .with_limits(|limits| {
            limits.pay_per_minute = 1;
            limits.create_per_minute = 1;
        })
        .start()
        .await;
    let body = vec![b' '; 3 << 20];
    let created = server
        .post_with("/jpp/invoices/", &[("Authorization", "Bearer shop-key")], &super::asking(1, 1000))
        .await
        .expect(201);
    let id = created["payment_id"].as_str().unwrap();
    let unknown = "2c442fff579b4dee995e4640c452258c";
    let [json, payment] = ["application/json", "application/payment"];
    let key = ("Authorization", "Bearer shop-key");
    let table: &[Refusal<'_>] = &[
        ("POST", format!("/i/{unknown}"), &[("Content-Type", payment)], 404),
        ("POST", format!("/i/{id}"), &[("Content-Type", "text/plain")], 400),
        ("POST", format!("/i/{id}"), &[("Content-Type", "application/payment-request")], 413),
        ("POST", format!("/jpp/invoices/{unknown}/pay"), &[("Content-Type", json)], 429),
        ("POST", format!("/jpp/invoices/{unknown}/verify"), &[("Content-Type", json)], 404),
        ("POST", format!("/jpp/invoices/{id}/verify"), &[("Content-Type", json)], 413),
        ("POST", "/jpp/invoices/zzz/verify".to_owned(), &[("Content-Type", json)], 404),
        ("POST", "/jpp/invoices/".to_owned(), &[("Content-Type", json)], 401),
        ("POST", "/jpp/invoices/".to_owned(), &[("Authorization", "Bearer wrong")], 401),
        ("POST", "/jpp/invoices/".to_owned(), &[key], 429),
        ("POST", format!("/jpp/invoices/{id}/cancel"), &[], 401),
        ("POST", format!("/jpp/invoices/{id}/assign"), &[("Authorization", "Bearer wrong")], 401),
        ("POST", "/nowhere".to_owned(), &[], 404),
        ("POST", "/jpp/".to_owned(), &[], 405),
        ("PUT", format!("/i/{id}"), &[], 405),
        ("GET", format!("/i/{unknown}"), &[], 404),
        ("POST", format!("/i/{id}"), &[("Content-Encoding", "gzip"), ("Content-Type", payment)], 415),
    ];
    for (method, path, headers, status) in table {
        let answer = server.call(method, path, headers, &body).await;
        assert_eq!(answer.status, *status, "{method} {path} {headers:?}: {answer:?}");
    }
    let preflight = [("Origin", "https://shop.example"), ("Access-Control-Request-Method", "POST")];
    assert_eq!(server.call("OPTIONS", &format!("/i/{id}"), &preflight, &body).await.status, 200);
    // The connection is good for the next request.
    let mut stream = server.connect().await;
    for _ in 0..2 {
        let head = format!(
            "POST /i/{unknown} HTTP/1.1\r\nHost: test\r\nAccept: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        assert_eq!(answer(&mut stream).await.status, 400);
    }
}

/// A client that asks before it sends its body is told no instead of being asked for it.
#[tokio::test]
async fn nothing_is_drained_that_waits_for_a_word() {
    let server = Setup::new().start().await;
    let head =
        "POST /nowhere HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n";
    let started = Instant::now();
    let text = server.send(head.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn heads_that_two_programs_read_in_two_ways() {
    let server = Setup::new().start().await;
    let table = [
        ("", "", 400),
        ("Host: a\r\nHost: b\r\n", "", 400),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", 501),
        ("Host: a\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n", "{}", 415),
        ("Host: a\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n", "", 400),
    ];
    for (headers, body, status) in table {
        let request = format!(
            "POST /jpp/invoices/ HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
        );
        let answer = Answer::parse(&server.send(request.as_bytes()).await);
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert!(answer.header("x-request-id").is_some(), "{answer:?}");
    }
    let old = Answer::parse(&server.send(b"GET /jpp/ HTTP/1.0\r\n\r\n").await);
    assert_eq!(old.status, 200);
}

#[tokio::test]
async fn creations_are_counted_by_client_and_by_key() {
    let server = Setup::new().with_limits(|limits| limits.create_per_minute = 2).start().await;
    let create = async |headers: &[(&str, &str)]| {
        server.post_with("/jpp/invoices/", headers, &super::asking(1, 1000)).await.status
    };
    for key in ["Bearer shop-key", "Bearer other-key"] {
        let key = [("Authorization", key)];
        for expected in [201, 201, 429] {
            let status = create(&key).await;
            // The second shop may not have the address of the first; it is counted all the same.
            assert!(status == expected || expected == 201 && status == 400, "{key:?}: {status}");
        }
    }
    let statuses = [create(&[]).await, create(&[]).await, create(&[]).await];
    assert!(statuses[..2].iter().all(|status| *status != 429), "{statuses:?}");
    assert_eq!(statuses[2], 429);
}

#[tokio::test]
async fn a_head_too_large() {
    let server = Setup::new().start().await;
    let long = "x".repeat(60_000);
    let text =
        server.send(format!("GET /jpp/ HTTP/1.1\r\nHost: test\r\nX-Long: {long}\r\n\r\n").as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    let text = server.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{text}");
}

#[tokio::test]
async fn the_end() {
    let server = Setup::new().start().await;
    let mut idle = server.connect().await;
    idle.write_all(REQUEST).await.unwrap();
    assert_eq!(answer(&mut idle).await.status, 200);
    // A request whose body is on its way is answered still: the server asks for it.
    let mut late = server.connect().await;
    let head = "POST /jpp/invoices/ HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
                Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    late.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; CONTINUE.len()];
    timeout(PATIENCE, late.read_exact(&mut asked)).await.unwrap().unwrap();
    assert_eq!(asked, CONTINUE);
    server.world.stop.stop();
    ended_after(&mut idle).await;
    assert!(!server.serving.is_finished());
    late.write_all(b"{}").await.unwrap();
    assert_eq!(answer(&mut late).await.status, 400);
    timeout(PATIENCE, server.serving).await.expect("it never ends").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
