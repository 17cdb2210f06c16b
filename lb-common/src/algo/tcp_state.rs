//! IPVS's TCP state machine for a director that sees only the client's half (`INPUT_ONLY` of `tcp_states`, `ip_vs_proto_tcp.c`).
//!
//! A row of the table is one word with four bits a state, so that the datapath reads no memory for it.

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

/// Packs the next states for NO ES SS SR FW TW CL CW LA LI SA.
const fn row(next: [State; 11]) -> u64 {
    let columns = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];
    let mut packed = 0;
    let mut column = 0;
    while column < columns.len() {
        packed |= (next[column] as u64) << (4 * columns[column] as u32);
        column += 1;
    }
    packed
}

const SYN: u64 = row([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR]);
const FIN: u64 = row([CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW]);
const ACK: u64 = row([ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]);
const RST: u64 = row([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL]);

/// The state after a packet from the client with these flags. RST counts before SYN, SYN before FIN, FIN before ACK; a packet with
/// none of them changes nothing.
#[inline(always)]
pub const fn next(state: State, flags: u8) -> State {
    let row = if flags & flag::RST != 0 {
        RST
    } else if flags & flag::SYN != 0 {
        SYN
    } else if flags & flag::FIN != 0 {
        FIN
    } else if flags & flag::ACK != 0 {
        ACK
    } else {
        return state;
    };
    State::from_bits(((row >> (4 * state as u32)) & 0xf) as u8)
}

/// A packet that opens, closes or aborts. Any other leaves an established connection as it is.
#[inline(always)]
pub const fn is_turn(flags: u8) -> bool {
    flags & (flag::SYN | flag::FIN | flag::RST) != 0
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

    const STATES: [State; 11] = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];

    /// The table as IPVS's source prints it, one line an event.
    #[test]
    fn follows_the_table_for_input_only() {
        let table: [(u8, &str); 4] = [
            (flag::SYN, "SR ES ES SR SR SR SR SR SR SR SR"),
            (flag::FIN, "CL FW SS TW FW TW CL CW LA LI TW"),
            (flag::ACK, "ES ES SS ES FW TW CL CW CL LI ES"),
            (flag::RST, "CL CL CL SR CL CL CL CL LA LI CL"),
        ];
        let short = |name: &str| {
            STATES[["NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA"]
                .iter()
                .position(|n| *n == name)
                .unwrap()]
        };
        for (flags, line) in table {
            for (from, to) in STATES.into_iter().zip(line.split(' ')) {
                assert_eq!(next(from, flags), short(to), "{from:?} with flags {flags:#x}");
            }
        }
    }

    #[test]
    fn a_connection_from_handshake_to_close() {
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
            state = next(state, flags);
            assert_eq!(state, expected);
        }
    }

    #[test]
    fn precedence_and_packets_without_flags() {
        assert_eq!(next(ES, flag::RST | flag::SYN | flag::FIN | flag::ACK), CL);
        assert_eq!(next(FW, flag::SYN | flag::FIN | flag::ACK), SR);
        for state in STATES {
            assert_eq!(next(state, 0), state);
        }
    }

    #[test]
    fn only_turns_move_an_established_connection() {
        for flags in 0..=0xff {
            assert!(is_turn(flags) || next(ES, flags) == ES, "flags {flags:#x}");
        }
        assert!(is_turn(flag::SYN) && is_turn(flag::FIN | flag::ACK) && is_turn(flag::RST) && !is_turn(flag::ACK));
    }

    #[test]
    fn only_a_bare_syn_reuses_a_finished_connection() {
        assert!(is_reuse(TW, flag::SYN) && is_reuse(CL, flag::SYN) && is_reuse(FW, flag::SYN));
        assert!(!is_reuse(TW, flag::SYN | flag::ACK) && !is_reuse(SR, flag::SYN) && !is_reuse(ES, flag::SYN));
    }
}
