//! SCTP endpoints in the laboratory, for kernels without SCTP: `sctp-proto` speaks the protocol, raw sockets carry its packets.
//!
//! Every packet that comes in for an endpoint has its checksum added up here, whatever the protocol makes of it: [`Client::wrong_sums`],
//! [`Server::wrong_sums`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crc::{CRC_32_ISCSI, Crc};
use lb_lab::Netns;
use lb_lab::plan::Family;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ServerConfig, StreamEvent, TransportConfig,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::stage::{LIMIT, Stage};

const SCTP: u8 = 132;
/// Chunk type.
const SHUTDOWN_COMPLETE: u8 = 14;
/// Longest wait for a packet before timers are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of data that a packet carries at most: 1468 with an IPv6 header, as long as the client's link takes with all there is around.
const PAYLOAD: u32 = 1400;
/// The one stream that is used.
const STREAM: u16 = 0;
/// A server that is sent this closes the association instead of answering.
const CLOSE: &[u8] = b"close";

/// A raw socket with a port of SCTP's, and the protocol.
struct Peer {
    socket: UdpSocket,
    port: u16,
    endpoint: Endpoint,
    associations: HashMap<AssociationHandle, Association>,
    /// SHUTDOWN COMPLETE has been sent: the end for whoever closes, which `sctp-proto` does not tell.
    is_complete: bool,
    wrong_sums: u64,
}

impl Peer {
    /// `at`: the address that packets come to, or "any", and the port.
    fn open(host: &Netns, at: SocketAddr, server: Option<ServerConfig>) -> Self {
        let domain = if at.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let open = || {
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(SCTP))))?;
            socket.bind(&SockAddr::from(SocketAddr::new(at.ip(), 0)))?;
            // One of UDP to the standard library: it takes and gives packets with addresses, and so does a raw one.
            std::io::Result::Ok(UdpSocket::from(socket))
        };
        let socket = host.enter(open).unwrap().unwrap_or_else(|error| panic!("a raw socket at {at}: {error}"));
        let mut config = EndpointConfig::new();
        config.max_payload_size(PAYLOAD);
        let endpoint = Endpoint::new(Arc::new(config), server.map(Arc::new));
        Self { socket, port: at.port(), endpoint, associations: HashMap::new(), is_complete: false, wrong_sums: 0 }
    }

    /// Sends what is due, takes a packet if one comes, and returns what has happened to the associations.
    fn turn(&mut self) -> Vec<(AssociationHandle, Event)> {
        self.send_due();
        if let Some((from, packet)) = self.receive() {
            match self.endpoint.handle(Instant::now(), from, None, None, packet) {
                Some((handle, DatagramEvent::NewAssociation(association))) => {
                    self.associations.insert(handle, association);
                }
                Some((handle, DatagramEvent::AssociationEvent(event))) => {
                    if let Some(association) = self.associations.get_mut(&handle) {
                        association.handle_event(event);
                    }
                }
                None => {}
            }
            self.send_due();
        }
        let mut events = Vec::new();
        for (handle, association) in &mut self.associations {
            while let Some(event) = association.poll() {
                events.push((*handle, event));
            }
        }
        events
    }

    /// Runs timers and sends what the associations have to say.
    fn send_due(&mut self) {
        let now = Instant::now();
        for association in self.associations.values_mut() {
            if association.poll_timeout().is_some_and(|at| at <= now) {
                association.handle_timeout(now);
            }
            while let Some(transmit) = association.poll_transmit(now) {
                let Payload::RawEncode(packets) = transmit.payload else { panic!("nothing to send is half decoded") };
                // A raw socket has no ports: they are in the packet.
                let to = SocketAddr::new(transmit.remote.ip(), 0);
                for packet in packets {
                    self.is_complete |= packet[12] == SHUTDOWN_COMPLETE;
                    self.socket.send_to(&packet, to).unwrap_or_else(|error| panic!("to {to}: {error}"));
                }
            }
        }
    }

    /// The next packet for this port, and where it is from. The socket gets all of SCTP that comes to its address.
    fn receive(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.socket.set_read_timeout(Some(LOOK)).unwrap();
        let mut packet = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut packet).ok()?;
        // IPv4 comes with its header, IPv6 without.
        let header = if from.is_ipv4() { usize::from(packet[0] & 0x0f) * 4 } else { 0 };
        let packet = &packet[header..length];
        if packet.len() < 12 || packet[2..4] != self.port.to_be_bytes() {
            return None;
        }
        if packet[8..12] != checksum(packet).to_le_bytes() {
            self.wrong_sums += 1;
        }
        let from = SocketAddr::new(from.ip(), u16::from_be_bytes([packet[0], packet[1]]));
        Some((from, Bytes::copy_from_slice(packet)))
    }

    /// Messages that have come in on an association.
    fn read(&mut self, handle: AssociationHandle) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let Some(Ok(mut stream)) = self.associations.get_mut(&handle).map(|known| known.stream(STREAM)) else {
            return messages;
        };
        while let Ok(Some(chunks)) = stream.read_sctp() {
            let mut message = vec![0; chunks.len()];
            assert_eq!(chunks.read(&mut message).unwrap(), message.len());
            messages.push(message);
        }
        messages
    }

    fn write(&mut self, handle: AssociationHandle, message: &[u8]) {
        let association = self.associations.get_mut(&handle).expect("an association");
        if association.stream(STREAM).is_err() {
            association.open_stream(STREAM, PayloadProtocolIdentifier::Binary).unwrap();
        }
        let mut stream = association.stream(STREAM).unwrap();
        assert_eq!(stream.write_with_ppi(message, PayloadProtocolIdentifier::Binary).unwrap(), message.len());
    }
}

