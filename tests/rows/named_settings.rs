//! What IPVS has as sysctls, and timeouts of single services.

use lb_common::abi::connection::State;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::configured::spec;
use lb_tests::director::Director;
use lb_tests::packet::{ACK, FIN, Packet, RST, SYN, chunk};

use super::templates::{file, real};
use super::{CLIENT, CLIENT6, VIP, VIP6};

fn packet(is_v6: bool) -> Packet {
    if is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) }
}

fn tcp(is_v6: bool, port: u16, flags: u8) -> Vec<u8> {
    packet(is_v6).tcp(port, 80, flags).build()
}

/// Each service's connections go by its own times, the director's others by the director's.
#[test]
fn timeouts_of_a_service() {
    let text = "[director.timeouts]\ntcp = 100\ntcp_fin = 40\nudp = 60\n\
         [[service]]\naddress = \"10.0.0.100:80\"\ntimeouts = { tcp = 20, tcp_fin = 200 }\n[[service.real]]\naddress = \"10.0.1.1\"\n\
         [[service]]\naddress = \"10.0.0.100:81\"\n[[service.real]]\naddress = \"10.0.1.1\"\n\
         [[service]]\naddress = \"10.0.0.100:53\"\nprotocol = \"udp\"\ntimeouts = { udp = 300 }\n[[service.real]]\naddress = \"10.0.1.1\"\n\
         [[mark]]\nmark = 1\nprotocol = \"udp\"\naddress = \"10.0.0.0/24:9000-9100\"\n\
         [[service]]\nmark = 1\ntimeouts = { udp = 10 }\n[[service.real]]\naddress = \"10.0.1.1\"\n";
    let spec = spec(text);
    let mut director = Director::default();
    director.apply(text);
    // Client ports: 1 open and 2 closing at the service with its own times, 3 and 4 at the other, 5 and 6 UDP.
    for (port, to, flags) in [
        (1, 80, &[SYN, ACK][..]),
        (2, 80, &[SYN, ACK, FIN | ACK]),
        (3, 81, &[SYN, ACK]),
        (4, 81, &[SYN, ACK, FIN | ACK]),
    ] {
        for flags in flags {
            assert_eq!(director.send(&packet(false).tcp(port, to, *flags).build()).verdict, Direct);
        }
    }
    director.send(&packet(false).udp(5, 53).build());
    director.send(&Packet::v4(CLIENT, "10.0.0.7").udp(6, 9050).build());
    let left = |seconds: u32| {
        director.sweep(&spec, seconds);
        let mut ports: Vec<u16> = director.connections().iter().map(|(client, _)| client.port()).collect();
        ports.sort_unstable();
        ports
    };
    // A tick is 1.024 seconds, and times are rounded up to whole ones.
    assert_eq!(left(8), [1, 2, 3, 4, 5, 6]);
    assert_eq!(left(15), [1, 2, 3, 4, 5], "the mark's UDP after 10 seconds");
    assert_eq!(left(25), [2, 3, 4, 5], "TCP of the first after 20");
    assert_eq!(left(45), [2, 3, 5], "a FIN of the second after 40");
    assert_eq!(left(110), [2, 5], "TCP of the second after 100");
    assert_eq!(left(210), [5], "a FIN of the first after 200");
    assert_eq!(left(310), [0u16; 0], "UDP after 300");
}

#[test]
fn sloppy_sctp() {
    let text = |sloppy: bool| {
        format!(
            "[director]\nsloppy_sctp = {sloppy}\n[[service]]\naddress = \"10.0.0.100:3868\"\nprotocol = \"sctp\"\n\
             [[service.real]]\naddress = \"10.0.1.1\"\n"
        )
    };
    let data = |kind: u8| packet(false).sctp(4000, 3868, &[&chunk(kind, &[1; 16])]).build();
    let mut director = Director::default();
    director.apply(&text(false));
    for kind in [0, 3, 6, 7, 10, 11] {
        assert_eq!(director.send(&data(kind)).verdict, MissNotSyn, "chunk {kind}");
    }
    director.apply(&text(true));
    assert_eq!(director.send(&data(6)).verdict, MissNotSyn, "an ABORT begins nothing");
    for kind in [0, 3, 7, 10] {
        let sent = director.send(&data(kind));
        assert_eq!((sent.verdict, sent.is_new), (Direct, true), "chunk {kind}");
        director.forget();
    }
    assert_eq!(director.send(&tcp(false, 4000, ACK)).verdict, NotAService);
}

