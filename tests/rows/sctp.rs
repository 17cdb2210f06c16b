//! SCTP: an association's life as IPVS's INPUT_ONLY table has it, what begins one, lengths that lie, fragments, ICMP errors, tunnels.

use lb_common::abi::connection::State;
use lb_common::abi::real::Real;
use lb_common::abi::service::scheduler::{MH, RR};
use lb_common::abi::verdict::Verdict::{self, *};
use lb_tests::director::{Director, GRE, GUE, direct, through, tunnel};
use lb_tests::packet::{ACK, Packet, chunk, cut, spoil};
use lb_tests::row::{row, run};

use super::{CLIENT, CLIENT6, VIP, VIP6};

const PORT: u16 = 3868;
const SERVICE: &str = "sctp://10.0.0.100:3868";
const SERVICE6: &str = "sctp://[fd00::100]:3868";

// Chunk types of RFC 9260 section 3.2.
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;
/// FORWARD TSN (RFC 3758): a type above IPVS's table.
const FORWARD_TSN: u8 = 192;

fn packet(is_v6: bool) -> Packet {
    if is_v6 { Packet::v6(CLIENT6, VIP6) } else { Packet::v4(CLIENT, VIP) }
}

/// What the client sends: one chunk.
fn from_client(is_v6: bool, port: u16, kind: u8) -> Vec<u8> {
    packet(is_v6).sctp(port, PORT, &[&chunk(kind, &[0x5a; 17])]).build()
}

/// Two reals of each family's service.
fn director(real: impl Fn(bool, u8) -> Real) -> Director {
    let mut director = Director::default();
    director.service(SERVICE, RR, 0, &[1, 2].map(|n| (real(false, n), 1)));
    director.service(SERVICE6, RR, 0, &[1, 2].map(|n| (real(true, n), 1)));
    director
}

fn direct_to(is_v6: bool, n: u8) -> Real {
    direct(&if is_v6 { format!("[fd00::1:{n}]:{PORT}") } else { format!("10.0.1.{n}:{PORT}") }, n)
}

/// State, and active and inactive connections of both reals.
fn standing(director: &Director, is_v6: bool) -> (Vec<State>, (u32, u32)) {
    let key = if is_v6 { SERVICE6 } else { SERVICE }.parse().unwrap();
    let loads: Vec<_> = [1, 2]
        .map(|n| director.load(&key, lb_userspace::dataplane::identity::endpoint(&direct_to(is_v6, n)).unwrap()))
        .into();
    let states = director.connections().iter().map(|(_, state)| *state).collect();
    (states, (loads[0].0 + loads[1].0, loads[0].1 + loads[1].1))
}

/// Sends one association's packets and checks state and counts after each; all go to one real.
fn walk(director: &mut Director, is_v6: bool, steps: &[(u8, State)]) {
    let mut real = None;
    for (step, (kind, state)) in steps.iter().enumerate() {
        let sent = director.send(&from_client(is_v6, 4000, *kind));
        assert!(sent.verdict.is_forwarded(), "step {step}: {:?}", sent.verdict);
        assert_eq!((sent.real, sent.is_new), (*real.get_or_insert(sent.real), step == 0), "step {step}");
        let load = if *state == State::Established { (1, 0) } else { (0, 1) };
        assert_eq!(standing(director, is_v6), (vec![*state], load), "step {step}, chunk {kind}");
    }
}

#[test]
fn from_init_to_close() {
    use State::{Established, SctpClosed, SctpInit, SctpInit1, SctpShutdownReceived};
    let opened = [
        (INIT, SctpInit1),
        (INIT, SctpInit),
        (COOKIE_ECHO, Established),
        (DATA, Established),
        (SACK, Established),
        (HEARTBEAT, Established),
        (FORWARD_TSN, Established),
        (ERROR, Established),
        (INIT, Established),
        (COOKIE_ECHO, Established),
    ];
    let by_client = [(SHUTDOWN, SctpShutdownReceived), (SACK, SctpShutdownReceived), (SHUTDOWN_COMPLETE, SctpClosed)];
    let by_real = [(SHUTDOWN_ACK, SctpClosed), (SHUTDOWN_ACK, SctpClosed)];
    let aborted = [(ABORT, SctpClosed)];
    for is_v6 in [false, true] {
        for closing in [&by_client[..], &by_real, &aborted] {
            walk(&mut director(direct_to), is_v6, &[&opened[..], closing].concat());
        }
    }
}

