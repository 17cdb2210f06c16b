//! What became of a frame, in words that do not depend on which real a hash picked: the peer's and ours are described in the same way,
//! and the descriptions compared field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::verdict::Action;
use lb_tests::director::{code, hex};

use crate::frame::{ETHERNET, Flow, Ip};
use crate::recorded::Vip;

/// Field and value.
pub(crate) type Fields = BTreeMap<&'static str, String>;

/// One balancer, and what it has done with each flow so far.
pub(crate) struct Side<'a> {
    vips: &'a [Vip],
    flows: BTreeMap<Flow, (IpAddr, Option<u16>)>,
}

impl<'a> Side<'a> {
    /// A balancer that has seen nothing yet.
    pub(crate) fn new(vips: &'a [Vip]) -> Self {
        Self { vips, flows: BTreeMap::new() }
    }

    /// What it made of `input`.
    pub(crate) fn describe(&mut self, input: &[u8], action: u32, output: &[u8]) -> Fields {
        let mut fields = Fields::from([("verdict", name(action).to_owned())]);
        if input == output {
            fields.insert("bytes", "untouched".to_owned());
            return fields;
        }
        fields.insert("ethernet", hex(&output[..ETHERNET]));
        let (came, left) = (Ip::of(&input[ETHERNET..]), Ip::of(&output[ETHERNET..]));
        let (Some(came), Some(left)) = (came, left) else {
            fields.insert("bytes", hex(output));
            return fields;
        };
        if action != code(Action::Tx) {
            opened(&mut fields, came, left);
        } else if left.icmp().is_some() && left.destination() == came.source() {
            answered(&mut fields, came, left);
        } else {
            self.tunnelled(&mut fields, came, left);
        }
        fields
    }

    fn tunnelled(&mut self, fields: &mut Fields, came: Ip<'_>, left: Ip<'_>) {
        outer(fields, left);
        let inner = if let Some([source, destination, length, sum]) = left.udp() {
            fields.insert("UDP port", destination.to_string());
            fields.insert("UDP length", length.to_string());
            let is_right = left.is_payload_right();
            fields.insert("UDP checksum", if sum == 0 { "none" } else { right(is_right) }.to_owned());
            self.follow(fields, came, left, Some(source));
            left.payload().get(8..)
        } else {
            self.follow(fields, came, left, None);
            Some(left.payload())
        };
        fields.insert("inner packet", if inner == Some(came.bytes()) { "unchanged" } else { "changed" }.to_owned());
        fields.insert("source", range(left.source()));
        fields.insert("destination", self.role(came, left.destination()));
    }

    /// Every packet of a flow has the same real, and the same UDP source port.
    fn follow(&mut self, fields: &mut Fields, came: Ip<'_>, left: Ip<'_>, port: Option<u16>) {
        let way = (left.destination(), port);
        let word = match came.flow().and_then(|flow| self.flows.insert(flow, way)) {
            None => "first packet",
            Some(before) if before == way => "as before",
            Some(_) => "moved",
        };
        fields.insert("way of the flow", word.to_owned());
    }

    fn role(&self, came: Ip<'_>, at: IpAddr) -> String {
        let of = |vip: &&Vip, flow: &Flow| {
            vip.covers(flow.vip.0)
                && [0, flow.vip.1].contains(&vip.port)
                && vip.proto == if flow.protocol == 6 { "tcp" } else { "udp" }
        };
        let is_real = came
            .flow()
            .and_then(|flow| self.vips.iter().find(|vip| of(vip, &flow)))
            .is_some_and(|vip| vip.reals.contains(&at));
        if is_real { "a real of the service".to_owned() } else { at.to_string() }
    }
}

/// An outer source, or the range in which it varies with the client.
fn range(source: IpAddr) -> String {
    match source {
        IpAddr::V4(source) if source.octets()[..2] == [172, 16] => "172.16.0.0/16".to_owned(),
        IpAddr::V6(source) if source.segments()[..6] == [0x100, 0, 0, 0, 0, 0] => "100::/96".to_owned(),
        other => other.to_string(),
    }
}

/// What the outermost header says, addresses left out.
fn outer(fields: &mut Fields, ip: Ip<'_>) {
    fields.insert("version", ip.version().to_string());
    fields.insert("protocol", ip.protocol().to_string());
    fields.insert("TOS", format!("{:#04x}", ip.tos()));
    fields.insert("TTL", ip.ttl().to_string());
    fields.insert("length", ip.length().to_string());
    fields.insert("fits the frame", (ip.length() == ip.bytes().len()).to_string());
    fields.insert("header checksum", right(ip.is_header_right()).to_owned());
}