/// A SYN over a connection that is over: by `conn_reuse_mode` a new one, or the old one's packet.
#[test]
fn conn_reuse_mode() {
    for is_v6 in [false, true] {
        // What leads to the state, and whether a SYN is scheduled anew in modes 0 to 3.
        for (life, state, anew) in [
            (&[SYN, ACK, FIN | ACK][..], State::FinWait, [false, false, true, true]),
            (&[SYN, ACK, RST], State::Close, [false, false, true, true]),
            (&[SYN, ACK], State::Established, [false; 4]),
            (&[SYN], State::SynRecv, [false; 4]),
        ] {
            for (mode, anew) in anew.into_iter().enumerate() {
                let mut director = Director::default();
                director.apply(&format!("[director]\nconn_reuse_mode = {mode}\n{}", file(is_v6, "", &["", ""])));
                let first = life.iter().map(|flags| director.send(&tcp(is_v6, 4000, *flags)).real).next().unwrap();
                life[1..].iter().for_each(|flags| {
                    director.send(&tcp(is_v6, 4000, *flags));
                });
                assert_eq!(director.connections()[0].1, state);
                let again = director.send(&tcp(is_v6, 4000, SYN));
                assert_eq!((again.is_new, again.real != first), (anew, anew), "mode {mode}, {state:?}");
                assert_eq!(director.connections().len(), 1);
            }
        }
    }
}

/// TIME_WAIT is reached where both directions pass: by NAT.
#[test]
fn conn_reuse_mode_in_time_wait() {
    for (mode, anew) in [false, true, true, true].into_iter().enumerate() {
        let mut director = Director::default();
        director
            .apply(&format!("[director]\nconn_reuse_mode = {mode}\n{}", file(false, "method = \"nat\"", &["", ""])));
        let sent = director.send(&tcp(false, 4000, SYN));
        let back =
            |director: &mut Director, flags| director.send(&lb_tests::translated::answer(&sent.frame, flags).build());
        back(&mut director, SYN | ACK);
        director.send(&tcp(false, 4000, ACK));
        director.send(&tcp(false, 4000, FIN | ACK));
        back(&mut director, FIN | ACK);
        director.send(&tcp(false, 4000, ACK));
        assert_eq!(director.connections()[0].1, State::TimeWait);
        assert_eq!(director.send(&tcp(false, 4000, SYN)).is_new, anew, "mode {mode}");
    }
}

/// A real is removed while it has a connection: the connection's packets are dropped, or with `expire_nodest_conn` it is forgotten at once.
#[test]
fn expire_nodest_conn() {
    for is_v6 in [false, true] {
        for expires in [false, true] {
            let with = |text: &str| format!("[director]\nexpire_nodest_conn = {expires}\n{text}");
            let mut director = Director::default();
            director.apply(&with(&file(is_v6, "", &["", ""])));
            let first = director.send(&tcp(is_v6, 4000, SYN)).real.unwrap();
            assert_eq!(first, real(is_v6, 2));
            director.send(&tcp(is_v6, 4000, ACK));
            director.apply(&with(&file(is_v6, "", &[""])));
            let known = director.connections();
            let verdict = director.send(&tcp(is_v6, 4000, ACK)).verdict;
            if expires {
                assert_eq!((verdict, director.connections()), (MissNotSyn, vec![]), "the kernel resets the client");
                let sent = director.send(&tcp(is_v6, 4000, SYN));
                assert_eq!((sent.is_new, sent.real), (true, Some(real(is_v6, 1))));
            } else {
                assert_eq!((verdict, director.connections()), (RealGone, known), "it may come back");
                director.apply(&with(&file(is_v6, "", &["", ""])));
                let sent = director.send(&tcp(is_v6, 4000, ACK));
                assert_eq!((sent.verdict, sent.is_new, sent.real), (Direct, false, Some(first)));
            }
        }
    }
}

/// Schedulers that look at active connections alone see UDP's only with `udp-active`: without it nq finds every real idle.
#[test]
fn udp_active() {
    let text = |flag: &str| {
        format!(
            "[[service]]\naddress = \"10.0.0.100:53\"\nprotocol = \"udp\"\nscheduler = \"ovf\"\n{flag}\n\
             [[service.real]]\naddress = \"10.0.1.1\"\nweight = 2\n[[service.real]]\naddress = \"10.0.1.2\"\nweight = 3\n"
        )
    };
    for (flag, expected) in [("", [0, 6]), ("flags = [\"udp-active\"]", [2, 3])] {
        let mut director = Director::default();
        director.apply(&text(flag));
        for port in 1..=6 {
            director.send(&packet(false).udp(port, 53).build());
        }
        let key = "udp://10.0.0.100:53".parse().unwrap();
        let loads = ["10.0.1.1:53", "10.0.1.2:53"].map(|at| director.load(&key, at.parse().unwrap()));
        assert_eq!(loads.map(|(active, _)| active), [0, 0], "they are counted as inactive all the same");
        assert!(loads[0].1 >= expected[0] && loads[1].1 >= expected[1], "{flag}: {loads:?}");
        assert_eq!(loads[0].1 > 0, !flag.is_empty());
    }
}
