//! The pool against servers that behave as badly as a node, a proxy, or an empty chair.

use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use regtest::wait::{PATIENCE, until, with_enough_time};
use regtest::{Port, eventually};

use super::stub::{Answer, Stub, reply};
use super::{Auth, Lane, NodeError, Reply, Request, Rpc, RpcSettings, SendOutcome};

/// The txid of what [`send`] sends, which stands for any other hash, too.
const HASH: &str = "\"705f425bfcb81942ec8db27abc2485c1322177233dac87d78445c704dccf129c\"";

struct Cookie {
    folder: tempfile::TempDir,
}

impl Cookie {
    fn new(text: &str) -> Self {
        let cookie = Self { folder: tempfile::tempdir().unwrap() };
        cookie.write(text);
        cookie
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(".cookie")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }
}

/// Calls have all the time that a slow machine may need.
fn settings(url: String, cookie: &Cookie) -> RpcSettings {
    RpcSettings { timeout: PATIENCE, ..RpcSettings::new(url, Auth::Cookie(cookie.path())) }
}

/// Gate at which a server waits until the test opens it.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn wait(&self) {
        let mut open = self.open.lock();
        while !*open {
            self.opened.wait(&mut open);
        }
    }

    fn open(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}

/// A server that answers well once the gate is open, and the gate.
fn gated() -> (Stub, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let stub = Stub::start({
        let gate = Arc::clone(&gate);
        move |seen| {
            gate.wait();
            good(&seen.body)
        }
    });
    (stub, gate)
}

/// Waits until a server has seen so many requests.
fn until_seen(stub: &Stub, count: usize) {
    until("a request", || stub.seen().len() >= count).unwrap();
}

