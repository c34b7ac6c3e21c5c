//! Connections: their deadlines, their number, their end.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use regtest::wait::PATIENCE;

use super::{Setup, client::Answer};

/// What a server says that is ready for the body.
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
    let router = crate::api::frame::public(router, Duration::from_millis(100));
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
async fn a_connection_too_many_waits() {
    let server = Setup::new().with_limits(|limits| limits.max_connections = 2).start().await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for stream in [&mut first, &mut second] {
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(stream).await.status, 200);
    }
    let mut third = server.connect().await;
    third.write_all(REQUEST).await.unwrap();
    let mut byte = [0; 1];
    assert!(timeout(Duration::from_millis(300), third.read(&mut byte)).await.is_err(), "it was served");
    drop(first);
    timeout(Duration::from_secs(5), third.read_exact(&mut byte)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_head_too_large() {
    let server = Setup::new().start().await;
    let long = "x".repeat(60_000);
    let text = server.send(format!("GET /jpp/ HTTP/1.1\r\nX-Long: {long}\r\n\r\n").as_bytes()).await;
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
