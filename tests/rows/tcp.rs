//! A connection's life as IPVS's INPUT_ONLY table has it, with the counts of active and inactive connections.

use lb_common::abi::connection::State;
use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, direct};
use lb_tests::packet::{ACK, FIN, Packet, RST, SYN};

use super::{CLIENT, CLIENT6, VIP, VIP6, standard};

const PSH: u8 = 0x08;
const ACTIVE: (u32, u32) = (1, 0);
const INACTIVE: (u32, u32) = (0, 1);

/// Sends one flow's packets and checks state and counts after each.
fn walk(director: &mut Director, packet: &Packet, key: &str, real: &str, steps: &[(u8, State)]) {
    let (key, real) = (key.parse().unwrap(), real.parse().unwrap());
    for (step, (flags, state)) in steps.iter().enumerate() {
        let port = 80;
        let sent = director.send(&packet.clone().tcp(4000, port, *flags).build());
        assert_eq!(sent.verdict, Direct, "step {step}");
        assert_eq!(
            director.connections().iter().map(|(_, state)| *state).collect::<Vec<_>>(),
            [*state],
            "step {step}, flags {flags:#x}"
        );
        let load = if *state == State::Established { ACTIVE } else { INACTIVE };
        assert_eq!(director.load(&key, real), load, "step {step}");
    }
}

/// What a packet with these flags makes of a state: rows `syn`, `fin`, `ack` and `rst` of the table, for the states that a director
/// can reach which sees the client's half only. A bare SYN in TIME_WAIT and CLOSE begins a new connection, as `conn_reuse_mode` 1.
const TABLE: [(State, &[u8], [State; 4]); 5] = {
    use State::{Close as CL, Established as ES, FinWait as FW, SynRecv as SR, TimeWait as TW};
    [
        (SR, &[SYN], [SR, TW, ES, SR]),
        (ES, &[SYN, ACK], [ES, FW, ES, CL]),
        (FW, &[SYN, ACK, FIN | ACK], [SR, FW, FW, CL]),
        (TW, &[SYN, FIN], [SR, TW, TW, CL]),
        (CL, &[SYN, ACK, RST], [SR, CL, CL, CL]),
    ]
};

#[test]
fn every_state_that_can_be_reached_against_every_flag() {
    let mut director = standard();
    for (from, way, next) in TABLE {
        for (flags, to) in [SYN, FIN, ACK, RST].into_iter().zip(next) {
            for (packet, key, real) in [
                (Packet::v4(CLIENT, VIP), "tcp://10.0.0.100:80", "10.0.1.1:80"),
                (Packet::v6(CLIENT6, VIP6), "tcp://[fd00::100]:80", "[fd00::1:1]:80"),
            ] {
                director.forget();
                for flags in way {
                    assert_eq!(director.send(&packet.clone().tcp(4000, 80, *flags).build()).verdict, Direct);
                }
                assert_eq!(director.connections()[0].1, from);
                walk(&mut director, &packet, key, real, &[(flags, to)]);
            }
        }
    }
}

#[test]
fn from_handshake_to_close() {
    use State::{Close, Established, FinWait, SynRecv};
    let mut director = standard();
    let steps = [
        (SYN, SynRecv),
        (SYN, SynRecv),
        (ACK, Established),
        (ACK | PSH, Established),
        (ACK, Established),
        (0, Established),
        (PSH, Established),
        (FIN | ACK, FinWait),
        (ACK, FinWait),
        (RST | ACK, Close),
        (ACK, Close),
    ];
    walk(&mut director, &Packet::v4(CLIENT, VIP), "tcp://10.0.0.100:80", "10.0.1.1:80", &steps);
}

#[test]
fn flags_that_contradict_each_other_go_by_ipvs_precedence() {
    let mut director = standard();
    let all = |director: &mut Director, flags| {
        director.send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, flags).build());
        director.connections()[0].1
    };
    assert_eq!(
        all(&mut director, SYN | ACK),
        State::SynRecv,
        "a SYN with ACK begins a connection too: only RST forbids it"
    );
    assert_eq!(all(&mut director, ACK), State::Established);
    assert_eq!(all(&mut director, SYN | FIN | ACK), State::Established, "SYN before FIN");
    assert_eq!(all(&mut director, FIN | ACK), State::FinWait, "FIN before ACK");
    assert_eq!(all(&mut director, SYN | FIN), State::SynRecv);
    assert_eq!(all(&mut director, FIN), State::TimeWait);
    assert_eq!(all(&mut director, SYN | ACK), State::SynRecv, "not a bare SYN: no new connection, the table's own row");
    assert_eq!(all(&mut director, ACK), State::Established);
    assert_eq!(all(&mut director, RST | SYN | FIN | ACK), State::Close, "RST before everything");
}

/// A client that uses its port again after the old connection ended is scheduled anew, and counts move with it.
#[test]
fn a_port_used_again_is_a_new_connection() {
    for end in [vec![SYN, FIN], vec![SYN, ACK, RST]] {
        let mut director = Director::default();
        let reals = [(direct("10.0.1.1:80", 1), 1), (direct("10.0.1.2:80", 2), 1)];
        let key = director.service("tcp://10.0.0.100:80", RR, 0, &reals);
        let (first, second) = ("10.0.1.1:80".parse().unwrap(), "10.0.1.2:80".parse().unwrap());
        let packet = |flags| Packet::v4(CLIENT, VIP).tcp(4000, 80, flags).build();
        for flags in &end {
            assert_eq!(director.send(&packet(*flags)).real, Some(first));
        }
        assert_eq!((director.load(&key, first), director.load(&key, second)), (INACTIVE, (0, 0)));
        let sent = director.send(&packet(SYN));
        assert!(sent.is_new && sent.real == Some(second), "after {end:?}: {sent:?}");
        assert_eq!((director.load(&key, first), director.load(&key, second)), ((0, 0), INACTIVE));
        assert_eq!(director.connections().len(), 1);
        assert_eq!(director.send(&packet(ACK)).real, Some(second));
        assert_eq!((director.load(&key, first), director.load(&key, second)), ((0, 0), ACTIVE));
    }
}

/// Neither a SYN that is sent twice nor one inside an open connection moves the flow.
#[test]
fn a_repeated_syn_stays_with_its_real() {
    let mut director = Director::default();
    let reals = [(direct("10.0.1.1:80", 1), 1), (direct("10.0.1.2:80", 2), 1)];
    director.service("tcp://10.0.0.100:80", RR, 0, &reals);
    let packet = |flags| Packet::v4(CLIENT, VIP).tcp(4000, 80, flags).build();
    for flags in [SYN, SYN, ACK, SYN, FIN | ACK, ACK, SYN | ACK] {
        assert_eq!(director.send(&packet(flags)).real, Some("10.0.1.1:80".parse().unwrap()));
    }
}
