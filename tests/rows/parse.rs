//! Headers: every branch of the parsers, with frames that end early and lengths that lie.

use lb_common::abi::verdict::Verdict::*;
use lb_tests::packet::{ACK, Packet, SYN, cut, spoil};
use lb_tests::row::{row, run};

use super::{CLIENT, CLIENT6, VIP, VIP6, standard};

fn syn4() -> Packet {
    Packet::v4(CLIENT, VIP).tcp(4000, 80, SYN)
}

fn syn6() -> Packet {
    Packet::v6(CLIENT6, VIP6).tcp(4000, 80, SYN)
}

#[test]
fn ipv4() {
    let mut director = standard();
    let syn = syn4().build();
    let udp = Packet::v4(CLIENT, VIP).udp(4000, 53).payload(b"question").build();
    let padded = [&syn[..], &[0; 6]].concat();
    let icmp = Packet::v4(CLIENT, VIP).icmp(8, 0).build();
    let mut rows = vec![
        row("a plain SYN", syn.clone(), Direct),
        row("the same, padded to Ethernet's least length", padded.clone(), Direct),
        row("options, 4 bytes", syn4().options(&[1, 1, 1, 0]).build(), Direct),
        row("options, 40 bytes: IHL 15", syn4().options(&[1; 40]).build(), Direct),
        row("IHL 4", spoil(&syn, 14, &[0x44]), BadHeader),
        row("IHL 0", spoil(&syn, 14, &[0x40]), BadHeader),
        row("IHL 6 in a packet that has no room for it", spoil(&syn, 14, &[0x4f]), BadHeader),
        row("version 6 under IPv4's EtherType", spoil(&syn, 14, &[0x65]), BadHeader),
        row("version 5", spoil(&syn, 14, &[0x55]), BadHeader),
        row("version 0", spoil(&syn, 14, &[0x00]), BadHeader),
        row("total length 0 (as offloads leave it)", spoil(&syn, 16, &[0, 0]), BadHeader),
        row("total length below the header's", spoil(&syn, 16, &[0, 19]), BadHeader),
        row(
            "total length below the header's with options",
            spoil(&syn4().options(&[1; 8]).build(), 16, &[0, 27]),
            BadHeader,
        ),
        row("total length one beyond the frame", spoil(&syn, 16, &[0, 41]), BadHeader),
        row("total length 65535", spoil(&syn, 16, &[0xff, 0xff]), BadHeader),
        row("total length ends inside the TCP header, padding behind", spoil(&padded, 16, &[0, 39]), BadHeader),
        row(
            "total length ends inside the TCP header, and the frame too",
            cut(&spoil(&syn, 16, &[0, 39]), 53),
            Truncated,
        ),
        row("only an IP header", cut(&spoil(&syn, 16, &[0, 20]), 34), Truncated),
        row("TCP data offset 4", spoil(&syn, 14 + 20 + 12, &[0x40]), BadHeader),
        row("TCP data offset 0", spoil(&syn, 14 + 20 + 12, &[0x00]), BadHeader),
        row("TCP data offset beyond the packet", spoil(&syn, 14 + 20 + 12, &[0x60]), BadHeader),
        row("TCP data offset beyond the packet, into padding", spoil(&padded, 14 + 20 + 12, &[0x60]), BadHeader),
        row("TCP options", syn4().tcp_options(&[2, 4, 5, 0xb4]).build(), Direct),
        row("TCP options, 40 bytes", syn4().tcp_options(&[1; 40]).build(), Direct),
        row("UDP", udp.clone(), Direct),
        row("UDP length 0", spoil(&udp, 14 + 20 + 4, &[0, 0]), BadHeader),
        row("UDP length 7", spoil(&udp, 14 + 20 + 4, &[0, 7]), BadHeader),
        row("UDP length one beyond the packet", spoil(&udp, 14 + 20 + 4, &[0, 17]), BadHeader),
        row("UDP length shorter than the packet", spoil(&udp, 14 + 20 + 4, &[0, 15]), Direct),
        row("UDP without data", Packet::v4(CLIENT, VIP).udp(4000, 53).build(), Direct),
        row("UDP header cut by total length and frame", cut(&spoil(&udp, 16, &[0, 27]), 41), Truncated),
        row("ICMP echo", icmp.clone(), NotTransport),
        row("ICMP cut", cut(&spoil(&icmp, 16, &[0, 27]), 41), Truncated),
        row("IPIP", Packet::v4(CLIENT, VIP).raw(4, &syn[14..]).build(), NotTransport),
        row("DCCP", Packet::v4(CLIENT, VIP).raw(33, &[0; 16]).build(), NotTransport),
        row(
            "protocol 0, which marks VIPs in the service table",
            Packet::v4(CLIENT, VIP).raw(0, &[0; 16]).build(),
            NotTransport,
        ),
        row("ESP", Packet::v4(CLIENT, VIP).raw(50, &[0; 16]).build(), NotTransport),
        row("a wrong header checksum is the real's business", spoil(&syn, 24, &[0xde, 0xad]), Direct),
        row("TTL 0 is the real's business", syn4().ttl(0).build(), Direct),
    ];
    for length in 14..34 {
        rows.push(row("IP header cut", cut(&syn, length), Truncated));
    }
    for length in 34..54 {
        rows.push(row("frame shorter than the packet", cut(&syn, length), BadHeader));
    }
    run(&mut director, &rows);
}

