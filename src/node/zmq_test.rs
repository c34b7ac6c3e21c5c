//! The receiving thread against a real publisher of libzmq.

use metrics_exporter_prometheus::PrometheusBuilder;
use regtest::wait::{eventually_blocking, until};

use super::*;

const PATIENCE: Duration = regtest::wait::PATIENCE;

/// A publisher as the node has one, but that it hears of subscriptions.
struct Publisher {
    socket: Socket,
    address: String,
}

impl Publisher {
    fn new(context: &Context, place: &str) -> Self {
        let publisher = Self::try_new(context, place).unwrap();
        publisher.socket.set_sndhwm(0).unwrap();
        publisher
    }

    fn try_new(context: &Context, place: &str) -> ::zmq::Result<Self> {
        let socket = context.socket(SocketType::XPUB)?;
        socket.set_linger(0)?;
        socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap())?;
        socket.bind(place)?;
        let address = socket.get_last_endpoint()?.unwrap();
        Ok(Self { socket, address })
    }

    /// Waits for subscriptions to these topics: what is published from now on is received.
    fn subscribed(&self, topics: &[&str]) {
        let mut missing: Vec<Vec<u8>> =
            topics.iter().map(|topic| [&[1], topic.as_bytes()].concat()).collect();
        while !missing.is_empty() {
            let message = self.socket.recv_bytes(0).expect("a subscription in time");
            missing.retain(|one| *one != message);
        }
    }

    fn send(&self, topic: &str, body: &[u8], number: u32) {
        self.raw(&[topic.as_bytes(), body, &number.to_le_bytes()]);
    }

    fn raw(&self, parts: &[&[u8]]) {
        self.socket.send_multipart(parts, 0).unwrap();
    }
}

/// A publisher of everything, and a subscriber whose topics are connected and subscribed.
async fn pair(capacity: usize) -> (Publisher, Subscriber, Signals) {
    let publisher = Publisher::new(&Context::new(), "tcp://127.0.0.1:*");
    let address = Some(publisher.address.clone());
    let settings =
        ZmqSettings { rawtx: address.clone(), hashblock: address.clone(), hashds: address, capacity };
    let (subscriber, mut signals) = Subscriber::start(&settings).unwrap();
    let mut connected = Vec::new();
    while connected.len() < 3 {
        let Signal::Connected(topic) = next(&mut signals).await else { panic!("not a connection") };
        connected.push(topic);
    }
    connected.sort_unstable();
    assert_eq!(connected, [Topic::RawTx, Topic::HashBlock, Topic::HashDs]);
    publisher.subscribed(&["rawtx", "hashblock", "hashds"]);
    (publisher, subscriber, signals)
}

async fn next(signals: &mut Signals) -> Signal {
    tokio::time::timeout(PATIENCE, signals.recv()).await.expect("in time").expect("a signal")
}

fn transaction(raw: &'static [u8]) -> Signal {
    Signal::Transaction { raw: Bytes::from_static(raw) }
}

#[tokio::test]
async fn each_topic_is_its_signal_and_hashes_are_turned() {
    let (publisher, subscriber, mut signals) = pair(100).await;
    let displayed: Vec<u8> = (0..32).collect();
    let text = hex::encode(&displayed);
    publisher.send("rawtx", b"tx", 7);
    assert_eq!(next(&mut signals).await, transaction(b"tx"));
    publisher.send("hashblock", &displayed, 0);
    assert_eq!(next(&mut signals).await, Signal::Block(text.parse().unwrap()));
    publisher.send("hashds", &displayed, 99);
    assert_eq!(next(&mut signals).await, Signal::DoubleSpend(text.parse().unwrap()));
    subscriber.stop();
    assert_eq!(signals.recv().await, None);
}

#[tokio::test]
async fn missing_numbers_are_a_gap_and_so_is_a_restart() {
    let (publisher, _subscriber, mut signals) = pair(100).await;
    let gap = |expected, got| Signal::Gap { topic: Topic::RawTx, expected, got };
    for number in [u32::MAX - 1, u32::MAX, 0, 1, 5, 6, 0, 1, 1] {
        publisher.send("rawtx", b"tx", number);
    }
    let mut gaps = Vec::new();
    for _ in 0..12 {
        let signal = next(&mut signals).await;
        if signal != transaction(b"tx") {
            gaps.push(signal);
        }
    }
    assert_eq!(gaps, [gap(2, 5), gap(7, 0), gap(2, 1)]);
}

#[tokio::test]
async fn bad_messages_are_passed_over() {
    let (publisher, _subscriber, mut signals) = pair(100).await;
    publisher.send("rawtx", b"first", 0);
    let bad: [&[&[u8]]; 8] = [
        &[b"rawtx"],
        &[b"rawtx", b"body"],
        &[b"rawtx", b"body", &[1, 0, 0, 0], b"more"],
        &[b"rawtx", b"body", &[1, 0, 0]],
        &[b"rawtx", b"", &[1, 0, 0, 0]],
        &[b"rawtxs", b"body", &[1, 0, 0, 0]],
        &[b"hashblock", &[0; 31], &[1, 0, 0, 0]],
        &[b"hashds", &[0; 33], &[1, 0, 0, 0]],
    ];
    for parts in bad {
        publisher.raw(parts);
    }
    publisher.send("rawtx", b"last", 1);
    assert_eq!(next(&mut signals).await, transaction(b"first"));
    assert_eq!(next(&mut signals).await, transaction(b"last"));
}

