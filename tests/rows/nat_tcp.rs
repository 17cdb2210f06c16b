//! A connection's life where the director sees both halves: IPVS's INPUT and OUTPUT tables, with the counts of active and inactive
//! connections.

use lb_common::abi::connection::State::{self, *};
use lb_common::abi::service::scheduler::RR;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, Options, nat};
use lb_tests::packet::{ACK, FIN, Packet, RST, SYN};
use lb_tests::translated::answer;

use super::nat::{SIDES, Side};
use super::{CLIENT, VIP};

/// From the client.
const IN: bool = false;
/// From the real.
const OUT: bool = true;

/// A state, a way into it, and what each kind of segment makes of it.
type Line = (State, &'static [(bool, u8)], [State; 4], [State; 4]);

/// Ways into the states that can be reached, and what a packet with SYN, FIN, ACK and RST makes of each: from the client, from the real.
/// A bare SYN of the client in FIN_WAIT, TIME_WAIT and CLOSE begins a new connection, which is in SYN_RECV, too.
const TABLE: [Line; 7] = [
    (SynRecv, &[], [SynRecv, TimeWait, Established, SynRecv], [SynRecv, TimeWait, Established, Close]),
    (
        Established,
        &[(IN, ACK)],
        [Established, CloseWait, Established, Close],
        [Established, FinWait, Established, Close],
    ),
    (FinWait, &[(IN, ACK), (OUT, FIN)], [SynRecv, TimeWait, FinWait, Close], [SynSent, FinWait, FinWait, Close]),
    (CloseWait, &[(IN, ACK), (IN, FIN)], [SynRecv, CloseWait, CloseWait, Close], [SynSent, TimeWait, CloseWait, Close]),
    (TimeWait, &[(IN, FIN)], [SynRecv, TimeWait, TimeWait, Close], [SynSent, TimeWait, TimeWait, TimeWait]),
    (Close, &[(IN, ACK), (IN, RST)], [SynRecv, Close, Close, Close], [SynSent, Close, Close, Close]),
    (SynSent, &[(IN, FIN), (OUT, SYN)], [Established, SynSent, SynSent, Close], [SynSent; 4]),
];

/// One connection, begun by a SYN.
struct Flow<'a> {
    director: Director,
    side: &'a Side,
    at_real: Vec<u8>,
}

impl<'a> Flow<'a> {
    fn new(side: &'a Side) -> Self {
        let mut director = side.director(Options::default());
        let at_real = side.begin(&mut director).frame;
        Self { director, side, at_real }
    }

    fn begin_anew(&mut self) {
        self.director.forget();
        self.at_real = self.side.begin(&mut self.director).frame;
    }

    /// A packet of one direction. The state after it, which the counts must fit.
    fn step(&mut self, is_answer: bool, flags: u8) -> State {
        let packet = if is_answer { answer(&self.at_real, flags) } else { self.side.packet(flags) };
        let sent = self.director.send(&packet.build());
        assert_eq!(sent.verdict, if is_answer { Reply } else { Nat }, "flags {flags:#x}");
        let [(_, state)] = self.director.connections()[..] else { panic!("one connection") };
        let load = self.director.load(&self.side.service.parse().unwrap(), self.side.real.parse().unwrap());
        assert_eq!(load, if state == Established { (1, 0) } else { (0, 1) }, "{state:?}");
        state
    }
}

#[test]
fn every_state_that_can_be_reached_against_every_flag_of_both_directions() {
    for side in [&SIDES[0], &SIDES[5]] {
        let mut flow = Flow::new(side);
        for (from, way, of_client, of_real) in TABLE {
            for (is_answer, line) in [(IN, of_client), (OUT, of_real)] {
                for (flags, to) in [SYN, FIN, ACK, RST].into_iter().zip(line) {
                    flow.begin_anew();
                    let state = way.iter().fold(SynRecv, |_, (is_answer, flags)| flow.step(*is_answer, *flags));
                    assert_eq!(state, from);
                    let after = flow.step(is_answer, flags);
                    assert_eq!(after, to, "{from:?}, flags {flags:#x}, from the real: {is_answer}");
                }
            }
        }
    }
}

#[test]
fn from_handshake_to_close_by_either_side() {
    let opening = [(OUT, SYN | ACK, SynRecv), (IN, ACK, Established), (OUT, ACK, Established), (IN, 0, Established)];
    let client_first =
        [(IN, FIN | ACK, CloseWait), (OUT, ACK, CloseWait), (OUT, FIN | ACK, TimeWait), (IN, ACK, TimeWait)];
    let real_first = [(OUT, FIN | ACK, FinWait), (IN, ACK, FinWait), (IN, FIN | ACK, TimeWait), (OUT, ACK, TimeWait)];
    let aborted_by_client = [(IN, RST, Close), (OUT, ACK, Close), (OUT, RST, Close), (IN, ACK, Close)];
    let aborted_by_real = [(OUT, RST | ACK, Close), (IN, ACK, Close), (IN, RST, Close), (OUT, ACK, Close)];
    for side in [&SIDES[0], &SIDES[2], &SIDES[5], &SIDES[7]] {
        let mut flow = Flow::new(side);
        for closing in [client_first, real_first, aborted_by_client, aborted_by_real] {
            flow.begin_anew();
            for (is_answer, flags, state) in opening.into_iter().chain(closing) {
                assert_eq!(flow.step(is_answer, flags), state, "flags {flags:#x}, from the real: {is_answer}");
            }
        }
    }
}

/// A real that refuses answers with RST: the connection is over at once, and the client may try again.
#[test]
fn refused_by_the_real() {
    let mut flow = Flow::new(&SIDES[0]);
    assert_eq!(flow.step(OUT, RST | ACK), Close);
    assert_eq!(flow.step(IN, SYN), SynRecv);
    assert_eq!(flow.step(OUT, SYN | ACK), SynRecv);
    assert_eq!(flow.step(IN, ACK), Established);
}

/// A client that uses its port again is scheduled anew: what the real of the old connection still has to say is nobody's.
#[test]
fn a_port_used_again_with_another_real() {
    let mut director = Director::default();
    director.service("tcp://10.0.0.100:80", RR, 0, &[(nat("10.0.1.1:8080", 1), 1), (nat("10.0.1.2:8080", 2), 1)]);
    let mut send = |flags| director.send(&Packet::v4(CLIENT, VIP).tcp(4000, 80, flags).build());
    let old = send(SYN);
    send(ACK);
    send(RST);
    let new = send(SYN);
    assert!(new.is_new && new.real != old.real);
    assert_eq!(director.send(&answer(&old.frame, ACK).build()).verdict, NotAService);
    assert_eq!(director.send(&answer(&new.frame, SYN | ACK).build()).verdict, Reply);
}

/// Answers alone keep a connection: both directions stamp it.
#[test]
fn answers_keep_a_connection_alive() {
    for side in &SIDES {
        let mut director = side.director(Options { tick_shift: 0, ..Options::default() });
        let at_real = side.begin(&mut director).frame;
        let stamp = |director: &Director| {
            let mut stamp = 0;
            director.tables.each_connection(|connection| stamp = connection.meta.last_seen());
            stamp
        };
        let before = stamp(&director);
        std::thread::sleep(std::time::Duration::from_millis(12));
        assert_eq!(director.send(&answer(&at_real, ACK).build()).verdict, Reply);
        assert_ne!(stamp(&director), before);
    }
}
