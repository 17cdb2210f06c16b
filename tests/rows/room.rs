//! Connections that move between their buckets to make room for others: each keeps its real, and its answers their way back.

use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Options, direct};
use lb_tests::packet::{ACK, Packet, SYN};
use lb_tests::translated::answer;

use super::nat::SIDES;
use super::{CLIENT, CLIENT6, VIP, VIP6};

/// 64 first buckets and as many behind them: 512 places.
const BUCKETS: u32 = 128;
/// Nine of ten places. Without moving, one flow in four of these would find no room.
const FLOWS: u16 = 460;

fn packet(is_v6: bool, port: u16, flags: u8) -> Vec<u8> {
    let packet = if is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) };
    packet.tcp(port, 80, flags).build()
}

#[test]
fn nine_of_ten_places_can_be_taken_and_all_keep_their_real() {
    for (is_v6, service) in [(false, "tcp://10.0.0.100:80"), (true, "tcp://[fd00::100]:80")] {
        let mut director = Director::new(Options { buckets: BUCKETS, ..Options::default() });
        let reals: Vec<_> = (1..=5u8)
            .map(|number| {
                let at = if is_v6 { format!("[fd00::1:{number}]:80") } else { format!("10.0.1.{number}:80") };
                (direct(&at, number), 1)
            })
            .collect();
        director.service(service, RR, 0, &reals);
        let chosen: Vec<_> = (0..FLOWS)
            .map(|flow| {
                let sent = director.send(&packet(is_v6, 4000 + flow, SYN));
                assert_eq!((sent.verdict, sent.is_new), (Direct, true), "flow {flow}");
                director.send(&packet(is_v6, 4000 + flow, ACK));
                sent.real
            })
            .collect();
        for (flow, real) in (0..).zip(chosen) {
            let sent = director.send(&packet(is_v6, 4000 + flow, ACK));
            assert_eq!((sent.verdict, sent.is_new, sent.real), (Direct, false, real), "flow {flow}");
        }
        assert_eq!(director.connections().len(), usize::from(FLOWS));
        assert!(director.tables.audit_loads().is_empty());
    }
}

/// Behind translation the reply record has the number of the connection's place.
#[test]
fn answers_find_a_connection_that_has_moved() {
    for side in [&SIDES[0], &SIDES[5]] {
        let mut director = side.director(Options { buckets: BUCKETS, reply_buckets: 128, ..Options::default() });
        let ends = lb_tests::translated::ends(&side.packet(SYN).build());
        let packet = |port, flags| Packet::new(ends.source.ip(), ends.destination.ip()).tcp(port, 80, flags).build();
        let at_real: Vec<_> = (0..FLOWS)
            .map(|flow| {
                let sent = director.send(&packet(4000 + flow, SYN));
                assert_eq!((sent.verdict, sent.is_new), (Nat, true), "flow {flow}");
                director.send(&packet(4000 + flow, ACK));
                sent.frame
            })
            .collect();
        for (flow, at_real) in (0..).zip(&at_real) {
            let sent = director.send(&answer(at_real, ACK).build());
            assert_eq!(sent.verdict, Reply, "flow {flow}");
            let to_client = lb_tests::translated::ends(&sent.frame);
            assert_eq!((to_client.destination.port(), to_client.source), (4000 + flow, ends.destination));
            assert_eq!(director.send(&packet(4000 + flow, ACK)).verdict, Nat, "flow {flow}");
        }
    }
}