#[tokio::test]
async fn a_full_channel_drops_counts_and_tells_before_anything_later() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let (publisher, _subscriber, mut signals) = pair(3).await;
    for number in 0..10 {
        publisher.send("rawtx", b"early", number);
    }
    let dropped = || recorder.handle().render().contains("jppd_node_zmq_dropped_total 7\n");
    until("all that is too much is dropped", dropped).unwrap();
    for _ in 0..3 {
        assert_eq!(next(&mut signals).await, transaction(b"early"));
    }
    assert_eq!(next(&mut signals).await, Signal::Overflow { dropped: 7 }, "without another message");
    publisher.send("rawtx", b"late", 10);
    assert_eq!(next(&mut signals).await, transaction(b"late"));
}

#[tokio::test]
async fn a_publisher_that_goes_and_comes_is_seen() {
    let context = Context::new();
    let publisher = Publisher::new(&context, "tcp://127.0.0.1:*");
    let address = publisher.address.clone();
    let settings = ZmqSettings { rawtx: Some(address.clone()), capacity: 100, ..ZmqSettings::default() };
    let (_subscriber, mut signals) = Subscriber::start(&settings).unwrap();
    assert_eq!(next(&mut signals).await, Signal::Connected(Topic::RawTx));
    publisher.subscribed(&["rawtx"]);
    publisher.send("rawtx", b"one", 41);
    assert_eq!(next(&mut signals).await, transaction(b"one"));
    drop(publisher);
    assert_eq!(next(&mut signals).await, Signal::Disconnected(Topic::RawTx));
    // The address is free again a moment after the socket was closed.
    let publisher =
        eventually_blocking("the address", || Ok(Publisher::try_new(&context, &address).ok())).unwrap();
    assert_eq!(next(&mut signals).await, Signal::Connected(Topic::RawTx));
    publisher.subscribed(&["rawtx"]);
    publisher.send("rawtx", b"two", 0);
    assert_eq!(next(&mut signals).await, Signal::Gap { topic: Topic::RawTx, expected: 42, got: 0 });
    assert_eq!(next(&mut signals).await, transaction(b"two"));
}

#[tokio::test]
async fn an_address_that_is_none_is_told_at_the_start() {
    for address in ["127.0.0.1:28332", "tcp://", "tcp://127.0.0.1", "http://127.0.0.1:1", "tcp://a\0b:1", ""]
    {
        let settings = ZmqSettings { hashds: Some(address.into()), capacity: 1, ..ZmqSettings::default() };
        let error = Subscriber::start(&settings).unwrap_err();
        assert!(matches!(error, StartError::Endpoint { topic: Topic::HashDs, .. }), "{address}: {error}");
    }
}

#[tokio::test]
async fn nothing_to_receive_is_no_error_and_a_reader_who_left_is_none_either() {
    let (subscriber, mut signals) = Subscriber::start(&ZmqSettings::default()).unwrap();
    subscriber.stop();
    assert_eq!(signals.recv().await, None);
    let (publisher, subscriber, signals) = pair(4).await;
    drop(signals);
    for number in 0..10 {
        publisher.send("rawtx", b"tx", number);
    }
    subscriber.stop();
}

#[test]
fn the_family_of_an_endpoint() {
    let table = [
        ("tcp://127.0.0.1:28335", Family::V4),
        ("tcp://[::1]:28335", Family::V6),
        ("tcp://[fe80::1%eth0]:28335", Family::V6),
        ("tcp://::1:28335", Family::V6),
        ("tcp://node.example:28335", Family::Either),
        ("tcp://localhost:28335", Family::Either),
        ("ipc:///run/node/zmq", Family::V4),
    ];
    for (endpoint, family) in table {
        assert_eq!(Family::of(endpoint), family, "{endpoint}");
    }
}

