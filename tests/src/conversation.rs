//! What a director under test has translated so far, kept beside it: from which ends a real's answers come, and what they must become.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::real::{Real, family, method, option};
use lb_userspace::dataplane::tables::Tables;
use lb_userspace::model::ServiceKey;

use crate::packet::{ACK, RST, SYN};
use crate::portless::{Shape, Whole, fragment, icmp_error, shape};
use crate::translated::{Ends, Parts, TCP, Translation, ends, translated};

/// A connection through address translation.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// As the client's packets have them: from the client to the service.
    pub client: Ends,
    /// Its service.
    pub service: ServiceKey,
    /// Its real.
    pub real: SocketAddr,
    /// Ethernet headers' beginnings that lead back to the client: of each frame that it sent, turned round.
    links: Vec<[u8; 12]>,
    /// What the client acknowledges before it has got any data.
    first_acknowledgement: Option<u32>,
}

/// All of them.
#[derive(Debug)]
pub struct Conversations {
    /// By the ends of the real's answers.
    by_answer: BTreeMap<Ends, Conversation>,
    /// Ends of the answers by those of the client's packets.
    answers: BTreeMap<Ends, Ends>,
    /// Ends of the answers by packets whose first fragment went, to the real or from it.
    fragments: BTreeMap<Whole, Ends>,
    /// Bytes of the largest IP packet that takes the way to clients.
    client_mtu: u32,
}

impl Conversations {
    /// None so far.
    pub fn new(client_mtu: u32) -> Self {
        Self { by_answer: BTreeMap::new(), answers: BTreeMap::new(), fragments: BTreeMap::new(), client_mtu }
    }

    /// The frame that must go to the real, and remembers what its answers become.
    pub fn to_real(
        &mut self,
        input: &[u8],
        output: &[u8],
        of: (ServiceKey, SocketAddr),
        is_new: bool,
        tables: &Tables,
    ) -> Vec<u8> {
        let real = tables.real(tables.services()[&of.0].reals[&of.1]).expect("a real");
        let link = [real.destination_mac, real.source_mac].concat().try_into().expect("twelve bytes");
        match shape(input) {
            Shape::Later(whole) => {
                let answer = self.fragments[&whole];
                assert_eq!(
                    (self.by_answer[&answer].service, self.by_answer[&answer].real),
                    of,
                    "as its first fragment"
                );
                return fragment(input, link, [answer.destination.ip(), answer.source.ip()], output);
            }
            Shape::Error { about, .. } => {
                let answer =
                    *self.answers.get(&about.reversed()).unwrap_or_else(|| panic!("nobody has sent {about:?}"));
                let conversation = &self.by_answer[&answer];
                assert_eq!((conversation.service, conversation.real), of, "the error is about that real's packet");
                assert!(is_live(conversation, tables), "an error about a connection that is over: {conversation:?}");
                let source = if real.method == method::NAT { ends(input).source.ip() } else { answer.destination.ip() };
                return icmp_error(input, link, [source, answer.source.ip()], answer, output);
            }
            Shape::First(_) | Shape::Ported => {}
        }
        let client = ends(input);
        let known = self.answers.get(&client).copied().filter(|_| !is_new);
        let source = match known {
            Some(answer) => answer.destination,
            None if real.method == method::NAT => client.source,
            None => local_end(ends(output).source, tables),
        };
        let port = if real.port == 0 { client.destination.port() } else { real.port };
        let to = Ends { protocol: client.protocol, source, destination: SocketAddr::new(real_address(&real), port) };
        if known.is_none() {
            self.begin(client, to.reversed(), of, tables);
        }
        if let Shape::First(whole) = shape(input) {
            self.fragments.insert(whole, to.reversed());
        }
        let conversation =
            self.by_answer.get_mut(&to.reversed()).expect("a connection keeps its real and its local end");
        let back = turned(input);
        conversation.links.retain(|known| *known != back);
        conversation.links.push(back);
        let option = address_option(input, &real, conversation).unwrap_or_default();
        let segment_limit = segment_limit(input, &real, client, self.client_mtu);
        translated(input, &Translation { link, to, option, segment_limit }, output)
    }

    /// The frame that must go to the client, and the conversation that it is of.
    pub fn to_client(&mut self, input: &[u8], output: &[u8], tables: &Tables) -> (Vec<u8>, Conversation) {
        let of = shape(input);
        let answer = match of {
            Shape::Later(whole) => self.fragments[&whole],
            Shape::Error { about, .. } => about.reversed(),
            Shape::First(_) | Shape::Ported => ends(input),
        };
        let conversation = self.by_answer.get_mut(&answer).unwrap_or_else(|| panic!("nobody awaits {answer:?}"));
        assert!(is_live(conversation, tables), "an answer on a connection that is over: {conversation:?}");
        let latest = conversation.links.last().expect("the client has sent something");
        let link = *conversation.links.iter().find(|link| output[..12] == link[..]).unwrap_or(latest);
        let to = conversation.client.reversed();
        let addresses = [to.source.ip(), to.destination.ip()];
        match of {
            Shape::Later(_) => return (fragment(input, link, addresses, output), conversation.clone()),
            Shape::Error { .. } => {
                let frame = icmp_error(input, link, addresses, conversation.client, output);
                return (frame, conversation.clone());
            }
            Shape::First(whole) => {
                self.fragments.insert(whole, answer);
            }
            Shape::Ported => {}
        }
        let real = tables.real(tables.services()[&conversation.service].reals[&conversation.real]).expect("a real");
        let parts = Parts::of(input);
        let segment = parts.segment(input);
        if parts.protocol == TCP && segment[13] & SYN != 0 {
            let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
            conversation.first_acknowledgement = Some(sequence.wrapping_add(1));
        }
        let segment_limit = segment_limit(input, &real, conversation.client, self.client_mtu);
        let frame = translated(input, &Translation { link, to, option: Vec::new(), segment_limit }, output);
        (frame, conversation.clone())
    }

