//! Small servers on the reals that answer with the real's name, where nginx does not serve: UDP, other ports, checks by script.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::stage::Stage;

/// How often a server looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// A server in a real's namespace; ends when dropped, before the namespace does.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each datagram with the real's name.
    pub(crate) fn udp(stage: &Stage, real: &str, at: SocketAddr) -> Self {
        let name = real.to_owned();
        Self::answer(stage, real, at, move |_| name.clone().into_bytes())
    }

    /// Answers each datagram with itself.
    pub(crate) fn mirror(stage: &Stage, real: &str, at: SocketAddr) -> Self {
        Self::answer(stage, real, at, <[u8]>::to_vec)
    }

    /// Bound to the address it is asked at: the answer's source has to be the VIP.
    fn answer(stage: &Stage, real: &str, at: SocketAddr, reply: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        let socket = enter(stage, real, || UdpSocket::bind(at));
        socket.set_read_timeout(Some(LOOK)).unwrap();
        Self::start(move |stop, answered| {
            let mut datagram = [0; 2048];
            while !stop.load(Ordering::SeqCst) {
                if let Ok((length, from)) = socket.recv_from(&mut datagram) {
                    // Counted first: whoever has the answer may look at the count before this thread runs again.
                    answered.fetch_add(1, Ordering::SeqCst);
                    if socket.send_to(&reply(&datagram[..length]), from).is_err() {
                        answered.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            }
        })
    }

    /// Answers each datagram with itself.
    pub(crate) fn udp_echo(stage: &Stage, real: &str, at: SocketAddr) -> Self {
        let socket = enter(stage, real, || UdpSocket::bind(at));
        socket.set_read_timeout(Some(LOOK)).unwrap();
        Self::start(move |stop, answered| {
            let mut datagram = vec![0; 1 << 16];
            while !stop.load(Ordering::SeqCst) {
                if let Ok((length, from)) = socket.recv_from(&mut datagram)
                    && socket.send_to(&datagram[..length], from).is_ok()
                {
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    }

    /// Sends the real's name to each TCP connection and closes it.
    pub(crate) fn tcp(stage: &Stage, real: &str, at: SocketAddr) -> Self {
        let name = real.to_owned();
        Self::accept(stage, real, at, move |mut stream| stream.write_all(name.as_bytes()).is_ok())
    }

    /// Answers HTTP checks with the statuses of a script.
    pub(crate) fn http(stage: &Stage, real: &str, at: SocketAddr, script: &Script) -> Self {
        let script = script.clone();
        Self::accept(stage, real, at, move |mut stream| {
            let mut request = [0; 4096];
            let status = script.next();
            stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
                && stream.read(&mut request).is_ok_and(|read| read > 0)
                && write!(stream, "HTTP/1.1 {status} Script\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").is_ok()
        })
    }

    /// How many it has answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    fn accept(stage: &Stage, real: &str, at: SocketAddr, serve: impl Fn(TcpStream) -> bool + Send + 'static) -> Self {
        let listener = enter(stage, real, || TcpListener::bind(at));
        listener.set_nonblocking(true).unwrap();
        Self::start(move |stop, answered| {
            while !stop.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        if serve(stream) {
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        })
    }

    fn start(work: impl FnOnce(&AtomicBool, &AtomicU64) + Send + 'static) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            move || work(&stop, &answered)
        });
        Self { stop, answered, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn enter<T: Send>(stage: &Stage, real: &str, open: impl FnOnce() -> std::io::Result<T> + Send) -> T {
    let opened = stage.cluster.topology().netns(real).unwrap().enter(open).unwrap();
    opened.unwrap_or_else(|error| panic!("a server on {real}: {error}"))
}

/// The statuses that [`Server::http`] answers with: what is queued, then the last word for ever.
#[derive(Clone)]
pub(crate) struct Script(Arc<Mutex<(VecDeque<u16>, u16)>>);

impl Script {
    /// Always the same status.
    pub(crate) fn of(status: u16) -> Self {
        Self(Arc::new(Mutex::new((VecDeque::new(), status))))
    }

    /// First these, then this one for ever.
    pub(crate) fn then(&self, first: &[u16], last: u16) {
        *self.0.lock().unwrap() = (first.iter().copied().collect(), last);
    }

    fn next(&self) -> u16 {
        let mut script = self.0.lock().unwrap();
        script.0.pop_front().unwrap_or(script.1)
    }
}
