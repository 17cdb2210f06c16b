//! SCTP behind address translation: the checksum after new ports (RFC 9260 appendix A), and an association's life by IPVS's INPUT and
//! OUTPUT tables, since the director sees both halves.

use lb_common::abi::connection::State::{self, *};
use lb_common::abi::real::Real;
use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Options, full_nat, nat};
use lb_tests::packet::{Packet, chunk, spoil};
use lb_tests::translated::{Parts, answer, ends, is_right};

use super::full_nat::{LOCALS, Side, sides};

// Chunk types of RFC 9260 section 3.2.
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// From the client.
const IN: bool = false;
/// From the real.
const OUT: bool = true;

fn sctp() -> impl Iterator<Item = Side> {
    sides().into_iter().filter(|side| side.protocol == "sctp")
}

/// NAT where it can be, and full NAT; with another port, and with the same one.
fn directors(side: Side) -> Vec<Director> {
    let mut ways: Vec<Real> = vec![full_nat(&side.real(1, 8080), 1, 0), full_nat(&side.real(1, 80), 1, 0)];
    if !side.is_across() {
        ways.extend([nat(&side.real(1, 8080), 1), nat(&side.real(1, 80), 1)]);
    }
    ways.into_iter()
        .map(|real| {
            let mut director = Director::new(Options { locals: LOCALS, ..Options::default() });
            director.service(&side.service(80), RR, 0, &[(real, 1)]);
            director
        })
        .collect()
}

struct Flow {
    side: Side,
    director: Director,
    at_real: Vec<u8>,
}

impl Flow {
    fn begin(side: Side, mut director: Director) -> Self {
        let sent = side.begin(&mut director, 4000);
        assert_eq!((sent.verdict, sent.is_new), (Nat, true), "{side:?}");
        Self { side, director, at_real: sent.frame }
    }

    fn begin_anew(&mut self) {
        self.director.forget();
        self.at_real = self.side.begin(&mut self.director, 4000).frame;
    }

    /// A chunk of one direction. The state after it.
    fn step(&mut self, is_answer: bool, kind: u8) -> State {
        let packet = if is_answer { answer(&self.at_real, kind) } else { self.side.packet(4000, 80, kind) };
        let sent = self.director.send(&packet.build());
        assert_eq!(sent.verdict, if is_answer { Reply } else { Nat }, "{:?}, chunk {kind}", self.side);
        assert!(is_right(&sent.frame));
        let [(_, state)] = self.director.connections()[..] else { panic!("one association") };
        assert_eq!(self.director.tables.audit_loads().len(), 0);
        state
    }
}

#[test]
fn from_init_to_close_by_either_side() {
    let opening = [
        (OUT, INIT_ACK, SctpCookieSent),
        (IN, COOKIE_ECHO, SctpCookieReplied),
        (OUT, COOKIE_ACK, Established),
        (IN, DATA, Established),
        (OUT, SACK, Established),
        (OUT, DATA, Established),
    ];
    let by_client = [
        (IN, SHUTDOWN, SctpShutdownReceived),
        (OUT, SHUTDOWN_ACK, SctpShutdownAckSent),
        (IN, SHUTDOWN_COMPLETE, SctpClosed),
    ];
    let by_real =
        [(OUT, SHUTDOWN, SctpShutdownSent), (IN, SHUTDOWN_ACK, SctpClosed), (OUT, SHUTDOWN_COMPLETE, SctpClosed)];
    for side in sctp() {
        for director in directors(side) {
            let mut flow = Flow::begin(side, director);
            for closing in [&by_client[..], &by_real, &[(IN, ABORT, SctpClosed)], &[(OUT, ABORT, SctpClosed)]] {
                flow.begin_anew();
                for (is_answer, kind, state) in opening.iter().chain(closing) {
                    assert_eq!(
                        flow.step(*is_answer, *kind),
                        *state,
                        "{side:?}: chunk {kind}, from the real: {is_answer}"
                    );
                }
            }
        }
    }
}

