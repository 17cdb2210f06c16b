//! The client's side of a case: every step becomes one word or a server's banner, as recorded.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use lb_lab::Netns;
use socket2::{Domain, Socket, Type};

use crate::recorded::Ends;

/// How long an answer may take. Below a second, after which a SYN would be repeated and counted.
const PATIENCE: Duration = Duration::from_millis(900);

/// The client, its held connections and its sockets for datagrams.
pub(crate) struct Client<'a> {
    namespace: &'a Netns,
    held: BTreeMap<String, TcpStream>,
    datagrams: BTreeMap<(IpAddr, u16), UdpSocket>,
}

impl<'a> Client<'a> {
    /// A client in this namespace.
    pub(crate) fn new(namespace: &'a Netns) -> Self {
        Self { namespace, held: BTreeMap::new(), datagrams: BTreeMap::new() }
    }

    /// Connects and reads the banner; then holds the connection under a name, or closes it.
    pub(crate) fn connect(&mut self, ends: Ends, hold: Option<&str>) -> String {
        let opened = self.namespace.enter(|| greeted(ends)).expect("the client's namespace");
        opened.map_or_else(
            |error| word(&error),
            |(stream, banner)| {
                if let Some(name) = hold {
                    self.held.insert(name.to_owned(), stream);
                }
                banner
            },
        )
    }

    /// Sends a datagram and reads its answer.
    pub(crate) fn datagram(&mut self, ends: Ends) -> String {
        let from = (ends.src, ends.sport);
        if !self.datagrams.contains_key(&from) {
            let bound = self.namespace.enter(|| UdpSocket::bind(from)).expect("the client's namespace");
            match bound {
                Ok(socket) => drop(self.datagrams.insert(from, socket)),
                Err(error) => return word(&error),
            }
        }
        let exchange = |socket: &UdpSocket| {
            socket.connect((ends.dst, ends.dport))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            // One byte, as recorded: listings count them.
            socket.send(b"x")?;
            let mut bytes = [0; 2048];
            let length = socket.recv(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned())
        };
        exchange(&self.datagrams[&from]).unwrap_or_else(|error: io::Error| word(&error))
    }

    /// Closes a held connection in the ordinary way.
    pub(crate) fn close(&mut self, name: &str) -> String {
        self.held.remove(name).map_or_else(|| nobody(name), |_| "closed".to_owned())
    }

    /// Resets one.
    pub(crate) fn reset(&mut self, name: &str) -> String {
        let Some(stream) = self.held.remove(name) else { return nobody(name) };
        // Closing a socket that does not linger resets its connection.
        let lingered = Socket::from(stream).set_linger(Some(Duration::ZERO));
        lingered.map_or_else(|error| word(&error), |()| "closed".to_owned())
    }

    /// Sends a byte on a held connection and waits for it.
    pub(crate) fn send(&mut self, name: &str) -> String {
        let Some(stream) = self.held.get_mut(name) else { return nobody(name) };
        let mut echoed = || {
            stream.write_all(b"x")?;
            let mut byte = [0];
            Ok(if stream.read(&mut byte)? == 0 { "EOF" } else { "OK" }.to_owned())
        };
        echoed().unwrap_or_else(|error: io::Error| word(&error))
    }
}

fn nobody(name: &str) -> String {
    format!("no connection is called {name}")
}

fn greeted(ends: Ends) -> io::Result<(TcpStream, String)> {
    let target = SocketAddr::new(ends.dst, ends.dport);
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(ends.src, ends.sport).into())?;
    socket.connect_timeout(&target.into(), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = TcpStream::from(socket);
    let mut banner = Vec::new();
    let mut byte = [0];
    while banner.last() != Some(&b'\n') {
        if stream.read(&mut byte)? == 0 {
            break;
        }
        banner.extend(byte);
    }
    Ok((stream, String::from_utf8_lossy(&banner).trim_end().to_owned()))
}

/// The recorded word for an error.
fn word(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "REFUSED".to_owned(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "TIMEOUT".to_owned(),
        ErrorKind::ConnectionReset => "RESET".to_owned(),
        ErrorKind::HostUnreachable => "HOSTUNREACH".to_owned(),
        _ => error.raw_os_error().map_or_else(|| error.to_string(), |errno| format!("E{errno}")),
    }
}

#[test]
fn errors_have_the_recorded_words() {
    let words =
        [(111, "REFUSED"), (110, "TIMEOUT"), (11, "TIMEOUT"), (104, "RESET"), (113, "HOSTUNREACH"), (101, "E101")];
    for (errno, expected) in words {
        assert_eq!(word(&io::Error::from_raw_os_error(errno)), expected);
    }
}
