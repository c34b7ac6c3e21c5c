//! The receiving thread against a real publisher of libzmq.

use std::time::Duration;

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
async fn pair(capacity: usize) -> (Publisher, Subscriber, mpsc::Receiver<Signal>) {
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

async fn next(signals: &mut mpsc::Receiver<Signal>) -> Signal {
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