/// A state, a way into it, and what each chunk makes of it: from the client, from the real.
type Line = (State, Vec<(bool, u8)>, [State; 10], [State; 10]);

/// Lines of IPVS's tables for states of an ordinary life: what each chunk makes of them, from the client and from the real.
#[test]
fn every_state_of_an_ordinary_life_against_every_chunk() {
    use State::{
        Established as ES, SctpClosed as CL, SctpCookieEchoed as CE, SctpCookieReplied as CR, SctpCookieSent as CS,
        SctpCookieWait as CW, SctpInit as IT, SctpInit1 as I1, SctpRejected as RJ, SctpShutdownAckSent as SA,
        SctpShutdownReceived as SR, SctpShutdownSent as SS,
    };
    let chunks =
        [DATA, INIT, INIT_ACK, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN, SHUTDOWN_ACK, SHUTDOWN_COMPLETE, ERROR, ABORT];
    let open = [(OUT, INIT_ACK), (IN, COOKIE_ECHO), (OUT, COOKIE_ACK)];
    let with = |more: &[(bool, u8)]| [&open[..], more].concat();
    let table: [Line; 7] = [
        (I1, vec![], [I1, IT, CW, IT, I1, I1, IT, CL, I1, CL], [I1, CW, CS, CE, ES, SS, SA, I1, CL, RJ]),
        (CS, open[..1].to_vec(), [CS, CS, CS, CR, CS, CS, CS, CS, CS, CL], [CS, CW, CS, CE, ES, SS, SA, CS, CL, CL]),
        (CR, open[..2].to_vec(), [CR, CR, CR, CR, CR, CR, CR, CR, CR, CL], [CR, CW, CR, CE, ES, SS, SA, CR, CL, CL]),
        (ES, with(&[]), [ES, ES, ES, ES, ES, SR, ES, ES, ES, CL], [ES, ES, ES, ES, ES, SS, ES, ES, ES, CL]),
        (
            SR,
            with(&[(IN, SHUTDOWN)]),
            [SR, SR, SR, SR, SR, SR, SR, SR, SR, CL],
            [SR, CW, SR, SR, SR, SR, SA, SR, SR, CL],
        ),
        (
            SS,
            with(&[(OUT, SHUTDOWN)]),
            [SS, SS, SS, SS, SS, SS, CL, SS, SS, CL],
            [SS, CW, SS, SS, SS, SS, SA, SS, SS, CL],
        ),
        (
            SA,
            with(&[(IN, SHUTDOWN), (OUT, SHUTDOWN_ACK)]),
            [SA, SA, SA, SA, SA, SA, CL, CL, SA, CL],
            [SA, CW, SA, SA, SA, SA, SA, SA, SA, CL],
        ),
    ];
    let side = sctp().next().expect("one side");
    let mut flow = Flow::begin(side, directors(side).pop().expect("NAT"));
    for (from, way, of_client, of_real) in table {
        for (is_answer, line) in [(IN, of_client), (OUT, of_real)] {
            for (kind, to) in chunks.into_iter().zip(line) {
                flow.begin_anew();
                let state = way.iter().fold(I1, |_, (is_answer, kind)| flow.step(*is_answer, *kind));
                assert_eq!(state, from);
                assert_eq!(flow.step(is_answer, kind), to, "{from:?}, chunk {kind}, from the real: {is_answer}");
            }
        }
    }
}