/// CRC32c of a packet whose own checksum counts as zeros (RFC 9260 appendix A).
fn checksum(packet: &[u8]) -> u32 {
    let crc = Crc::<u32>::new(&CRC_32_ISCSI);
    let mut digest = crc.digest();
    digest.update(&packet[..8]);
    digest.update(&[0; 4]);
    digest.update(&packet[12..]);
    digest.finalize()
}

/// A client's end of one association.
pub(crate) struct Client {
    peer: Peer,
    handle: AssociationHandle,
    target: SocketAddr,
}

impl Client {
    /// Sends INIT, no more.
    pub(crate) fn begin(stage: &Stage, target: SocketAddr) -> Self {
        // A port of its own for each: one that is used again would meet what the director remembers.
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let mut peer = Peer::open(stage.cluster.client().unwrap(), SocketAddr::new(any, port), None);
        let transport = TransportConfig::default().with_local_port(port).with_remote_port(target.port());
        let mut config = ClientConfig::new();
        config.transport = Arc::new(transport);
        let (handle, association) = peer.endpoint.connect(config, target).unwrap();
        peer.associations.insert(handle, association);
        peer.send_due();
        Self { peer, handle, target }
    }

    /// Opens an association.
    pub(crate) fn connect(stage: &Stage, target: SocketAddr) -> Self {
        let mut client = Self::begin(stage, target);
        client.establish();
        client
    }

    /// Waits for what follows on [`Client::begin`].
    pub(crate) fn establish(&mut self) {
        self.until("is established", |client| client.turn().iter().any(|event| matches!(event, Event::Connected)));
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.peer.port
    }

    /// Packets that came with a wrong checksum.
    pub(crate) fn wrong_sums(&self) -> u64 {
        self.peer.wrong_sums
    }

    /// Sends a message and returns the answer to it.
    pub(crate) fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.peer.write(self.handle, message);
        let mut answers = Vec::new();
        self.until("is answered", |client| {
            client.turn();
            answers = client.peer.read(client.handle);
            !answers.is_empty()
        });
        assert_eq!(answers.len(), 1, "one answer");
        answers.remove(0)
    }

    /// Sends SHUTDOWN, no more.
    pub(crate) fn begin_close(&mut self) {
        // sctp-proto goes by SACK, not by what SHUTDOWN acknowledges: first the last acknowledgement, which is held back for 200 ms.
        self.until("has acknowledged everything", |client| {
            client.turn();
            client.peer.associations[&client.handle].poll_timeout().is_none()
        });
        self.peer.associations.get_mut(&self.handle).unwrap().shutdown().unwrap();
        self.peer.send_due();
    }

    /// Has the server close the association.
    pub(crate) fn be_closed(mut self) {
        self.peer.write(self.handle, CLOSE);
        self.finish();
    }

    /// Waits until the association is closed.
    pub(crate) fn finish(&mut self) {
        self.until("is closed", |client| {
            client.turn();
            client.peer.is_complete || client.peer.associations[&client.handle].is_closed()
        });
    }

    fn turn(&mut self) -> Vec<Event> {
        self.peer.turn().into_iter().map(|(_, event)| event).collect()
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !done(self) {
            assert!(Instant::now() < limit, "the association from port {} to {} {what}", self.peer.port, self.target);
        }
    }
}