#[test]
fn ipv6() {
    let mut director = standard();
    let syn = syn6().build();
    let udp = Packet::v6(CLIENT6, VIP6).udp(4000, 53).payload(b"question").build();
    let padded = [&syn[..], &[0; 6]].concat();
    let icmp = Packet::v6(CLIENT6, VIP6).icmp(128, 0).build();
    let mut rows = vec![
        row("a plain SYN", syn.clone(), Direct),
        row("padding behind", padded.clone(), Direct),
        row("version 4 under IPv6's EtherType", spoil(&syn, 14, &[0x45]), BadHeader),
        row("version 7", spoil(&syn, 14, &[0x70]), BadHeader),
        row("payload length 0 (a jumbogram's)", spoil(&syn, 18, &[0, 0]), BadHeader),
        row("payload length one beyond the frame", spoil(&syn, 18, &[0, 21]), BadHeader),
        row("payload length 65535", spoil(&syn, 18, &[0xff, 0xff]), BadHeader),
        row("payload length ends inside the TCP header, padding behind", spoil(&padded, 18, &[0, 19]), BadHeader),
        row(
            "payload length ends inside the TCP header, and the frame too",
            cut(&spoil(&syn, 18, &[0, 19]), 73),
            Truncated,
        ),
        row("TCP data offset 4", spoil(&syn, 14 + 40 + 12, &[0x40]), BadHeader),
        row("TCP data offset beyond the packet", spoil(&syn, 14 + 40 + 12, &[0xf0]), BadHeader),
        row("UDP", udp.clone(), Direct),
        row("UDP length 7", spoil(&udp, 14 + 40 + 4, &[0, 7]), BadHeader),
        row("UDP length beyond the packet", spoil(&udp, 14 + 40 + 4, &[0, 17]), BadHeader),
        row("UDP header cut by payload length and frame", cut(&spoil(&udp, 18, &[0, 7]), 61), Truncated),
        row("echo request", icmp.clone(), NotTransport),
        row("neighbour solicitation", Packet::v6(CLIENT6, VIP6).icmp(135, 0).build(), NotTransport),
        row("ICMPv6 cut", cut(&spoil(&icmp, 18, &[0, 7]), 61), Truncated),
        row("no next header", Packet::v6(CLIENT6, VIP6).raw(59, &[]).build(), NotTransport),
        row("ESP", Packet::v6(CLIENT6, VIP6).raw(50, &[0; 16]).build(), NotTransport),
        row("IPv4's ICMP inside IPv6", Packet::v6(CLIENT6, VIP6).raw(1, &[3; 16]).build(), NotTransport),
    ];
    for length in 14..54 {
        rows.push(row("IP header cut", cut(&syn, length), Truncated));
    }
    for length in 54..74 {
        rows.push(row("frame shorter than the packet", cut(&syn, length), BadHeader));
    }
    run(&mut director, &rows);
}