/// Lines of the table, for the states that a director can reach which sees the client's half only.
#[test]
fn every_state_that_can_be_reached_against_every_chunk() {
    use State::{
        Established as ES, SctpClosed as CL, SctpCookieEchoed as CE, SctpInit as IN, SctpInit1 as I1,
        SctpShutdownReceived as SR,
    };
    let chunks =
        [DATA, INIT, INIT_ACK, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN, SHUTDOWN_ACK, SHUTDOWN_COMPLETE, ERROR, ABORT];
    let table = [
        (I1, &[INIT][..], [I1, IN, CE, ES, I1, I1, IN, CL, I1, CL]),
        (IN, &[INIT, INIT], [IN, IN, CE, ES, IN, IN, IN, CL, IN, CL]),
        (CE, &[INIT, INIT_ACK], [CE, CE, CE, CE, ES, CE, CE, CE, CE, CL]),
        (ES, &[INIT, COOKIE_ECHO], [ES, ES, ES, ES, ES, SR, CL, ES, ES, CL]),
        (SR, &[INIT, COOKIE_ECHO, SHUTDOWN], [SR, SR, SR, SR, SR, SR, SR, CL, SR, CL]),
        // INIT begins a new association.
        (CL, &[INIT, ABORT], [CL, I1, CL, CL, CL, CL, CL, CL, CL, CL]),
    ];
    let mut director = director(direct_to);
    for (from, way, next) in table {
        for (kind, to) in chunks.into_iter().zip(next) {
            for is_v6 in [false, true] {
                director.forget();
                for kind in way {
                    assert_eq!(director.send(&from_client(is_v6, 4000, *kind)).verdict, Direct);
                }
                assert_eq!(standing(&director, is_v6).0, [from]);
                director.send(&from_client(is_v6, 4000, kind));
                assert_eq!(standing(&director, is_v6).0, [to], "{from:?} and chunk {kind}");
            }
        }
    }
}

/// Only an INIT begins an association, whatever `sloppy_tcp` says; hash schedulers go by the packet alone.
#[test]
fn only_an_init_begins_an_association() {
    let mut sloppy = Director::new(lb_tests::director::Options { sloppy_tcp: true, ..Default::default() });
    sloppy.service(SERVICE, RR, 0, &[(direct_to(false, 1), 1)]);
    let mut hashed = Director::default();
    hashed.service(SERVICE, MH, 0, &[(direct_to(false, 1), 1)]);
    for kind in [DATA, INIT_ACK, SACK, HEARTBEAT, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN, SHUTDOWN_ACK, ERROR, FORWARD_TSN] {
        assert_eq!(director(direct_to).send(&from_client(false, 4000, kind)).verdict, MissNotSyn);
        assert_eq!(sloppy.send(&from_client(false, 4000, kind)).verdict, MissNotSyn);
        assert_eq!(hashed.send(&from_client(false, 5000 + u16::from(kind), kind)).verdict, Direct);
    }
    assert_eq!(sloppy.send(&from_client(false, 4000, ABORT)).verdict, MissNotSyn);
    let known = hashed.connections().len();
    assert_eq!(hashed.send(&from_client(false, 6000, ABORT)).verdict, Direct);
    assert_eq!(hashed.connections().len(), known, "an ABORT leaves no entry");
    assert_eq!(sloppy.send(&from_client(false, 4000, INIT)).verdict, Direct);
}

