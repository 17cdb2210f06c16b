//! Connections that stay open, with requests on them when a test says so.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lb_lab::real::HEADER;

use crate::stage::Stage;

/// How long a held connection waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// An open connection from the client to a service. nginx closes one without a request after 60 s.
pub(crate) struct Held {
    stream: BufReader<TcpStream>,
}

impl Held {
    /// Opens a connection from the client's namespace.
    pub(crate) fn open(stage: &Stage, target: SocketAddr) -> Self {
        let client = stage.cluster.client().unwrap();
        let stream = client.enter(|| TcpStream::connect_timeout(&target, ANSWER)).unwrap();
        let stream = stream.unwrap_or_else(|error| panic!("connect to {target}: {error}"));
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        stream.set_write_timeout(Some(ANSWER)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// The client's end.
    pub(crate) fn client(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    /// One request on the open connection; the name of the real that answered.
    pub(crate) fn ask(&mut self) -> io::Result<String> {
        self.stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: e2e\r\n\r\n")?;
        self.answer()
    }

    /// [`Held::ask`] that waits for the answer no longer than `limit`.
    pub(crate) fn ask_within(&mut self, limit: Duration) -> io::Result<String> {
        self.stream.get_ref().set_read_timeout(Some(limit))?;
        let answer = self.ask();
        self.stream.get_ref().set_read_timeout(Some(ANSWER))?;
        answer
    }

    /// The answer to a request that was sent earlier.
    pub(crate) fn answer(&mut self) -> io::Result<String> {
        let (mut name, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((key, value)) = line.trim().split_once(": ") else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            if key.eq_ignore_ascii_case(HEADER) {
                name = Some(value.to_owned());
            } else if key.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        name.ok_or_else(|| io::Error::other("an answer without the real's name"))
    }
}
