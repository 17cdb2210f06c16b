//! Single packets: headers, options, lengths, what is refused.

use etherparse::PacketBuilder;
use lb_common::abi::verdict::Verdict;
use proptest::prelude::*;

use super::super::segment::seal;
use super::*;

#[test]
fn addresses_and_ports_change_and_nothing_else() {
    for translation in [v4(), v6()] {
        for direction in [FromClient, FromReal] {
            let mut wire = Wire::new(translation);
            for tcp in [
                Tcp { seq: 7, flags: SYN, options: vec![2, 4, 5, 180, 4, 2, 1, 1], ..Tcp::default() },
                Tcp { seq: 8, ack: 9, flags: ACK, ..Tcp::default() },
                Tcp {
                    seq: 8,
                    ack: 9,
                    flags: ACK | URG | FIN,
                    urgent: 3,
                    payload: b"NOOP\r".to_vec(),
                    ..Tcp::default()
                },
                Tcp {
                    seq: 8,
                    ack: 9,
                    flags: RST,
                    options: vec![5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 253, 1],
                    ..Tcp::default()
                },
            ] {
                let (seen, output) = wire.pass(direction, &tcp);
                assert_eq!(seen, tcp);
                assert_eq!((output.opened, output.closed, output.notices), (vec![], vec![], vec![]));
            }
        }
    }
}

#[test]
fn options_of_ip_and_padding_of_ethernet() {
    for (translation, options) in [(v4(), &[0x94, 4, 0, 0][..]), (v6(), &[1, 4, 0, 0, 0, 0])] {
        let [(source, destination), (new_source, _)] = translation.ends(FromReal);
        let build = |source, text: &str, seq| {
            between(ip(source, destination.ip(), options), 21, destination.port(), &data(seq, 0, text))
        };
        let mut padded = build(source.ip(), "220 Hello\r\n", 1);
        padded.extend([0xee; 3]);
        let mut ftp = Ftp::new(Limits::default());
        let output = ftp.packet(Instant::now(), &translation, FromReal, &padded, MTU).unwrap();
        assert_eq!(output.packets, [build(new_source.ip(), "220 Hello\r\n", 1)]);
    }
    // And with a text that grows.
    let mut wire = Wire::new(v4());
    wire.client(1, "PASV\r\n");
    let [(real, client), (vip, _)] = v4().ends(FromReal);
    let build = |source, text| between(ip(source, client.ip(), &[0x94, 4, 0, 0]), 21, 4000, &data(1, 0, text));
    let output = wire.ftp.packet(wire.now, &v4(), FromReal, &build(real.ip(), PASSIVE), MTU).unwrap();
    assert_eq!(output.packets, [build(vip.ip(), PASSIVE_VIP)]);
}

