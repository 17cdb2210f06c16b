//! What listens on the real servers: TCP that says who it is and sends back what it gets, and UDP that says who it is.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use lb_lab::{LabError, Netns};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

const TCP: [u16; 4] = [80, 81, 443, 8080];
const UDP: [u16; 2] = [53, 5353];

/// The servers of one real, until dropped: a thread of their own.
pub(crate) struct Servers {
    // Its end is what the thread waits for.
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    /// Starts the servers of `name` in a namespace; datagrams are taken on these addresses.
    pub(crate) fn start(namespace: &Netns, name: &str, addresses: &[IpAddr]) -> Result<Self, LabError> {
        let (wake, woken) = UnixStream::pair().map_err(LabError::io("make a pair of sockets"))?;
        let sockets = namespace.enter(|| Sockets::open(addresses))?.map_err(LabError::io("listen"))?;
        let name = name.to_owned();
        let thread = thread::spawn(move || serve(&sockets, &name, &woken));
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // Its panic was printed; what it did not answer is seen by the client.
            let _ = thread.join();
        }
    }
}

struct Sockets {
    listeners: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
}

impl Sockets {
    fn open(addresses: &[IpAddr]) -> std::io::Result<Self> {
        let mut sockets = Self { listeners: Vec::new(), datagrams: Vec::new() };
        for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            for port in TCP {
                let address = SocketAddr::new(any, port);
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                if any.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                socket.set_reuse_address(true)?;
                socket.set_nonblocking(true)?;
                socket.bind(&address.into())?;
                socket.listen(64)?;
                sockets.listeners.push(socket.into());
            }
        }
        // A socket for each address: the answer then has it as its source.
        for address in addresses {
            for port in UDP {
                let socket = UdpSocket::bind((*address, port))?;
                socket.set_nonblocking(true)?;
                sockets.datagrams.push(socket);
            }
        }
        Ok(sockets)
    }
}

/// `r2 10.0.2.12:80` and a newline.
fn banner(name: &str, local: SocketAddr) -> Vec<u8> {
    format!("{name} {local}\n").into_bytes()
}

fn serve(sockets: &Sockets, name: &str, woken: &UnixStream) {
    let mut connections: Vec<TcpStream> = Vec::new();
    loop {
        let all = std::iter::once(woken.as_fd())
            .chain(sockets.listeners.iter().map(|listener| listener.as_fd()))
            .chain(sockets.datagrams.iter().map(|socket| socket.as_fd()))
            .chain(connections.iter().map(|stream| stream.as_fd()));
        let Some(ready) = wait(all) else { return };
        if ready[0] {
            return;
        }
        let (listeners, rest) = ready[1..].split_at(sockets.listeners.len());
        let (datagrams, streams) = rest.split_at(sockets.datagrams.len());
        let mut flags = streams.iter();
        connections.retain_mut(|stream| !flags.next().is_some_and(|ready| *ready) || echo(stream));
        for (listener, _) in sockets.listeners.iter().zip(listeners).filter(|(_, ready)| **ready) {
            connections.extend(accept(listener, name));
        }
        for (socket, _) in sockets.datagrams.iter().zip(datagrams).filter(|(_, ready)| **ready) {
            answer(socket, name);
        }
    }
}

/// Which of them have something to say; `None` when nothing can be waited for.
fn wait<'a>(all: impl Iterator<Item = BorrowedFd<'a>>) -> Option<Vec<bool>> {
    let mut waiting: Vec<PollFd<'a>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    poll(&mut waiting, PollTimeout::NONE).ok()?;
    Some(waiting.iter().map(|fd| fd.any().unwrap_or(false)).collect())
}

fn accept(listener: &TcpListener, name: &str) -> Option<TcpStream> {
    // The client may have gone in the meantime: then there is nobody to serve.
    let (mut stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(true).ok()?;
    stream.write_all(&banner(name, stream.local_addr().ok()?)).ok()?;
    Some(stream)
}

/// Sends back what has come; false at the end.
fn echo(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes) {
        Ok(0) | Err(_) => false,
        Ok(length) => stream.write_all(&bytes[..length]).is_ok(),
    }
}

fn answer(socket: &UdpSocket, name: &str) {
    let mut bytes = [0; 2048];
    if let (Ok((_, client)), Ok(local)) = (socket.recv_from(&mut bytes), socket.local_addr()) {
        // What is not sent, the client misses.
        let _ = socket.send_to(&banner(name, local), client);
    }
}

#[test]
fn the_banner_is_as_recorded() {
    assert_eq!(banner("r1", "10.0.2.11:80".parse().unwrap()), b"r1 10.0.2.11:80\n");
    assert_eq!(banner("r2", "[fd00:1::100]:80".parse().unwrap()), b"r2 [fd00:1::100]:80\n");
}