/// The checksum is a CRC: what new ports change in it depends on how much comes after them.
#[test]
fn checksums_of_packets_of_every_length() {
    for side in sctp() {
        for director in directors(side) {
            let mut flow = Flow::begin(side, director);
            let back = Packet::new(ends(&flow.at_real).destination.ip(), ends(&flow.at_real).source.ip());
            let (local, real) = (ends(&flow.at_real).source.port(), ends(&flow.at_real).destination.port());
            for length in (0..40).chain([255, 256, 1000, 1023, 1400]) {
                let data = chunk(DATA, &vec![0xa5; length]);
                let there = if side.client_is_v6 {
                    Packet::v6(super::CLIENT6, super::VIP6)
                } else {
                    Packet::v4(super::CLIENT, super::VIP)
                };
                let there = there.sctp(4000, 80, &[&data]).build();
                for (frame, verdict) in [(there, Nat), (back.clone().sctp(real, local, &[&data]).build(), Reply)] {
                    let sent = flow.director.send(&frame);
                    assert_eq!((sent.verdict, is_right(&sent.frame)), (verdict, true), "{length} bytes");
                    // A damaged one stays as damaged.
                    let at = Parts::of(&frame).transport + 9;
                    let sent = flow.director.send(&spoil(&frame, at, &[frame[at] ^ 0x10]));
                    assert_eq!((sent.verdict, is_right(&sent.frame)), (verdict, false));
                }
            }
        }
    }
}

/// A first fragment does not say how long its packet is: with another port its checksum cannot be corrected, with the same it needs not.
#[test]
fn fragments() {
    for side in sctp().filter(|side| !side.is_across()) {
        for (way, port) in [(false, 8080), (false, 80), (true, 8080), (true, 80)] {
            let real = if way { full_nat(&side.real(1, port), 1, 0) } else { nat(&side.real(1, port), 1) };
            let mut director = Director::new(Options { locals: LOCALS, ..Options::default() });
            director.service(&side.service(80), RR, 0, &[(real, 1)]);
            let mut flow = Flow::begin(side, director);
            let cookie = chunk(COOKIE_ECHO, &[6; 2000]);
            let fragment = |packet: Packet, offset: u16, more: bool| {
                if side.client_is_v6 {
                    let word = (offset | u16::from(more)).to_be_bytes();
                    packet.extension(44, &[0, word[0], word[1], 0, 0, 0, 7])
                } else {
                    packet.identification(7).fragment_word((offset / 8) | u16::from(more) << 13)
                }
            };
            let packet = || {
                if side.client_is_v6 {
                    Packet::v6(super::CLIENT6, super::VIP6)
                } else {
                    Packet::v4(super::CLIENT, super::VIP)
                }
            };
            let first = fragment(packet(), 0, true).sctp(4000, 80, &[&cookie[..1420]]).build();
            let later = fragment(packet(), 1432, false).raw(132, &cookie[1420..]).build();
            // Full NAT gives the client's port away, too.
            let is_same = port == 80 && !way;
            assert_eq!(flow.director.send(&first).verdict, if is_same { Nat } else { NatUnsuited }, "{side:?} {port}");
            if is_same {
                assert_eq!(flow.director.send(&later).verdict, Nat);
            }
            let goes_on = flow.director.send(&answer(&flow.at_real, INIT_ACK).build());
            assert_eq!(goes_on.verdict, Reply);
        }
    }
}

/// An error about an association goes to its real, and one about what the real was sent to the client.
#[test]
fn icmp_errors() {
    for side in sctp().filter(|side| !side.is_across()) {
        for director in directors(side) {
            let mut flow = Flow::begin(side, director);
            let request = side.packet(4000, 80, DATA).build();
            let (about_answer, about_request) = (answer(&request, DATA).build(), flow.at_real.clone());
            let (kind, code) = if side.client_is_v6 { (1, 4) } else { (3, 2) };
            for length in [if side.client_is_v6 { 48 } else { 28 }, 60] {
                for (about, verdict) in [(&about_answer, Nat), (&about_request, Reply)] {
                    let to = ends(about).source.ip();
                    let quoted = &about[14..about.len().min(14 + length)];
                    let error = Packet::new(ends(about).destination.ip(), to).icmp(kind, code).payload(quoted);
                    assert_eq!(flow.director.send(&error.build()).verdict, verdict, "{side:?}");
                }
            }
        }
    }
}