#[test]
fn what_lies_or_is_of_others_is_refused() {
    let good = packet(&v4(), FromClient, &data(1, 1, "NOOP\r\n"));
    let refused = |bytes: &[u8], translation: Translation, direction, mtu| {
        let mut ftp = Ftp::new(Limits::default());
        let refused = ftp.packet(Instant::now(), &translation, direction, bytes, mtu).unwrap_err();
        assert_eq!(ftp.controls(), 0, "{refused}");
        refused
    };
    let spoilt = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        refused(&bytes, v4(), FromClient, MTU)
    };
    assert_eq!(refused(&[], v4(), FromClient, MTU), Refused::Header(Verdict::BadHeader));
    assert_eq!(refused(&good[..19], v4(), FromClient, MTU), Refused::Header(Verdict::Truncated));
    assert_eq!(refused(&good[..45], v4(), FromClient, MTU), Refused::Header(Verdict::BadHeader));
    assert_eq!(spoilt(0, 0x44), Refused::Header(Verdict::BadHeader));
    assert_eq!(spoilt(3, 0xff), Refused::Header(Verdict::BadHeader));
    assert_eq!(spoilt(32, 0x40), Refused::Header(Verdict::BadHeader), "TCP header of 16 bytes");
    assert_eq!(spoilt(32, 0xf0), Refused::Header(Verdict::BadHeader), "TCP header beyond the packet");
    assert_eq!(spoilt(8, 1), Refused::Checksum, "TTL, so the header's sum");
    assert_eq!(spoilt(44, b'X'), Refused::Checksum, "a byte of the text");
    assert_eq!(spoilt(6, 0x20), Refused::NotTcp, "a fragment");
    assert_eq!(spoilt(9, 1), Refused::NotTcp, "ICMP");
    assert_eq!(spoilt(9, 47), Refused::NotTcp, "GRE");
    let [(client, vip), _] = v4().ends(FromClient);
    let mut udp = Vec::new();
    let builder = PacketBuilder::ip(ip(client.ip(), vip.ip(), &[])).udp(client.port(), vip.port());
    builder.write(&mut udp, b"NOOP\r\n").unwrap();
    assert_eq!(refused(&udp, v4(), FromClient, MTU), Refused::NotTcp);
    assert_eq!(refused(&good, v4(), FromReal, MTU), Refused::OtherFlow);
    assert_eq!(refused(&good, v6(), FromClient, MTU), Refused::OtherFlow);
    let neighbour = translation("192.0.2.7:4001", "198.51.100.100:21", "10.0.0.11:21");
    assert_eq!(refused(&good, neighbour, FromClient, MTU), Refused::OtherFlow);
    assert_eq!(refused(&good, v4(), FromClient, 45), Refused::TooLong { length: 46, mtu: 45 });
}

#[test]
fn a_reply_that_outgrows_the_mtu_becomes_two() {
    for extra in 0..8 {
        let mut wire = Wire::new(v4());
        wire.client(1, "PASV\r\n");
        // 40 bytes of headers, so that the packet comes with 1500 - extra.
        let before = "x".repeat(MTU as usize - 40 - extra - PASSIVE.len() - 2) + "\r\n";
        let whole = format!("{before}{PASSIVE}");
        let tcp = Tcp { flags: ACK | PSH | FIN | URG, urgent: 5, ..data(u32::MAX - 700, 9, &whole) };
        let output = wire.send(FromReal, &tcp).unwrap();
        let pieces: Vec<_> = output.packets.iter().map(|packet| read(packet).2).collect();
        let expected = format!("{before}{PASSIVE_VIP}").into_bytes();
        assert_eq!(pieces.iter().map(|piece| &piece.payload[..]).collect::<Vec<_>>().concat(), expected);
        if extra >= GROWTH as usize {
            assert_eq!((pieces.len(), pieces[0].flags), (1, tcp.flags));
            continue;
        }
        assert_eq!(pieces.len(), 2);
        assert_eq!(output.packets[0].len(), MTU as usize);
        assert_eq!(pieces[0].payload.len() as u32, pieces[1].seq.wrapping_sub(tcp.seq));
        assert_eq!((pieces[0].seq, pieces[0].ack, pieces[1].ack, pieces[0].urgent), (tcp.seq, 9, 9, 5));
        assert_eq!((pieces[0].flags, pieces[1].flags), (ACK | URG, ACK | PSH | FIN));
        assert_ne!(output.packets[0][4..6], output.packets[1][4..6], "identification");
        assert_eq!(wire.send(FromReal, &tcp).unwrap().packets, output.packets, "sent again");
    }
}