/// Without the next-header byte: length in eights less one, and padding.
const EIGHT: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];
const SIXTEEN: [u8; 15] = [1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn ipv6_extension_headers() {
    let mut director = standard();
    let kinds = [
        (0, "hop by hop"),
        (43, "routing"),
        (60, "destination options"),
        (135, "mobility"),
        (139, "host identity"),
        (140, "shim6"),
    ];
    let mut rows = Vec::new();
    for (kind, name) in kinds {
        rows.push(row(name, syn6().extension(kind, &EIGHT).build(), Direct));
        rows.push(row(name, syn6().extension(kind, &SIXTEEN).build(), Direct));
        let one = syn6().extension(kind, &EIGHT).build();
        rows.push(row("length beyond the packet", spoil(&one, 14 + 41, &[9]), BadHeader));
        rows.push(row("length 255", spoil(&one, 14 + 41, &[255]), BadHeader));
        rows.push(row("header cut, as payload length has it", cut(&spoil(&one, 18, &[0, 7]), 61), Truncated));
    }
    let authentication = [&[4][..], &[0; 22]].concat();
    let chain = |count: usize| (0..count).fold(syn6(), |packet, _| packet.extension(60, &EIGHT));
    let atomic = [0, 0, 0, 0, 0, 0, 7];
    rows.extend([
        row("authentication, in units of four", syn6().extension(51, &authentication).build(), Direct),
        row("authentication of 8 bytes", syn6().extension(51, &[0; 7]).build(), Direct),
        row(
            "a chain of each kind",
            syn6()
                .extension(0, &EIGHT)
                .extension(60, &SIXTEEN)
                .extension(43, &EIGHT)
                .extension(51, &authentication)
                .extension(60, &EIGHT)
                .build(),
            Direct,
        ),
        row("seven headers", chain(7).build(), Direct),
        row("eight headers", chain(8).build(), TooManyHeaders),
        row("twenty headers", chain(20).build(), TooManyHeaders),
        row(
            "a header that leads to ESP",
            Packet::v6(CLIENT6, VIP6).extension(60, &EIGHT).raw(50, &[0; 16]).build(),
            NotTransport,
        ),
        row(
            "a header that leads to an echo request",
            Packet::v6(CLIENT6, VIP6).extension(0, &EIGHT).icmp(128, 0).build(),
            NotTransport,
        ),
        row("UDP behind a header", Packet::v6(CLIENT6, VIP6).extension(60, &EIGHT).udp(4000, 53).build(), Direct),
        row(
            "UDP whose length reaches into the header",
            spoil(&Packet::v6(CLIENT6, VIP6).extension(60, &EIGHT).udp(4000, 53).build(), 14 + 48 + 4, &[0, 9]),
            BadHeader,
        ),
        row("RFC 6946: an atomic fragment is a whole packet", syn6().extension(44, &atomic).build(), Direct),
        row("an atomic fragment behind options", syn6().extension(60, &EIGHT).extension(44, &atomic).build(), Direct),
        row("options behind an atomic fragment", syn6().extension(44, &atomic).extension(60, &EIGHT).build(), Direct),
        row(
            "reserved bits of a fragment header say nothing",
            syn6().extension(44, &[0xff, 0, 6, 0, 0, 0, 7]).build(),
            Direct,
        ),
        row(
            "no next header behind options",
            Packet::v6(CLIENT6, VIP6).extension(60, &EIGHT).raw(59, &[]).build(),
            NotTransport,
        ),
        row(
            "the last header fills the packet, nothing behind",
            cut(&spoil(&syn6().extension(60, &EIGHT).build(), 18, &[0, 8]), 62),
            Truncated,
        ),
    ]);
    run(&mut director, &rows);
}

#[test]
fn other_ethertypes() {
    let mut director = standard();
    let frame = |ethertype: u16, rest: usize| {
        let mut frame = syn4().build()[..12].to_vec();
        frame.extend(ethertype.to_be_bytes());
        frame.resize(14 + rest, 0);
        frame
    };
    let syn = syn4().tcp(4000, 80, ACK).build();
    run(
        &mut director,
        &[
            row("ARP", frame(0x0806, 28), NotIp),
            row("ARP, nothing behind the header", frame(0x0806, 0), NotIp),
            row("LLDP", frame(0x88cc, 46), NotIp),
            row("MPLS", frame(0x8847, 46), NotIp),
            row("PPPoE", frame(0x8864, 46), NotIp),
            row("802.3 length instead of a type", frame(0x0026, 38), NotIp),
            row("old QinQ type 0x9100 is not read", spoil(&syn, 12, &[0x91, 0x00]), NotIp),
            row("IPv4, nothing behind", frame(0x0800, 0), Truncated),
            row("IPv6, nothing behind", frame(0x86dd, 0), Truncated),
            row("a tag's type, nothing behind", frame(0x8100, 0), Truncated),
            row("half a tag", frame(0x8100, 3), Truncated),
        ],
    );
}
