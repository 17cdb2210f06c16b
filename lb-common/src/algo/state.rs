//! What a packet makes of its connection: IPVS's state machines behind one entry, for TCP and SCTP; a UDP flow has one state.
//!
//! A packet's *event* is one byte ([`crate::wire::transport::Transport::flags`]): the flags of a TCP segment, 0 for UDP, and for SCTP what
//! [`sctp_state::event`] makes of its chunks. In all of them FIN, SYN or RST is set if and only if the packet may move an established
//! connection ([`tcp_state::is_turn`]).
//!
//! A row of a table is one word with four bits a state, so that the datapath reads no memory for it.

use super::{sctp_state, tcp_state};
use crate::abi::connection::{STATES, State};
use crate::abi::settings::sloppy;
use crate::wire::transport::{SCTP, TCP};

/// Which half of a connection a packet belongs to, and whether its director sees the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client, where the real's packets come by, too.
    Input,
    /// From the real.
    Output,
    /// From the client, where the real answers past the director: direct routing and tunnels.
    InputOnly,
}

/// The state after a packet.
#[inline(always)]
pub const fn next(protocol: u8, direction: Direction, state: State, event: u8) -> State {
    match protocol {
        TCP => tcp_state::next(direction, state, event),
        SCTP => sctp_state::next(direction, state, event),
        _ => State::Udp,
    }
}

/// No client sends it but to begin a connection: a bare SYN, an INIT.
#[inline(always)]
pub const fn is_opening(protocol: u8, event: u8) -> bool {
    match protocol {
        TCP => tcp_state::is_opening(event),
        SCTP => event == sctp_state::event::INIT,
        _ => false,
    }
}

/// Begins a new connection on the ports of one that is over: it is scheduled anew.
#[inline(always)]
pub const fn is_reuse(protocol: u8, state: State, event: u8) -> bool {
    match protocol {
        TCP => tcp_state::is_reuse(state, event),
        SCTP => sctp_state::is_reuse(state, event),
        _ => false,
    }
}

/// Whether a connection in this state, for which [`is_reuse`] holds, is scheduled anew under IPVS's `conn_reuse_mode` `mode`: 0 never; 1 in
/// TIME_WAIT, and SCTP's CLOSED; with 2 in it in FIN_WAIT and CLOSE, too.
pub const fn may_reuse(state: State, mode: u32) -> bool {
    let is_over = matches!(state, State::TimeWait | State::SctpClosed);
    mode != 0 && (is_over || mode & 2 != 0)
}

/// The states for which [`may_reuse`] holds, a bit each.
pub fn reuse_states(mode: u32) -> u64 {
    let may = |bits: &u8| may_reuse(State::from_bits(*bits), mode);
    (0..STATES as u8).filter(may).fold(0, |states, bits| states | 1 << bits)
}

/// Ends a connection at once and begins none: RST, ABORT.
#[inline(always)]
pub const fn is_abort(protocol: u8, event: u8) -> bool {
    match protocol {
        TCP => event & tcp_state::flag::RST != 0,
        SCTP => event == sctp_state::event::ABORT,
        _ => false,
    }
}

/// A connection begins with this packet. `sloppy` ([`crate::abi::settings::sloppy`]): it may begin with any that does not end one.
#[inline(always)]
pub const fn may_begin(protocol: u8, event: u8, sloppy: u32) -> bool {
    match protocol {
        TCP => !is_abort(TCP, event) && (event & tcp_state::flag::SYN != 0 || sloppy & sloppy::TCP != 0),
        SCTP => event == sctp_state::event::INIT || (sloppy & sloppy::SCTP != 0 && !is_abort(SCTP, event)),
        _ => true,
    }
}

/// Bits of a place in a row, and of the number of a state's column.
const PLACE: u32 = 4;
const COLUMN: u64 = (1 << PLACE) - 1;

/// Packs a table's line: what becomes of each of `columns`.
pub(super) const fn row<const N: usize>(columns: [State; N], next: [State; N]) -> u64 {
    let mut packed = 0;
    let mut column = 0;
    while column < N {
        packed |= (next[column] as u64 & COLUMN) << (PLACE * (columns[column] as u32 & COLUMN as u32));
        column += 1;
    }
    packed
}