/// Begins what a call does before it waits: it has a place in its queue then.
async fn begin<T>(mut call: Pin<&mut impl Future<Output = T>>) {
    poll_fn(|context| {
        assert!(call.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

fn pool(stub: &Stub, cookie: &Cookie) -> Rpc {
    Rpc::start(settings(stub.url(), cookie)).unwrap()
}

fn send() -> Request {
    Request::Send(Bytes::from_static(&[1]))
}

fn best_block() -> Result<Reply, NodeError> {
    Ok(Reply::BestBlock(HASH.trim_matches('"').parse().unwrap()))
}

fn good(body: &str) -> Answer {
    Answer::Http(200, reply(body, |_, _| Ok(HASH.into())))
}

#[tokio::test]
async fn a_new_cookie_is_read_after_401() {
    let cookie = Arc::new(Cookie::new("__cookie__:old"));
    let known = Arc::new(Mutex::new(String::from("X19jb29raWVfXzpvbGQ=")));
    let stub = Stub::start({
        let known = Arc::clone(&known);
        move |seen| {
            if seen.authorization.ends_with(&*known.lock()) {
                good(&seen.body)
            } else {
                Answer::Http(401, String::new())
            }
        }
    });
    let rpc = Rpc::start(RpcSettings { threads: 1, ..settings(stub.url(), &cookie) }).unwrap();
    assert_eq!(rpc.call(Lane::Follow, Request::BestBlock).await, best_block());
    // The node has restarted, and the cookie is not there yet, then it is.
    *known.lock() = "X19jb29raWVfXzpuZXc=".into();
    assert_eq!(rpc.call(Lane::Follow, Request::BestBlock).await, Err(NodeError::Unauthorized));
    let before = stub.seen().len();
    assert_eq!(rpc.call(Lane::Follow, Request::BestBlock).await, Err(NodeError::Unauthorized));
    assert_eq!(stub.seen().len(), before + 1, "the same wrong cookie is not tried twice");
    cookie.write("__cookie__:new");
    assert_eq!(rpc.call(Lane::Follow, Request::BestBlock).await, best_block());
    cookie.write("__cookie__:newer");
    *known.lock() = "X19jb29raWVfXzpuZXdlcg==".into();
    assert_eq!(
        rpc.call(Lane::Submission, Request::BestBlock).await,
        best_block(),
        "in one call, after one 401"
    );
    rpc.stop().await;
}

#[tokio::test]
async fn a_refused_connection_had_no_effect() {
    let cookie = Cookie::new("a:b");
    let nobody = Port::reserve().unwrap();
    let rpc = Rpc::start(settings(format!("http://{}", nobody.address()), &cookie)).unwrap();
    let error = rpc.call(Lane::Submission, send()).await.unwrap_err();
    assert_eq!((&error, error.effect_possible()), (&NodeError::Unreachable, false));
    let stub = Stub::start_at(&nobody.address().to_string(), |seen| good(&seen.body));
    assert_eq!(rpc.call(Lane::Submission, send()).await, Ok(Reply::Sent(SendOutcome::Accepted)));
    drop(stub);
}

#[tokio::test]
async fn a_busy_node_is_asked_again_and_then_no_more() {
    let cookie = Cookie::new("a:b");
    let refusals = Arc::new(AtomicUsize::new(2));
    let stub = Stub::start({
        let refusals = Arc::clone(&refusals);
        move |seen| {
            let refuse =
                refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            if refuse { Answer::Http(500, "Work queue depth exceeded".into()) } else { good(&seen.body) }
        }
    });
    let rpc = pool(&stub, &cookie);
    assert_eq!(rpc.call(Lane::Submission, send()).await, Ok(Reply::Sent(SendOutcome::Accepted)));
    assert_eq!(stub.seen().len(), 3);
    refusals.store(100, Ordering::SeqCst);
    let error = rpc.call(Lane::Submission, send()).await.unwrap_err();
    assert_eq!((&error, error.effect_possible()), (&NodeError::Busy, false));
    assert_eq!(stub.seen().len(), 7, "one call and three more");
}

#[tokio::test]
async fn states_of_the_node_are_told_apart() {
    let cookie = Cookie::new("a:b");
    let error = |code: i32| format!(r#"{{"result":null,"error":{{"code":{code},"message":"m"}},"id":1}}"#);
    let table = [
        (500, error(-28), NodeError::WarmingUp),
        (500, error(-100), NodeError::Expired),
        (404, error(-32601), NodeError::Rpc { code: -32601, message: "m".into() }),
        (503, "<HTML><HEAD>\n<TITLE>503 Service Unavailable".into(), NodeError::Busy),
        (200, "[]".into(), NodeError::Malformed),
        (200, String::new(), NodeError::Malformed),
        (200, "{\"result\":".into(), NodeError::Malformed),
        (404, String::new(), NodeError::Malformed),
    ];
    for (status, body, expected) in table {
        let answer = body.clone();
        let stub = Stub::start(move |_| Answer::Http(status, answer.clone()));
        assert_eq!(
            pool(&stub, &cookie).call(Lane::Submission, Request::BestBlock).await,
            Err(expected),
            "{status} {body}"
        );
    }
}

#[tokio::test]
async fn a_node_that_hangs_is_a_timeout_and_the_request_is_written_once() {
    let cookie = Cookie::new("a:b");
    // The server hangs for longer than the test lasts, so that only the time-out ends a call.
    let stub = Stub::start(|_| Answer::Hang(100 * PATIENCE));
    for (number, request) in [send(), Request::BestBlock].into_iter().enumerate() {
        let (stub, cookie, request) = (&stub, &cookie, &request);
        with_enough_time(Duration::from_millis(400), async |timeout| {
            let rpc = Rpc::start(RpcSettings { timeout, ..settings(stub.url(), cookie) }).unwrap();
            let started = Instant::now();
            let error = rpc.call(Lane::Submission, request.clone()).await.unwrap_err();
            assert!(started.elapsed() >= timeout);
            // A machine that was too slow to write the request within the time has had no effect.
            Ok((error.effect_possible()).then(|| assert_eq!(error, NodeError::Timeout)))
        })
        .await
        .unwrap();
        until_seen(stub, number + 1);
    }
    assert_eq!(stub.seen().len(), 2);
}

#[tokio::test]
async fn a_connection_cut_after_the_request_leaves_a_broadcast_in_doubt() {
    let cookie = Cookie::new("a:b");
    let cuts: [&[u8]; 4] = [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
    ];
    for cut in cuts {
        let stub = Stub::start(move |_| Answer::Raw(cut));
        let error = pool(&stub, &cookie).call(Lane::Submission, send()).await.unwrap_err();
        assert_eq!((&error, error.effect_possible()), (&NodeError::NoAnswer, true), "{cut:?}");
        assert_eq!(stub.seen().len(), 1, "{cut:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    let cookie = Cookie::new("a:b");
    let nonsense: [&[u8]; 3] = [
        b"220 mail.example.org ESMTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\r\n\r\n",
    ];
    for bytes in nonsense {
        let stub = Stub::start(move |_| Answer::Raw(bytes));
        assert_eq!(
            pool(&stub, &cookie).call(Lane::Follow, Request::BestBlock).await,
            Err(NodeError::Malformed)
        );
    }
    let stub = Stub::start(|_| Answer::Http(200, "x".repeat(1 << 16)));
    let small = RpcSettings { reply_limit: 1 << 12, ..settings(stub.url(), &cookie) };
    let rpc = Rpc::start(small).unwrap();
    assert_eq!(rpc.call(Lane::Follow, Request::BestBlock).await, Err(NodeError::Malformed));
}

#[tokio::test]
async fn one_connection_serves_many_calls_and_its_end_costs_a_read_nothing() {
    let cookie = Cookie::new("a:b");
    // On the first connection the third request is cut off without a word.
    let stub = Stub::start({
        let served = AtomicUsize::new(0);
        move |seen| {
            if served.fetch_add(1, Ordering::SeqCst) == 2 { Answer::Raw(b"") } else { good(&seen.body) }
        }
    });
    let rpc = Rpc::start(RpcSettings { threads: 1, ..settings(stub.url(), &cookie) }).unwrap();
    for _ in 0..4 {
        assert_eq!(rpc.call(Lane::Follow, Request::BestBlock).await, best_block());
    }
    let connections: Vec<_> = stub.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1, 1]);
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_a_broadcast_nothing() {
    let cookie = Cookie::new("a:b");
    let body = format!(r#"{{"result":{HASH},"error":null,"id":1}}"#);
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let whole: &'static str = whole.leak();
    let stub = Stub::start(move |_| Answer::Raw(whole.as_bytes()));
    let rpc = Rpc::start(RpcSettings { threads: 1, ..settings(stub.url(), &cookie) }).unwrap();
    for number in 1..=3 {
        assert_eq!(rpc.call(Lane::Submission, send()).await, Ok(Reply::Sent(SendOutcome::Accepted)));
        until("the end of the connection", || stub.ended() == number).unwrap();
    }
    assert_eq!(stub.seen().len(), 3);
}

#[tokio::test]
async fn following_never_holds_more_than_half_of_the_pool() {
    let cookie = Cookie::new("a:b");
    let (running, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Gate::default());
    let stub = Stub::start({
        let (most, gate) = (Arc::clone(&most), Arc::clone(&gate));
        move |seen| {
            if seen.body.contains("sendraw") {
                return good(&seen.body);
            }
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            good(&seen.body)
        }
    });
    let rpc = pool(&stub, &cookie);
    let follows: Vec<_> = (0..8)
        .map(|_| {
            let rpc = rpc.clone();
            tokio::spawn(async move { rpc.call(Lane::Follow, Request::BestBlock).await })
        })
        .collect();
    eventually(|| "two calls to follow", async || Ok((stub.seen().len() == 2).then_some(()))).await.unwrap();
    // The node answers none of them before the submission is through.
    assert_eq!(rpc.call(Lane::Submission, send()).await, Ok(Reply::Sent(SendOutcome::Accepted)));
    gate.open();
    for follow in follows {
        assert_eq!(follow.await.unwrap(), best_block());
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_broadcast_happens_although_nobody_waits_and_a_read_does_not() {
    let cookie = Cookie::new("a:b");
    let (stub, gate) = gated();
    let rpc = Rpc::start(RpcSettings { threads: 1, ..settings(stub.url(), &cookie) }).unwrap();
    {
        let mut first = pin!(rpc.call(Lane::Submission, Request::BestBlock));
        begin(first.as_mut()).await;
        until_seen(&stub, 1);
    }
    // These are dropped in their queue.
    for request in [send(), Request::NetworkInfo] {
        begin(pin!(rpc.call(Lane::Submission, request))).await;
    }
    gate.open();
    // Once this call is answered, the calls that were queued before it are done or withdrawn.
    let Reply::BlockHashAt(_) = rpc.call(Lane::Submission, Request::BlockHashAt(1)).await.unwrap() else {
        panic!("another reply")
    };
    let bodies: Vec<_> = stub.seen().into_iter().map(|seen| seen.body).collect();
    let wanted = ["getbestblockhash", "sendrawtransaction", "getblockhash"];
    assert_eq!(bodies.len(), wanted.len(), "{bodies:?}");
    assert!(bodies.iter().zip(wanted).all(|(body, method)| body.contains(method)), "{bodies:?}");
}

#[tokio::test]
async fn a_stopped_pool_ends_its_calls_and_takes_no_more() {
    let cookie = Cookie::new("a:b");
    let (stub, gate) = gated();
    let rpc = Rpc::start(RpcSettings { threads: 1, ..settings(stub.url(), &cookie) }).unwrap();
    let mut running = pin!(rpc.call(Lane::Submission, send()));
    begin(running.as_mut()).await;
    until_seen(&stub, 1);
    let mut queued = pin!(rpc.call(Lane::Submission, send()));
    begin(queued.as_mut()).await;
    let mut stop = pin!(rpc.stop());
    begin(stop.as_mut()).await;
    gate.open();
    stop.await;
    assert_eq!(running.await, Ok(Reply::Sent(SendOutcome::Accepted)), "what runs comes to its end");
    assert_eq!(queued.await, Err(NodeError::Unreachable), "what waits has had no effect");
    assert_eq!(rpc.call(Lane::Follow, Request::BestBlock).await, Err(NodeError::Unreachable));
    assert_eq!(stub.seen().len(), 1);
}