/// An INIT on a closed association's ports is scheduled anew; inside an open one it is the client's restart, for the same real.
#[test]
fn ports_used_again_are_a_new_association() {
    for is_v6 in [false, true] {
        let mut director = director(direct_to);
        let first = director.send(&from_client(is_v6, 4000, INIT)).real;
        for kind in [COOKIE_ECHO, INIT, SHUTDOWN, INIT, SHUTDOWN_COMPLETE] {
            assert_eq!(director.send(&from_client(is_v6, 4000, kind)).real, first);
        }
        let again = director.send(&from_client(is_v6, 4000, INIT));
        assert!(again.is_new && again.real != first, "{again:?}");
        assert_eq!(standing(&director, is_v6), (vec![State::SctpInit1], (0, 1)));
    }
}

/// A COOKIE ECHO opens, but not one that an ABORT is bundled with.
#[test]
fn an_abort_behind_a_cookie_ends_the_association() {
    for is_v6 in [false, true] {
        for cookie in [0, 1, 3, 4, 100, 1000] {
            let mut director = director(direct_to);
            director.send(&from_client(is_v6, 4000, INIT));
            let chunks = [chunk(COOKIE_ECHO, &vec![6; cookie]), chunk(ABORT, &[])];
            let bundled = packet(is_v6).sctp(4000, PORT, &[&chunks[0], &chunks[1]]).build();
            director.send(&cut(&bundled, bundled.len() - 1));
            assert_eq!(standing(&director, is_v6).0, [State::SctpInit1], "cut: refused");
            director.send(&bundled);
            assert_eq!(standing(&director, is_v6).0, [State::SctpClosed], "a cookie of {cookie} bytes");
        }
    }
}

#[test]
fn lengths_that_lie() {
    for is_v6 in [false, true] {
        let transport = if is_v6 { 14 + 40 } else { 14 + 20 };
        let init = from_client(is_v6, 4000, INIT);
        let short = |bytes: usize| packet(is_v6).raw(132, &[0; 16][..bytes]).build();
        run(
            &mut director(direct_to),
            &[
                row("INIT", init.clone(), Direct),
                row("chunk length 0", spoil(&init, transport + 14, &[0, 0]), BadHeader),
                row("chunk length 3", spoil(&init, transport + 14, &[0, 3]), BadHeader),
                row("chunk length 4", spoil(&init, transport + 14, &[0, 4]), Direct),
                row("chunk length up to the packet's end", spoil(&init, transport + 14, &[0, 24]), Direct),
                row("chunk length beyond the packet", spoil(&init, transport + 14, &[0, 25]), BadHeader),
                row("chunk length 65535", spoil(&init, transport + 14, &[0xff, 0xff]), BadHeader),
                row("nothing", short(0), Truncated),
                row("no chunk", short(12), Truncated),
                row("three bytes of a chunk", short(15), Truncated),
                row("no chunk, and the frame goes on", [short(12), vec![0; 8]].concat(), BadHeader),
                row(
                    "to a port that no service has",
                    packet(is_v6).sctp(4000, 80, &[&chunk(INIT, &[])]).build(),
                    NotAService,
                ),
            ],
        );
    }
}

/// The first chunk of a first fragment may go on in the others.
#[test]
fn fragments() {
    let fragment = |is_v6: bool, offset: u16, more: bool| {
        let word = (offset & 0xfff8 | u16::from(more)).to_be_bytes();
        if is_v6 {
            packet(true).extension(44, &[&[0][..], &word, &[0, 0, 0, 7]].concat())
        } else {
            packet(false).identification(7).fragment_word(offset >> 3 | u16::from(more) << 13)
        }
    };
    for is_v6 in [false, true] {
        let mut director = director(direct_to);
        let real = director.send(&from_client(is_v6, 4000, INIT)).real;
        let cookie = chunk(COOKIE_ECHO, &[6; 2000]);
        let first = fragment(is_v6, 0, true).sctp(4000, PORT, &[&cookie[..1420]]).build();
        let later = fragment(is_v6, 1432, false).raw(132, &cookie[1420..]).build();
        let raw = |offset, more, bytes: usize| fragment(is_v6, offset, more).raw(132, &vec![9; bytes]).build();
        assert_eq!(director.send(&later).verdict, FragmentEarly);
        for frame in [first, later] {
            let sent = director.send(&frame);
            assert_eq!((sent.verdict, sent.real), (Direct, real));
        }
        assert_eq!(standing(&director, is_v6), (vec![State::Established], (1, 0)));
        run(
            &mut director,
            &[
                row("a first one without all of its first chunk's head", raw(0, true, 8), FragmentNoPorts),
                row("a later one that reaches into it", raw(8, false, 24), FragmentOverlap),
                row("a later one behind it", raw(16, false, 24), Direct),
            ],
        );
    }
}