    fn begin(&mut self, client: Ends, answer: Ends, of: (ServiceKey, SocketAddr), tables: &Tables) {
        if let Some(other) = self.by_answer.get(&answer).filter(|other| other.client != client) {
            assert!(
                !is_live(other, tables),
                "two connections whose answers have the ends {answer:?}: {client:?}, {other:?}"
            );
        }
        if let Some(old) = self.answers.insert(client, answer)
            && self.by_answer.get(&old).is_some_and(|conversation| conversation.client == client)
        {
            self.by_answer.remove(&old);
        }
        let conversation =
            Conversation { client, service: of.0, real: of.1, links: Vec::new(), first_acknowledgement: None };
        self.by_answer.insert(answer, conversation);
    }
}

/// The way that a frame came by, for one that goes back.
fn turned(frame: &[u8]) -> [u8; 12] {
    [&frame[6..12], &frame[..6]].concat().try_into().expect("twelve bytes")
}

fn real_address(real: &Real) -> IpAddr {
    match real.family {
        family::V4 => <[u8; 4]>::try_from(&real.address[..4]).expect("four bytes").into(),
        _ => real.address.into(),
    }
}

/// An end that full NAT may send from.
fn local_end(end: SocketAddr, tables: &Tables) -> SocketAddr {
    let is_ours = tables.locals().iter().any(|local| {
        let first = u32::from(local.ports.first());
        local.address == end.ip() && (first..first + local.ports.count()).contains(&u32::from(end.port()))
    });
    assert!(is_ours, "{end} is none of {:?}", tables.locals());
    end
}

fn is_live(conversation: &Conversation, tables: &Tables) -> bool {
    let (numbers, mut is_live) = (tables.numbers(), false);
    let Ends { source, destination, .. } = conversation.client;
    tables.each_connection(|at| {
        is_live |= at.client == source
            && at.port == destination.port()
            && numbers.get(&at.meta.service()) == Some(&conversation.service)
            && at.virtual_.is_none_or(|(address, _)| address == destination.ip() || address.is_ipv6());
    });
    is_live
}

const fn header(end: SocketAddr) -> u32 {
    if end.is_ipv4() { 20 } else { 40 }
}

/// Bytes that a SYN of this connection may announce: what fits both ways (RFC 9293 section 3.7.1), less room for the client's address.
fn segment_limit(frame: &[u8], real: &Real, client: Ends, client_mtu: u32) -> Option<u16> {
    let parts = Parts::of(frame);
    let is_syn = parts.protocol == TCP && parts.segment(frame)[13] & SYN != 0;
    if real.options & option::CLAMP == 0 || !is_syn {
        return None;
    }
    let real_header = if real.family == family::V4 { 20 } else { 40 };
    let most = (client_mtu - header(client.source)).min(u32::from(real.mtu) - real_header) - 20;
    let told = if real.options & option::TOA != 0 { 20 } else { 0 };
    Some((most - told) as u16)
}

/// The client's address for the real: kind, length, port, address. None where it does not go along: not TCP, a SYN or RST, after the
/// real's first data, and without room in the header (60 bytes) or on the way. Neither in fragments, nor behind VLAN tags, IP options or extension headers,
/// nor between the families.
fn address_option(frame: &[u8], real: &Real, conversation: &Conversation) -> Option<Vec<u8>> {
    let parts = Parts::of(frame);
    let segment = parts.segment(frame);
    let client = conversation.client.source;
    let is_plain = parts.ip.offset == 14 && (parts.transport - 14) as u32 == header(client);
    if real.options & option::TOA == 0
        || shape(frame) != Shape::Ported
        || parts.protocol != TCP
        || !is_plain
        || client.ip().is_ipv4() != (real.family == family::V4)
    {
        return None;
    }
    let acknowledgement = u32::from_be_bytes([segment[8], segment[9], segment[10], segment[11]]);
    if segment[13] & (SYN | RST | ACK) != ACK || conversation.first_acknowledgement != Some(acknowledgement) {
        return None;
    }
    let address = match client.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = address.len() + 4;
    let header = usize::from(segment[12] >> 4) * 4;
    if header + length > 60 || parts.ip.length + length > usize::from(real.mtu) {
        return None;
    }
    Some([&[254, length as u8], &client.port().to_be_bytes()[..], &address].concat())
}