/// A server in a real's namespace; ends when dropped, before the namespace does.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    closed: AtomicU64,
    wrong_sums: AtomicU64,
}

impl Server {
    /// Answers each message with the real's name, a blank and the message. `at`: where its packets come to, the VIP but for NAT.
    pub(crate) fn echo(stage: &Stage, real: &str, at: SocketAddr) -> Self {
        let host = stage.cluster.topology().netns(real).unwrap();
        let peer = Peer::open(host, at, Some(ServerConfig::new()));
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let thread = std::thread::spawn({
            let (stop, counts, prefix) = (Arc::clone(&stop), Arc::clone(&counts), format!("{real} ").into_bytes());
            move || serve(peer, &prefix, &stop, &counts)
        });
        Self { stop, counts, thread: Some(thread) }
    }

    /// Messages that it has answered.
    pub(crate) fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::SeqCst)
    }

    /// Associations that clients have closed.
    pub(crate) fn closed(&self) -> u64 {
        self.counts.closed.load(Ordering::SeqCst)
    }

    /// Packets that came with a wrong checksum.
    pub(crate) fn wrong_sums(&self) -> u64 {
        self.counts.wrong_sums.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(mut peer: Peer, prefix: &[u8], stop: &AtomicBool, counts: &Counts) {
    let mut to_close = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        for (handle, event) in peer.turn() {
            match event {
                Event::Stream(StreamEvent::Opened { .. } | StreamEvent::Readable { .. }) => {
                    for message in peer.read(handle) {
                        if message == CLOSE {
                            to_close.push(handle);
                            continue;
                        }
                        // Counted first: whoever has the answer may look at the count before this thread runs again.
                        counts.answered.fetch_add(1, Ordering::SeqCst);
                        peer.write(handle, &[prefix, &message].concat());
                    }
                }
                Event::AssociationLost { .. } => {
                    counts.closed.fetch_add(1, Ordering::SeqCst);
                }
                _ => {}
            }
        }
        for handle in to_close.drain(..) {
            peer.associations.get_mut(&handle).expect("an association").shutdown().unwrap();
        }
        counts.wrong_sums.store(peer.wrong_sums, Ordering::SeqCst);
    }
}

/// An SCTP service on port 3868 of the first VIP: its key and where clients connect to.
pub(crate) fn service(family: Family) -> (String, SocketAddr) {
    let address = SocketAddr::new(lb_lab::plan::vip(family, 0), 3868);
    (format!("sctp://{address}"), address)
}

/// Sizes of the messages of [`exchange`]: odd and even, of one packet and of several.
const SIZES: [usize; 10] = [1, 2, 3, 64, 1_000, 1_371, 1_372, 1_400, 4_096, 20_001];

/// Opens an association to a service of one real, has a message of every size back, closes, and sees that nobody met a wrong checksum:
/// what every way to a real has to carry. Returns what the director has listed for it on the way.
pub(crate) fn exchange(stage: &Stage, key: &str, target: SocketAddr, server: &Server) -> Vec<String> {
    let (answered, closed) = (server.answered(), server.closed());
    let mut states = Vec::new();
    let mut client = Client::connect(stage, target);
    for (turn, size) in (1..).zip(SIZES) {
        let message: Vec<u8> = (0..size).map(|at| (at * 31 + turn * 7) as u8).collect();
        let answer = client.ask(&message);
        assert!(answer.ends_with(&message) && answer.len() == message.len() + "real1 ".len(), "{size} bytes came back");
    }
    assert_eq!(server.answered() - answered, SIZES.len() as u64);
    states.push(state(stage, key, client.port()));
    client.begin_close();
    client.finish();
    crate::stage::wait("the server has seen the end", || {
        if server.closed() - closed == 1 { Ok(()) } else { Err("not yet".to_owned()) }
    });
    states.push(state(stage, key, client.port()));
    assert_eq!((client.wrong_sums(), server.wrong_sums()), (0, 0), "packets with a wrong checksum");
    states
}

/// The state that the director lists for the client's port; empty if it lists none.
pub(crate) fn state(stage: &Stage, key: &str, port: u16) -> String {
    let page = stage.connections(key);
    assert!(page.connections.iter().all(|entry| entry.protocol.as_str() == "sctp"), "{page:?}");
    let mut mine = page.connections.into_iter().filter(|entry| entry.client.port() == port);
    mine.next().map_or_else(String::new, |entry| entry.state)
}
