//! Health checks against real listeners, well-behaved and not.

mod net_wait;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lb_userspace::signal::health::{CheckConfig, CheckId, CheckKind, Health, HealthState, spawn};
use net_wait::wait_for;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(5);
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

type States = watch::Receiver<BTreeMap<CheckId, Health>>;
type Checks = watch::Sender<BTreeMap<CheckId, CheckConfig>>;

/// What a listener does with each connection.
#[derive(Clone, Copy)]
enum Manner {
    /// Answers with these bytes and closes.
    Says(&'static [u8]),
    /// Answers with these bytes and leaves the connection open.
    Hangs(&'static [u8]),
    /// Sends these bytes, then one more every 20 ms.
    Drips(&'static [u8]),
    /// Sends these bytes, then the letter `a` as fast as it goes.
    Floods(&'static [u8]),
}

/// A listener in its manner; it ends with the runtime or when aborted.
async fn listen(at: &str, manner: Manner) -> (SocketAddr, JoinHandle<()>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(at).await.expect("bind");
    let address = listener.local_addr().expect("address");
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            connections.spawn(serve(stream, manner));
        }
    });
    (address, task, count)
}

async fn serve(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await?;
    match manner {
        Manner::Says(bytes) => stream.write_all(bytes).await,
        Manner::Hangs(bytes) => {
            stream.write_all(bytes).await?;
            std::future::pending().await
        }
        Manner::Drips(bytes) => {
            stream.write_all(bytes).await?;
            loop {
                stream.write_all(b"a").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Manner::Floods(bytes) => {
            stream.write_all(bytes).await?;
            loop {
                stream.write_all(&[b'a'; 4096]).await?;
            }
        }
    }
}

fn id(target: SocketAddr) -> CheckId {
    CheckId { service: "tcp://192.0.2.1:80".into(), real: target }
}

fn http() -> CheckKind {
    CheckKind::Http { path: "/".into(), host: None, status: vec![200..=299] }
}

fn config(target: SocketAddr, kind: CheckKind) -> CheckConfig {
    let interval = Duration::from_millis(50);
    CheckConfig { target, kind, interval, timeout: Duration::from_millis(300), rise: 2, fall: 2 }
}

fn start(target: SocketAddr, kind: CheckKind) -> (Checks, States) {
    let (sender, receiver) = watch::channel(BTreeMap::from([(id(target), config(target, kind))]));
    (sender, spawn(receiver))
}

async fn reaches(states: &mut States, target: SocketAddr, state: HealthState) -> Health {
    let what = format!("{state:?}");
    let found =
        wait_for(&what, LIMIT, states, |map| map.get(&id(target)).filter(|health| health.state == state).cloned());
    found.await.0
}

/// Checks a listener over HTTP until a verdict is there.
async fn verdict(manner: Manner) -> Health {
    let (target, _task, _) = listen("127.0.0.1:0", manner).await;
    let (_checks, mut states) = start(target, http());
    let found = wait_for("a verdict", LIMIT, &mut states, |map| {
        map.get(&id(target)).filter(|health| health.state != HealthState::Unknown).cloned()
    });
    found.await.0
}

#[tokio::test]
async fn a_listener_goes_up_down_and_up_again() {
    for kind in [CheckKind::Tcp, http()] {
        let (target, task, _) = listen("127.0.0.1:0", Manner::Says(GOOD)).await;
        let (_checks, mut states) = start(target, kind);
        let up = reaches(&mut states, target, HealthState::Up).await;
        assert_eq!(up.last_error, None);
        task.abort();
        let down = reaches(&mut states, target, HealthState::Down).await;
        let error = down.last_error.expect("an error");
        assert!(error.contains("refused") || error.contains("reset"), "{error}");
        assert!(down.since >= up.since && down.checks > up.checks);
        let _again = listen(&target.to_string(), Manner::Says(GOOD)).await;
        assert_eq!(reaches(&mut states, target, HealthState::Up).await.last_error, None);
    }
}

#[tokio::test]
async fn a_listener_that_never_answers_is_up_for_tcp_and_down_for_http() {
    let (target, _task, _) = listen("127.0.0.1:0", Manner::Hangs(b"")).await;
    let (_checks, mut states) = start(target, CheckKind::Tcp);
    reaches(&mut states, target, HealthState::Up).await;
    let down = verdict(Manner::Hangs(b"")).await;
    assert_eq!(down.state, HealthState::Down);
    assert_eq!(down.last_error.as_deref(), Some("no complete answer within 300 ms"));
}

#[tokio::test]
async fn a_slow_drip_runs_into_the_timeout_of_the_whole_check() {
    let in_header = Manner::Drips(b"HTTP/1.1 200 OK\r\nX-Slow: ");
    let in_body = Manner::Drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    for manner in [in_header, in_body, Manner::Hangs(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok")] {
        let down = verdict(manner).await;
        assert_eq!(down.last_error.as_deref(), Some("no complete answer within 300 ms"));
        assert_eq!(down.state, HealthState::Down);
    }
}

#[tokio::test]
async fn garbage_is_named() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x16\x03\x01\x00\xff\xfe\x00\x00",
        b"HTTP/1.1 9999 What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut short",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"",
    ] {
        let down = verdict(Manner::Says(garbage)).await;
        let error = down.last_error.expect("an error");
        assert!(error.starts_with("not a valid HTTP response: "), "{garbage:?}: {error}");
        assert_eq!(down.state, HealthState::Down);
    }
}

#[tokio::test]
async fn floods_are_bounded() {
    let header = verdict(Manner::Floods(b"HTTP/1.1 200 OK\r\nX-Long: ")).await;
    assert_eq!(header.state, HealthState::Down);
    let error = header.last_error.expect("an error");
    assert!(error.starts_with("not a valid HTTP response: "), "{error}");
    // The part of an endless body that is read is enough for the verdict.
    assert_eq!(verdict(Manner::Floods(b"HTTP/1.1 200 OK\r\n\r\n")).await.state, HealthState::Up);
}

#[tokio::test]
async fn the_status_decides() {
    let down = verdict(Manner::Says(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(down.last_error.as_deref(), Some("HTTP status 503, wanted 200-299"));
    assert_eq!(verdict(Manner::Says(b"HTTP/1.0 204 None\r\n\r\n")).await.state, HealthState::Up);
    assert_eq!(
        verdict(Manner::Says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")).await.state,
        HealthState::Up
    );
}

#[tokio::test]
async fn a_changed_check_restarts_alone_and_keeps_its_state() {
    let (one, _task, _) = listen("127.0.0.1:0", Manner::Says(GOOD)).await;
    let (two, _other_task, _) = listen("127.0.0.1:0", Manner::Says(GOOD)).await;
    let (checks, mut states) = start(one, http());
    checks.send_modify(|map| {
        map.insert(id(two), config(two, http()));
    });
    let first = reaches(&mut states, one, HealthState::Up).await;
    let second = reaches(&mut states, two, HealthState::Up).await;
    checks.send_modify(|map| {
        if let Some(check) = map.get_mut(&id(one)) {
            check.kind = CheckKind::Http { path: "/".into(), host: None, status: vec![500..=599] };
        }
    });
    // Still up until the new check has failed often enough.
    let kept = wait_for("the first bad answer", LIMIT, &mut states, |map| {
        map.get(&id(one)).filter(|health| health.last_error.is_some()).cloned()
    });
    assert_eq!((kept.await.0.state, first.state), (HealthState::Up, HealthState::Up));
    reaches(&mut states, one, HealthState::Down).await;
    assert_eq!(states.borrow()[&id(two)].since, second.since);
}

#[tokio::test]
async fn a_removed_check_stops_and_is_forgotten() {
    let (target, _task, count) = listen("127.0.0.1:0", Manner::Says(GOOD)).await;
    let (checks, mut states) = start(target, CheckKind::Tcp);
    reaches(&mut states, target, HealthState::Up).await;
    checks.send_replace(BTreeMap::new());
    wait_for("forgotten", LIMIT, &mut states, |map| map.is_empty().then_some(())).await;
    let seen = count.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(count.load(Ordering::Relaxed) <= seen + 1, "checks go on");
    assert!(states.borrow().is_empty());
}

#[tokio::test]
async fn the_first_check_starts_at_once_whatever_the_interval() {
    let (target, _task, _) = listen("127.0.0.1:0", Manner::Says(GOOD)).await;
    let mut slow = config(target, http());
    let slow_interval = Duration::from_secs(3600);
    slow.interval = slow_interval;
    let (_checks, receiver) = watch::channel(BTreeMap::from([(id(target), slow)]));
    let mut states = spawn(receiver);
    let begin = Instant::now();
    reaches(&mut states, target, HealthState::Up).await;
    assert!(begin.elapsed() < slow_interval / 2, "it waited for its interval");
}

#[tokio::test]
async fn at_most_256_checks_are_under_way() {
    let (target, _task, count) = listen("127.0.0.1:0", Manner::Hangs(b"")).await;
    let checks = (0..400_u16).map(|number| {
        let mut check = config(target, http());
        check.timeout = Duration::from_secs(30);
        let real = SocketAddr::new(target.ip(), number);
        (CheckId { service: "tcp://192.0.2.1:80".into(), real }, check)
    });
    let (_checks, receiver) = watch::channel(checks.collect());
    let _states = spawn(receiver);
    // As long as it takes on a busy machine to fill the limit, and then a while in which nothing may go beyond it.
    let begin = Instant::now();
    while count.load(Ordering::Relaxed) < 256 && begin.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(count.load(Ordering::Relaxed), 256);
}

#[tokio::test]
async fn the_tasks_end_with_the_last_receiver() {
    let (target, _task, _) = listen("127.0.0.1:0", Manner::Says(GOOD)).await;
    let (checks, mut states) = start(target, http());
    reaches(&mut states, target, HealthState::Up).await;
    drop(states);
    tokio::time::timeout(LIMIT, checks.closed()).await.expect("the tasks end");
}