/// The column that a state becomes.
#[inline(always)]
pub(super) const fn at(row: u64, state: State) -> u8 {
    ((row >> (PLACE * (state as u32 & COLUMN as u32))) & COLUMN) as u8
}

/// A table as IPVS's source prints it, one line an event: for tests.
#[cfg(test)]
pub(super) fn check<const N: usize>(
    columns: [(&str, State); N],
    lines: &[(u8, &str)],
    next: impl Fn(State, u8) -> State,
) {
    let named = |name: &str| columns.iter().find(|(short, _)| *short == name).expect("a column").1;
    for (event, line) in lines {
        assert_eq!(line.split(' ').count(), N, "{line}");
        for ((_, from), to) in columns.iter().zip(line.split(' ')) {
            assert_eq!(next(*from, *event), named(to), "{from:?} with event {event:#x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sctp_state::event;
    use super::tcp_state::flag;
    use super::*;
    use crate::wire::transport::UDP;

    const DIRECTIONS: [Direction; 3] = [Direction::Input, Direction::Output, Direction::InputOnly];

    #[test]
    fn each_protocol_has_its_table() {
        for direction in DIRECTIONS {
            for byte in 0..=0xff {
                assert_eq!(next(UDP, direction, State::Udp, byte), State::Udp);
                for bits in 0..32 {
                    let state = State::from_bits(bits);
                    assert_eq!(next(TCP, direction, state, byte), tcp_state::next(direction, state, byte));
                    assert_eq!(next(SCTP, direction, state, byte), sctp_state::next(direction, state, byte));
                }
            }
        }
        assert_eq!(next(UDP, Direction::InputOnly, State::None, 0), State::Udp);
    }

    #[test]
    fn what_begins_a_connection() {
        for (protocol, event, sloppy, begins) in [
            (TCP, flag::SYN, 0, true),
            (TCP, flag::SYN | flag::ACK, 0, true),
            (TCP, flag::ACK, sloppy::SCTP, false),
            (TCP, flag::ACK, sloppy::TCP, true),
            (TCP, flag::RST, sloppy::TCP, false),
            (TCP, flag::RST | flag::SYN, 0, false),
            (UDP, 0, 0, true),
            (SCTP, event::INIT, 0, true),
            (SCTP, event::DATA, sloppy::TCP, false),
            (SCTP, event::COOKIE_ECHO, sloppy::SCTP, true),
            (SCTP, event::ABORT, sloppy::SCTP, false),
        ] {
            assert_eq!(may_begin(protocol, event, sloppy), begins, "protocol {protocol}, event {event:#x}");
        }
    }

    #[test]
    fn reuse_follows_the_mode() {
        let allowed = |state| [0, 1, 2, 3].map(|mode| may_reuse(state, mode));
        assert_eq!(allowed(State::TimeWait), [false, true, true, true]);
        assert_eq!(allowed(State::SctpClosed), [false, true, true, true]);
        assert_eq!(allowed(State::FinWait), [false, false, true, true]);
        assert_eq!(allowed(State::Close), [false, false, true, true]);
        assert_eq!(reuse_states(0), 0);
        assert_eq!(reuse_states(1), 1 << State::TimeWait as u8 | 1 << State::SctpClosed as u8);
    }

    #[test]
    fn openings_and_aborts_are_each_protocols_own() {
        assert!(is_opening(TCP, flag::SYN) && is_opening(SCTP, event::INIT) && !is_opening(UDP, 0));
        assert!(!is_opening(TCP, event::INIT) && !is_opening(SCTP, flag::SYN) && !is_opening(SCTP, event::INIT_ACK));
        assert!(is_abort(TCP, flag::RST | flag::ACK) && is_abort(SCTP, event::ABORT) && !is_abort(UDP, flag::RST));
        assert!(!is_abort(SCTP, event::ERROR) && !is_abort(TCP, flag::FIN));
        assert!(is_reuse(TCP, State::FinWait, flag::SYN) && is_reuse(SCTP, State::SctpClosed, event::INIT));
        assert!(!is_reuse(UDP, State::Udp, flag::SYN) && !is_reuse(SCTP, State::Close, flag::SYN));
    }
}