#[test]
fn icmp_errors_reach_the_associations_real() {
    for is_v6 in [false, true] {
        let mut director = director(direct_to);
        for port in 4000..4004 {
            let real = director.send(&from_client(is_v6, port, INIT)).real;
            let answer = if is_v6 { Packet::v6(VIP6, CLIENT6) } else { Packet::v4(VIP, CLIENT) };
            let about = |port| answer.clone().sctp(PORT, port, &[&chunk(DATA, &[7; 100])]).build();
            // As little as RFC 792 asks for: of SCTP, ports and verification tag.
            let least = if is_v6 { 48 } else { 28 };
            let error = |port| {
                let (kind, code) = if is_v6 { (2, 0) } else { (3, 4) };
                packet(is_v6).icmp(kind, code).payload(&about(port)[14..14 + least]).build()
            };
            let sent = director.send(&error(port));
            assert_eq!((sent.verdict, sent.real, sent.is_new), (Direct, real, false));
            assert_eq!(director.send(&error(9)).verdict, IcmpNoFlow);
        }
    }
}

/// The harness compares every byte: the packet inside is as it was, and no checksum of the tunnel's header claims to cover it.
#[test]
fn through_every_tunnel() {
    let tunnels: [&dyn Fn(bool, u8) -> Real; 2] =
        [&|_, n| tunnel(&format!("10.0.1.{n}:{PORT}"), n, "172.16.0.1"), &|_, n| {
            tunnel(&format!("[fd00::1:{n}]:{PORT}"), n, "fd16::1")
        }];
    for to in tunnels {
        let ways: [&dyn Fn(bool, u8) -> Real; 5] = [
            to,
            &|is_v6, n| through(to(is_v6, n), GUE, false),
            &|is_v6, n| through(to(is_v6, n), GUE, true),
            &|is_v6, n| through(to(is_v6, n), GRE, false),
            &|is_v6, n| through(to(is_v6, n), GRE, true),
        ];
        for way in ways {
            let mut director = director(way);
            for is_v6 in [false, true] {
                for kind in [INIT, COOKIE_ECHO, DATA, SHUTDOWN, SHUTDOWN_COMPLETE] {
                    assert_eq!(director.send(&from_client(is_v6, 4000, kind)).verdict, Tunnel);
                }
            }
            assert!(director.connections().iter().all(|(_, state)| *state == State::SctpClosed));
        }
    }
}

/// Two services of one address and port, of two protocols: their connections do not meet.
#[test]
fn tcp_on_the_same_port_is_another_service() {
    let mut director = director(direct_to);
    let tcp = director.service("tcp://10.0.0.100:3868", RR, 0, &[(direct("10.0.1.9:3868", 9), 1)]);
    director.send(&from_client(false, 4000, INIT));
    let verdict: Verdict = director.send(&Packet::v4(CLIENT, VIP).tcp(4000, PORT, ACK).build()).verdict;
    assert_eq!(verdict, MissNotSyn, "the association is no TCP connection");
    let sent = director.send(&Packet::v4(CLIENT, VIP).tcp(4000, PORT, lb_tests::packet::SYN).build());
    assert_eq!((sent.service, director.connections().len()), (Some(tcp), 2));
}
