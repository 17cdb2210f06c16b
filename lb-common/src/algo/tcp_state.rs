//! IPVS's TCP state machine (`tcp_states`, `ip_vs_proto_tcp.c`), for all three directions.

use super::state::{self, Direction};
use crate::abi::connection::State;

/// TCP flag bits, as in byte 13 of the header.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Begin of a connection.
    pub const SYN: u8 = 0x02;
    /// Abort.
    pub const RST: u8 = 0x04;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
}

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI, None as NO,
    SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

/// One direction's lines, by event.
struct Table {
    syn: u64,
    fin: u64,
    ack: u64,
    rst: u64,
}

/// Packs a line for NO ES SS SR FW TW CL CW LA LI SA.
const fn row(next: [State; 11]) -> u64 {
    state::row([NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA], next)
}

/// From the client.
const INPUT: Table = Table {
    syn: row([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR]),
    fin: row([CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW]),
    ack: row([ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]),
    rst: row([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR]),
};
/// From the real.
const OUTPUT: Table = Table {
    syn: row([SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR]),
    fin: row([TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW]),
    ack: row([ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES]),
    rst: row([CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL]),
};
/// From the client, the real's not seen.
const INPUT_ONLY: Table = Table {
    syn: row([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR]),
    fin: row([CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW]),
    ack: row([ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]),
    rst: row([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL]),
};

impl Table {
    #[inline(always)]
    const fn next(&self, state: State, flags: u8) -> State {
        let row = if flags & flag::RST != 0 {
            self.rst
        } else if flags & flag::SYN != 0 {
            self.syn
        } else if flags & flag::FIN != 0 {
            self.fin
        } else if flags & flag::ACK != 0 {
            self.ack
        } else {
            return state;
        };
        State::from_bits(state::at(row, state))
    }
}

/// The state after a packet with these flags. RST counts before SYN, SYN before FIN, FIN before ACK; a packet with none of them changes
/// nothing.
#[inline(always)]
pub const fn next(direction: Direction, state: State, flags: u8) -> State {
    match direction {
        Direction::Input => INPUT.next(state, flags),
        Direction::Output => OUTPUT.next(state, flags),
        Direction::InputOnly => INPUT_ONLY.next(state, flags),
    }
}

/// A packet that opens, closes or aborts. Any other leaves an established connection as it is.
#[inline(always)]
pub const fn is_turn(flags: u8) -> bool {
    turn(flags) != 0
}

/// Those of the flags that make a packet a turn.
#[inline(always)]
pub const fn turn(flags: u8) -> u8 {
    flags & (flag::SYN | flag::FIN | flag::RST)
}

/// A bare SYN: no client sends it but to begin a connection.
#[inline(always)]
pub const fn is_opening(flags: u8) -> bool {
    flags & (flag::SYN | flag::ACK | flag::RST | flag::FIN) == flag::SYN
}