/// A publisher that listens on IPv6 alone is heard at its address, and by a name that has an address of either family.
#[tokio::test]
async fn a_publisher_on_ipv6_is_heard() {
    let context = Context::new();
    for by_name in [false, true] {
        let socket = context.socket(SocketType::XPUB).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
        socket.set_ipv6(true).unwrap();
        if socket.bind("tcp://[::1]:*").is_err() {
            eprintln!("skipped: a_publisher_on_ipv6_is_heard: this machine has no IPv6");
            return;
        }
        if by_name && !localhost_is_ipv6() {
            eprintln!("skipped: a_publisher_on_ipv6_is_heard by a name: localhost is not ::1 here");
            return;
        }
        let address = socket.get_last_endpoint().unwrap().unwrap();
        let port = address.rsplit(':').next().unwrap();
        let endpoint = if by_name { format!("tcp://localhost:{port}") } else { address.clone() };
        let publisher = Publisher { socket, address };
        let settings = ZmqSettings { rawtx: Some(endpoint), capacity: 100, ..ZmqSettings::default() };
        let (subscriber, mut signals) = Subscriber::start(&settings).unwrap();
        assert_eq!(next(&mut signals).await, Signal::Connected(Topic::RawTx));
        assert!(!subscriber.connections().is_missing(Topic::RawTx, Instant::now() + LONGEST_SILENCE));
        publisher.subscribed(&["rawtx"]);
        publisher.send("rawtx", b"tx", 1);
        assert_eq!(next(&mut signals).await, transaction(b"tx"));
    }
}

fn localhost_is_ipv6() -> bool {
    use std::net::ToSocketAddrs as _;
    ("localhost", 1).to_socket_addrs().is_ok_and(|mut addresses| addresses.any(|address| address.is_ipv6()))
}

#[tokio::test]
async fn a_topic_without_a_connection_is_missed_after_half_a_minute() {
    let publisher = Publisher::new(&Context::new(), "tcp://127.0.0.1:*");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = ZmqSettings {
        rawtx: Some(publisher.address.clone()),
        hashblock: Some(format!("tcp://{nobody}")),
        hashds: None,
        capacity: 100,
    };
    let (subscriber, mut signals) = Subscriber::start(&settings).unwrap();
    let (connections, started) = (subscriber.connections(), Instant::now());
    assert_eq!(next(&mut signals).await, Signal::Connected(Topic::RawTx));
    let at = |seconds| started + Duration::from_secs(seconds);
    for topic in [Topic::RawTx, Topic::HashBlock, Topic::HashDs] {
        assert!(!connections.is_missing(topic, at(29)), "{topic}: it has half a minute");
        assert_eq!(connections.is_missing(topic, at(31)), topic == Topic::HashBlock, "{topic}");
    }
    // And a connection that was lost.
    drop(publisher);
    assert_eq!(next(&mut signals).await, Signal::Disconnected(Topic::RawTx));
    let lost = Instant::now();
    assert!(!connections.is_missing(Topic::RawTx, lost + Duration::from_secs(29)));
    assert!(connections.is_missing(Topic::RawTx, lost + Duration::from_secs(30)));
}

/// A false publisher sends transactions of 1,000,000 bytes, and the test reads none until the queue is full.
#[tokio::test]
async fn what_waits_is_bounded_in_bytes() {
    const FRAME: usize = 1_000_000;
    let publisher = Publisher::new(&Context::new(), "tcp://127.0.0.1:*");
    let settings =
        ZmqSettings { rawtx: Some(publisher.address.clone()), capacity: 100_000, ..ZmqSettings::default() };
    let (_subscriber, mut signals) = Subscriber::start(&settings).unwrap();
    assert_eq!(next(&mut signals).await, Signal::Connected(Topic::RawTx));
    publisher.subscribed(&["rawtx"]);
    let frame = vec![1; FRAME];
    for number in 0..100 {
        publisher.send("rawtx", &frame, number);
    }
    // The thread has taken all of them once it has dropped what there was no room for.
    let fits = MOST_BYTES / FRAME;
    let held = signals.held.clone();
    let full = async {
        while held.load(Ordering::Relaxed) < fits * FRAME {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("in time");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(held.load(Ordering::Relaxed), fits * FRAME, "and no more than that");
    for _ in 0..fits {
        assert!(matches!(next(&mut signals).await, Signal::Transaction { .. }));
    }
    assert_eq!(next(&mut signals).await, Signal::Overflow { dropped: 100 - fits as u64 });
    assert_eq!(held.load(Ordering::Relaxed), 0);
    // There is room again.
    publisher.send("rawtx", b"tx", 100);
    assert_eq!(next(&mut signals).await, transaction(b"tx"));
}

/// A frame that no transaction can have ends the connection, after which libzmq never tries again. The topic comes back all
/// the same.
#[tokio::test]
async fn a_topic_comes_back_after_a_frame_that_is_too_large() {
    let (publisher, _subscriber, mut signals) = pair(100).await;
    publisher.send("rawtx", &vec![1; 15_000_000], 7);
    assert_eq!(next(&mut signals).await, Signal::Disconnected(Topic::RawTx));
    assert_eq!(next(&mut signals).await, Signal::Connected(Topic::RawTx));
    // The publisher holds the subscription of the old connection for a while, and does not tell of the new one.
    let heard = async {
        for number in 8.. {
            publisher.send("rawtx", b"tx", number);
            let signal = tokio::time::timeout(Duration::from_millis(50), signals.recv()).await;
            if let Ok(signal) = signal {
                return signal;
            }
        }
        None
    };
    let heard = tokio::time::timeout(PATIENCE, heard).await.expect("in time");
    assert_eq!(heard, Some(transaction(b"tx")));
}
