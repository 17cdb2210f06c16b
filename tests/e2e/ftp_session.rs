//! An FTP session by hand: commands one at a time, data connections looked at before they are used.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::stage::Stage;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A control connection by hand.
pub(crate) struct Session {
    stream: BufReader<TcpStream>,
    /// The real that it is with.
    pub(crate) real: String,
}

impl Session {
    /// Connects and logs in.
    pub(crate) fn open(stage: &Stage, target: SocketAddr) -> Self {
        let connect = || {
            let stream = TcpStream::connect_timeout(&target, PATIENCE).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        };
        let stream = stage.cluster.client().unwrap().enter(connect).unwrap();
        let mut session = Self { stream: BufReader::new(stream), real: String::new() };
        session.real = session.answer("220").split_whitespace().nth(1).unwrap().to_owned();
        session.ask("USER anonymous", "230");
        session
    }

    fn answer(&mut self, code: &str) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.starts_with(code), "{code} was expected: {line}");
        line
    }

    /// Sends a command, whose answer has to have a code.
    pub(crate) fn ask(&mut self, command: &str, code: &str) -> String {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        self.answer(code)
    }

    pub(crate) fn client(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    /// Asks for a data connection in passive mode, and says where it leads.
    pub(crate) fn passive(&mut self) -> SocketAddr {
        let line = self.ask("PASV", "227");
        let inside = line.split(['(', ')']).nth(1).unwrap();
        let [a, b, c, d, high, low]: [u8; 6] =
            inside.split(',').map(|number| number.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap();
        SocketAddr::new(IpAddr::from([a, b, c, d]), u16::from_be_bytes([high, low]))
    }

    /// What a listing says, by a data connection in passive mode.
    pub(crate) fn list(&mut self, stage: &Stage) -> String {
        let at = self.passive();
        let stream = stage.cluster.client().unwrap().enter(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap();
        self.ask("NLST", "150");
        self.read(stream.unwrap())
    }

    fn read(&mut self, mut stream: TcpStream) -> String {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut listed = String::new();
        stream.read_to_string(&mut listed).unwrap();
        self.answer("226");
        listed
    }

    /// What a listing says, by a data connection that the real opens to a socket which listens for it.
    pub(crate) fn list_active(&mut self, listener: &TcpListener, service: SocketAddr) -> String {
        self.stream.get_mut().write_all(b"NLST\r\n").unwrap();
        let (stream, from) = listener.accept().unwrap();
        assert_eq!(from, SocketAddr::new(service.ip(), service.port() - 1), "the real shows as the service");
        self.answer("150");
        self.read(stream)
    }

    /// Fetches a file in passive mode, so many bytes at a time and with a pause behind each.
    pub(crate) fn fetch_slowly(&mut self, stage: &Stage, name: &str, piece: usize, pause: Duration) -> Vec<u8> {
        self.ask("TYPE I", "200");
        let at = self.passive();
        let connect = || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            // Little room: what is not read waits at the real.
            socket.set_recv_buffer_size(piece / 4).unwrap();
            socket.connect_timeout(&at.into(), PATIENCE).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            TcpStream::from(socket)
        };
        let stream = stage.cluster.client().unwrap().enter(connect).unwrap();
        self.ask(&format!("RETR {name}"), "150");
        let mut fetched = Vec::new();
        while (&stream).take(piece as u64).read_to_end(&mut fetched).unwrap() == piece {
            std::thread::sleep(pause);
        }
        drop(stream);
        self.answer("226");
        fetched
    }

    /// Announces a port of the client's in active mode, and gives the socket that listens there.
    pub(crate) fn active(&mut self, stage: &Stage) -> TcpListener {
        let listener =
            stage.cluster.client().unwrap().enter(|| TcpListener::bind((self.client().ip(), 0)).unwrap()).unwrap();
        // Bounds how long it accepts.
        socket2::SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        let IpAddr::V4(address) = self.client().ip() else { panic!("an IPv4 client") };
        let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
        let [a, b, c, d] = address.octets();
        self.ask(&format!("PORT {a},{b},{c},{d},{high},{low}"), "200");
        listener
    }

    /// Ends the connection by a reset.
    pub(crate) fn abort(self) {
        let stream = self.stream.into_inner();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}