/// A SYN that begins a new connection on the ports of one that is over: it is scheduled anew, as with IPVS's `conn_reuse_mode` 3.
/// FIN_WAIT counts as over, since it is the last state that a director sees of a connection whose other half passes it by: with
/// IPVS's default of 1 a busy client's ports stick to the real that they had two minutes ago.
#[inline(always)]
pub const fn is_reuse(state: State, flags: u8) -> bool {
    is_opening(flags) && matches!(state, State::TimeWait | State::Close | State::FinWait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [(&str, State); 11] = [
        ("NO", NO),
        ("ES", ES),
        ("SS", SS),
        ("SR", SR),
        ("FW", FW),
        ("TW", TW),
        ("CL", CL),
        ("CW", CW),
        ("LA", LA),
        ("LI", LI),
        ("SA", SA),
    ];
    const DIRECTIONS: [Direction; 3] = [Direction::Input, Direction::Output, Direction::InputOnly];

    #[test]
    fn follows_the_tables() {
        let input = [
            (flag::SYN, "SR ES ES SR SR SR SR SR SR SR SR"),
            (flag::FIN, "CL CW SS TW TW TW CL CW LA LI TW"),
            (flag::ACK, "ES ES SS ES FW TW CL CW CL LI ES"),
            (flag::RST, "CL CL CL SR CL CL CL CL LA LI SR"),
        ];
        let output = [
            (flag::SYN, "SS ES SS SR SS SS SS SS SS LI SR"),
            (flag::FIN, "TW FW SS TW FW TW CL TW LA LI TW"),
            (flag::ACK, "ES ES SS ES FW TW CL CW LA ES ES"),
            (flag::RST, "CL CL SS CL CL TW CL CL CL CL CL"),
        ];
        let input_only = [
            (flag::SYN, "SR ES ES SR SR SR SR SR SR SR SR"),
            (flag::FIN, "CL FW SS TW FW TW CL CW LA LI TW"),
            (flag::ACK, "ES ES SS ES FW TW CL CW CL LI ES"),
            (flag::RST, "CL CL CL SR CL CL CL CL LA LI CL"),
        ];
        state::check(COLUMNS, &input, |state, flags| next(Direction::Input, state, flags));
        state::check(COLUMNS, &output, |state, flags| next(Direction::Output, state, flags));
        state::check(COLUMNS, &input_only, |state, flags| next(Direction::InputOnly, state, flags));
    }

    #[test]
    fn the_clients_half_from_handshake_to_close() {
        let mut state = NO;
        for (flags, expected) in [
            (flag::SYN, SR),
            (flag::ACK, ES),
            (flag::ACK | 0x08, ES),
            (flag::FIN | flag::ACK, FW),
            (flag::ACK, FW),
            (flag::SYN, SR),
            (flag::RST, SR),
            (flag::RST | flag::ACK, SR),
        ] {
            state = next(Direction::InputOnly, state, flags);
            assert_eq!(state, expected);
        }
    }

    /// Both halves seen: the client closes first, then the real does.
    #[test]
    fn a_connection_from_handshake_to_close() {
        use Direction::{Input, Output};
        for closing in [
            [(Input, flag::FIN, CW), (Output, flag::ACK, CW), (Output, flag::FIN, TW), (Input, flag::ACK, TW)],
            [(Output, flag::FIN, FW), (Input, flag::ACK, FW), (Input, flag::FIN, TW), (Output, flag::ACK, TW)],
        ] {
            let opening =
                [(Input, flag::SYN, SR), (Output, flag::SYN, SR), (Input, flag::ACK, ES), (Output, flag::ACK, ES)];
            let mut state = NO;
            for (direction, flags, expected) in opening.into_iter().chain(closing) {
                state = next(direction, state, if state == NO { flags } else { flags | flag::ACK });
                assert_eq!(state, expected, "{direction:?} with flags {flags:#x}");
            }
        }
    }

    #[test]
    fn precedence_and_packets_without_flags() {
        let next_alone = |state, flags| next(Direction::InputOnly, state, flags);
        assert_eq!(next_alone(ES, flag::RST | flag::SYN | flag::FIN | flag::ACK), CL);
        assert_eq!(next_alone(FW, flag::SYN | flag::FIN | flag::ACK), SR);
        for (_, state) in COLUMNS {
            assert!(DIRECTIONS.iter().all(|direction| next(*direction, state, 0) == state));
        }
    }

    #[test]
    fn only_turns_move_an_established_connection() {
        for flags in 0..=0xff {
            let stays = DIRECTIONS.iter().all(|direction| next(*direction, ES, flags) == ES);
            assert!(is_turn(flags) || stays, "flags {flags:#x}");
        }
        assert!(is_turn(flag::SYN) && is_turn(flag::FIN | flag::ACK) && is_turn(flag::RST) && !is_turn(flag::ACK));
    }

    #[test]
    fn only_a_bare_syn_reuses_a_finished_connection() {
        assert!(is_reuse(TW, flag::SYN) && is_reuse(CL, flag::SYN) && is_reuse(FW, flag::SYN));
        assert!(!is_reuse(TW, flag::SYN | flag::ACK) && !is_reuse(SR, flag::SYN) && !is_reuse(ES, flag::SYN));
    }
}