/// A packet that goes on without its outer headers.
fn opened(fields: &mut Fields, came: Ip<'_>, left: Ip<'_>) {
    let is_tail = came.bytes().ends_with(left.bytes());
    fields.insert("inner packet", if is_tail { "unchanged" } else { "changed" }.to_owned());
    fields.insert("length", left.bytes().len().to_string());
}

/// An ICMP message back to the sender: an error that quotes its packet, or a reply with what it sent.
fn answered(fields: &mut Fields, came: Ip<'_>, left: Ip<'_>) {
    outer(fields, left);
    fields.insert("source", left.source().to_string());
    fields.insert("destination", left.destination().to_string());
    let (kind, code) = left.icmp().expect("it is ICMP");
    fields.insert("type and code", format!("{kind}/{code}"));
    fields.insert("ICMP checksum", right(left.is_payload_right()).to_owned());
    let rest = left.payload().get(4..8).unwrap_or_default();
    let body = left.payload().get(8..).unwrap_or_default();
    if left.is_icmp_error() {
        // RFC 1191 and RFC 4443: the MTU is the second word's end, or all of it.
        fields.insert("MTU", rest.iter().fold(0, |mtu, byte| mtu << 8 | u32::from(*byte)).to_string());
        let is_begin = came.bytes().starts_with(body);
        fields.insert("quote", if is_begin { format!("{} bytes", body.len()) } else { "changed".to_owned() });
    } else {
        let is_same = came.payload().get(4..8) == Some(rest) && came.payload().get(8..) == Some(body);
        fields.insert("what was sent", if is_same { "returned" } else { "changed" }.to_owned());
    }
}

fn right(is_right: bool) -> &'static str {
    if is_right { "right" } else { "wrong" }
}

fn name(action: u32) -> &'static str {
    [Action::Tx, Action::Pass, Action::Drop]
        .into_iter()
        .zip(["TX", "PASS", "DROP"])
        .find(|(known, _)| code(*known) == action)
        .map_or("another", |(_, name)| name)
}

/// Fields that are not the same. If the verdict is not, nothing else can be.
pub(crate) fn different(peer: &Fields, ours: &Fields) -> BTreeSet<&'static str> {
    if peer["verdict"] != ours["verdict"] {
        return BTreeSet::from(["verdict"]);
    }
    peer.keys().chain(ours.keys()).filter(|field| peer.get(*field) != ours.get(*field)).copied().collect()
}

#[cfg(test)]
mod tests {
    use lb_tests::packet::{ACK, Packet, spoil};

    use super::*;

    const TX: u32 = code(Action::Tx);

    fn vip() -> Vip {
        let real = |number| IpAddr::from([10, 0, 0, number]);
        Vip { address: "10.200.1.1".to_owned(), port: 80, proto: "tcp".to_owned(), reals: vec![real(1), real(2)] }
    }

    fn inner(port: u16) -> Vec<u8> {
        Packet::v4("192.0.2.7", "10.200.1.1").tcp(port, 80, ACK).payload(b"data").build()
    }

    fn gue(real: &str, inner: &[u8]) -> Vec<u8> {
        Packet::v4("172.16.0.9", real).fragment_word(0).udp(50_000, 9886).payload(&inner[ETHERNET..]).build()
    }

    /// A frame with any one bit changed is seen to be another, if only by its checksum; one to another real is not.
    #[test]
    fn every_byte_matters() {
        let (vips, inner) = ([vip()], inner(4000));
        let good = gue("10.0.0.1", &inner);
        let expected = Side::new(&vips).describe(&inner, TX, &good);
        for at in 0..good.len() {
            let spoilt = Side::new(&vips).describe(&inner, TX, &spoil(&good, at, &[good[at] ^ 1]));
            assert!(!different(&expected, &spoilt).is_empty(), "byte {at}");
        }
        let other = Side::new(&vips).describe(&inner, TX, &gue("10.0.0.2", &inner));
        assert_eq!(different(&expected, &other), BTreeSet::new(), "another real of the service");
        let stranger = Side::new(&vips).describe(&inner, TX, &gue("10.0.0.3", &inner));
        assert_eq!(different(&expected, &stranger), BTreeSet::from(["destination"]));
        let passed = Side::new(&vips).describe(&inner, code(Action::Pass), &inner);
        assert_eq!(different(&expected, &passed), BTreeSet::from(["verdict"]));
    }

    #[test]
    fn a_flow_that_moves_is_seen() {
        let vips = [vip()];
        let mut side = Side::new(&vips);
        let ways: Vec<String> = [("10.0.0.1", 4000), ("10.0.0.1", 4000), ("10.0.0.2", 4001), ("10.0.0.2", 4000)]
            .map(|(real, port)| side.describe(&inner(port), TX, &gue(real, &inner(port)))["way of the flow"].clone())
            .to_vec();
        assert_eq!(ways, ["first packet", "as before", "first packet", "moved"]);
    }
}