#[test]
fn selective_acknowledgements_are_moved_back() {
    let mut wire = Wire::new(v4());
    wire.passive(1, 1000);
    let text = 1000 + PASSIVE.find("10,").unwrap() as u32;
    let end = 1000 + PASSIVE.len() as u32;
    let block = |left: u32, right: u32| [left.to_be_bytes(), right.to_be_bytes()].concat();
    let option = |blocks: &[(u32, u32)]| {
        let length = 2 + 8 * blocks.len() as u8;
        let mut option = vec![1, 1, 5, length];
        option.extend(blocks.iter().flat_map(|&(left, right)| block(left, right)));
        option
    };
    let mut seen = |options: Vec<u8>| {
        let tcp = Tcp { seq: 7, ack: 1000, flags: ACK, options, ..Tcp::default() };
        let (seen, _) = wire.pass(FromClient, &tcp);
        assert_eq!(seen.ack, 1000);
        seen.options
    };
    assert_eq!(
        seen(option(&[(900, 1000), (1000, end + GROWTH), (end + GROWTH, end + GROWTH + 50)])),
        option(&[(900, 1000), (1000, end), (end, end + 50)])
    );
    // Inside the new text there is nothing whole of the old one to acknowledge.
    let last = text + "198,51,100,100,195,80".len() as u32;
    let mut left = option(&[(900, 950)]);
    left.extend([1; 8]);
    assert_eq!(seen(option(&[(last - 2, last - 1), (900, 950)])), left);
    assert_eq!(seen(option(&[(last - 2, last - 1)])), [1; 12]);
    // What is no SACK option, or lies about its length, stays.
    for other in [
        vec![5, 9, 0, 0, 4, 100, 0, 0, 4, 200, 1, 1],
        vec![8, 10, 0, 0, 4, 100, 0, 0, 4, 200, 5, 200],
        vec![0, 5, 10, 1],
    ] {
        assert_eq!(seen(other.clone()), other);
    }
}

#[test]
fn numbers_without_their_flag_stay_and_the_urgent_pointer_moves() {
    let mut wire = Wire::new(v4());
    wire.passive(1, 1000);
    let end = 1000 + PASSIVE.len() as u32;
    for (flags, ack) in [(RST, end + GROWTH), (RST | ACK, end)] {
        let (seen, _) = wire.pass(FromClient, &Tcp { seq: 90, ack: end + GROWTH, flags, ..Tcp::default() });
        assert_eq!(seen.ack, ack);
    }
    let urgent = |flags| Tcp { flags: ACK | flags, urgent: PASSIVE.len() as u16, ..data(1000, 0, PASSIVE) };
    assert_eq!(wire.pass(FromReal, &urgent(URG)).0.urgent, PASSIVE_VIP.len() as u16);
    assert_eq!(wire.pass(FromReal, &urgent(0)).0.urgent, PASSIVE.len() as u16);
}

/// Bytes that look like a packet of the connection, in part.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let text = prop::collection::vec(prop::sample::select(b"PASV\r\n2279 (|10,EPR.".to_vec()), 0..60);
    let options = prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 5, 10, 18, 255]), 0..10);
    (any::<[bool; 3]>(), any::<u32>(), text, options, changes, 0usize..200).prop_map(
        |([is_v4, is_client, spoil], seq, payload, options, changes, cut)| {
            let (translation, direction) =
                (if is_v4 { v4() } else { v6() }, if is_client { FromClient } else { FromReal });
            let options = options.repeat(4);
            let options = options[..options.len().min(40)].to_vec();
            let tcp = Tcp { seq, ack: seq, flags: ACK | URG, urgent: 9, options, payload };
            let mut bytes = packet(&translation, direction, &tcp);
            if spoil {
                for (at, byte) in changes {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                bytes.truncate(bytes.len().saturating_sub(cut % 40));
                // Half of them with checksums that are right, or hardly any would get farther.
                let transport = if bytes.first().is_some_and(|byte| byte >> 4 == 4) { 20 } else { 40 };
                if cut >= 100 && bytes.len() >= transport + 20 {
                    seal(&mut bytes, transport);
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        packets in prop::collection::vec(hostile(), 1..12),
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        mtu: u16,
    ) {
        for translation in [v4(), v6()] {
            let (mut ftp, now) = (Ftp::new(Limits::default()), Instant::now());
            for packet in packets.iter().chain([&bytes]) {
                for direction in [FromClient, FromReal] {
                    for mtu in [mtu, MTU] {
                        let Ok(output) = ftp.packet(now, &translation, direction, packet, mtu) else { continue };
                        for packet in output.packets {
                            prop_assert!(packet.len() <= mtu.into());
                            read(&packet);
                        }
                    }
                }
            }
        }
    }
}
