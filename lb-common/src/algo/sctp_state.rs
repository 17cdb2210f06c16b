//! IPVS's SCTP state machine (`sctp_states`, `ip_vs_proto_sctp.c`), for all three directions.
//!
//! The states are the real's. A director that sees the client's half only goes by INIT, COOKIE ECHO (established), SHUTDOWN or SHUTDOWN
//! ACK, and ABORT.

use super::state::{self, Direction};
use crate::abi::connection::State;

use State::{
    Established as ES, None as NO, SctpClosed as CL, SctpCookie as CO, SctpCookieEchoed as CE, SctpCookieReplied as CR,
    SctpCookieSent as CS, SctpCookieWait as CW, SctpInit as IN, SctpInit1 as I1, SctpRejected as RJ,
    SctpShutdownAckSent as SA, SctpShutdownReceived as SR, SctpShutdownSent as SS,
};

/// What a packet's chunks amount to. All but data have the bits of a TCP segment that may move an established connection.
pub mod event {
    /// DATA, SACK, HEARTBEAT and its answer, ECNE, CWR, and whatever later documents add.
    pub const DATA: u8 = 0;
    /// INIT.
    pub const INIT: u8 = turn(1);
    /// INIT ACK.
    pub const INIT_ACK: u8 = turn(2);
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = turn(3);
    /// COOKIE ACK.
    pub const COOKIE_ACK: u8 = turn(4);
    /// SHUTDOWN.
    pub const SHUTDOWN: u8 = turn(5);
    /// SHUTDOWN ACK.
    pub const SHUTDOWN_ACK: u8 = turn(6);
    /// SHUTDOWN COMPLETE.
    pub const SHUTDOWN_COMPLETE: u8 = turn(7);
    /// ERROR.
    pub const ERROR: u8 = turn(8);
    /// ABORT.
    pub const ABORT: u8 = turn(9);

    const fn turn(number: u8) -> u8 {
        number << 3 | crate::algo::tcp_state::flag::FIN
    }

    /// Events by chunk type (RFC 9260 section 3.2), four bits of each, 0 for data.
    const BY_TYPE: u64 = by_type([(1, INIT), (2, INIT_ACK), (6, ABORT), (7, SHUTDOWN), (8, SHUTDOWN_ACK)])
        | by_type([(9, ERROR), (10, COOKIE_ECHO), (11, COOKIE_ACK), (14, SHUTDOWN_COMPLETE)]);

    const fn by_type<const N: usize>(events: [(u32, u8); N]) -> u64 {
        let mut packed = 0;
        let mut at = 0;
        while at < N {
            packed |= ((events[at].1 >> 3) as u64) << (4 * events[at].0);
            at += 1;
        }
        packed
    }

    /// The event of a chunk of this type. Reckoned without a branch: the verifier would walk what follows once for each outcome.
    #[inline(always)]
    pub const fn of_chunk(kind: u8) -> u8 {
        // Sixteen types are in the word; the last has none yet.
        let beyond = (kind as u32 >> 4).wrapping_add(0xf) >> 4;
        let number = (BY_TYPE >> (4 * (kind & 0xf) as u32)) as u32 & 0xf & beyond.wrapping_sub(1);
        (number << 3 | (number + 0xf) >> 4) as u8
    }
}

/// Chunk types that IPVS looks behind.
pub mod chunk {
    /// ABORT.
    pub const ABORT: u8 = 6;
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = 10;
    /// COOKIE ACK.
    pub const COOKIE_ACK: u8 = 11;
}

/// One direction's lines, by event.
struct Table {
    data: u64,
    init: u64,
    init_ack: u64,
    cookie_echo: u64,
    cookie_ack: u64,
    shutdown: u64,
    shutdown_ack: u64,
    shutdown_complete: u64,
    error: u64,
    abort: u64,
}

/// Packs a line for NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL.
const fn row(next: [State; 14]) -> u64 {
    state::row([NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL], next)
}

/// From the client.
const INPUT: Table = Table {
    data: row([ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    init: row([I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN]),
    init_ack: row([CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL]),
    cookie_echo: row([CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    cookie_ack: row([ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL]),
    shutdown: row([SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL]),
    shutdown_ack: row([CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL]),
    shutdown_complete: row([CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL]),
    error: row([CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL]),
    abort: row([CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL]),
};
/// From the real.
const OUTPUT: Table = Table {
    data: row([ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    init: row([CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW]),
    init_ack: row([CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    cookie_echo: row([CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL]),
    cookie_ack: row([ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL]),
    shutdown: row([SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL]),
    shutdown_ack: row([SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL]),
    shutdown_complete: row([CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    error: row([CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    abort: row([CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL]),
};
/// From the client, the real's not seen.
const INPUT_ONLY: Table = Table {
    data: row([ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL]),
    init: row([I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN]),
    init_ack: row([CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL]),
    cookie_echo: row([ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL]),
    cookie_ack: row([ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL]),
    shutdown: row([SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL]),
    shutdown_ack: row([CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL]),
    shutdown_complete: row([CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL]),
    error: row([CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    abort: row([CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL]),
};

impl Table {
    #[inline(always)]
    const fn row(&self, event: u8) -> u64 {
        match event {
            event::INIT => self.init,
            event::INIT_ACK => self.init_ack,
            event::COOKIE_ECHO => self.cookie_echo,
            event::COOKIE_ACK => self.cookie_ack,
            event::SHUTDOWN => self.shutdown,
            event::SHUTDOWN_ACK => self.shutdown_ack,
            event::SHUTDOWN_COMPLETE => self.shutdown_complete,
            event::ERROR => self.error,
            event::ABORT => self.abort,
            _ => self.data,
        }
    }
}

/// The state after a packet with this [`event`].
#[inline(always)]
pub const fn next(direction: Direction, state: State, event: u8) -> State {
    let row = match direction {
        Direction::Input => INPUT.row(event),
        Direction::Output => OUTPUT.row(event),
        Direction::InputOnly => INPUT_ONLY.row(event),
    };
    let column = state::at(row, state);
    // NONE and ESTABLISHED are TCP's, too; the others have numbers of their own.
    State::from_bits(if column > ES as u8 { column | OWN } else { column })
}

/// Above the column in the numbers of the states that SCTP has for itself.
const OWN: u8 = I1 as u8 & !0xf;

/// An INIT on the ports of an association that is over: it is scheduled anew, as with IPVS. In any other state it is for the real that
/// has the association: the client has lost its own (RFC 9260 section 5.2.2).
#[inline(always)]
pub const fn is_reuse(state: State, event: u8) -> bool {
    event == event::INIT && matches!(state, CL)
}

#[cfg(test)]
mod tests {
    use super::super::tcp_state::is_turn;
    use super::*;

    const COLUMNS: [(&str, State); 14] = [
        ("NO", NO),
        ("I1", I1),
        ("IN", IN),
        ("CS", CS),
        ("CR", CR),
        ("CW", CW),
        ("CO", CO),
        ("CE", CE),
        ("ES", ES),
        ("SS", SS),
        ("SR", SR),
        ("SA", SA),
        ("RJ", RJ),
        ("CL", CL),
    ];

    #[test]
    fn follows_the_tables() {
        let input = [
            (event::DATA, "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL"),
            (event::INIT, "I1 IN IN CS CR CW CO CE ES SS SR SA IN IN"),
            (event::INIT_ACK, "CW CW CW CS CR CO CO CE ES SS SR SA RJ CL"),
            (event::COOKIE_ECHO, "CR IN IN CR CR CW CO CE ES SS SR SA RJ CL"),
            (event::COOKIE_ACK, "ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL"),
            (event::SHUTDOWN, "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL"),
            (event::SHUTDOWN_ACK, "CL IN IN CS CR CW CO CE ES CL SR CL RJ CL"),
            (event::SHUTDOWN_COMPLETE, "CL CL CL CS CR CW CO CE ES SS SR CL RJ CL"),
            (event::ERROR, "CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL"),
            (event::ABORT, "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL"),
        ];
        let output = [
            (event::DATA, "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL"),
            (event::INIT, "CW CW CW CW CW CW CW CW ES CW CW CW CW CW"),
            (event::INIT_ACK, "CS CS CS CS CR CW CO CE ES SS SR SA RJ CL"),
            (event::COOKIE_ECHO, "CE CE CE CE CE CE CE CE ES SS SR SA RJ CL"),
            (event::COOKIE_ACK, "ES ES ES ES ES ES ES ES ES SS SR SA RJ CL"),
            (event::SHUTDOWN, "SS SS SS SS SS SS SS SS SS SS SR SA RJ CL"),
            (event::SHUTDOWN_ACK, "SA SA SA SA SA CW CO CE ES SA SA SA RJ CL"),
            (event::SHUTDOWN_COMPLETE, "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL"),
            (event::ERROR, "CL CL CL CL CL CW CO CE ES SS SR SA RJ CL"),
            (event::ABORT, "CL RJ CL CL CL CL CL CL CL CL CL CL CL CL"),
        ];
        let input_only = [
            (event::DATA, "ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL"),
            (event::INIT, "I1 IN IN IN IN IN CO CE ES SS SR SA IN IN"),
            (event::INIT_ACK, "CE CE CE CE CE CE CO CE ES SS SR SA RJ CL"),
            (event::COOKIE_ECHO, "ES ES ES ES ES ES CO CE ES SS SR SA RJ CL"),
            (event::COOKIE_ACK, "ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL"),
            (event::SHUTDOWN, "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL"),
            (event::SHUTDOWN_ACK, "CL IN IN CS CR CW CO CE CL CL SR CL RJ CL"),
            (event::SHUTDOWN_COMPLETE, "CL CL CL CL CL CW CO CE ES SS CL CL RJ CL"),
            (event::ERROR, "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL"),
            (event::ABORT, "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL"),
        ];
        state::check(COLUMNS, &input, |state, event| next(Direction::Input, state, event));
        state::check(COLUMNS, &output, |state, event| next(Direction::Output, state, event));
        state::check(COLUMNS, &input_only, |state, event| next(Direction::InputOnly, state, event));
    }

    #[test]
    fn chunks_are_events() {
        // RFC 9260 section 3.2: the types in order, and some of later documents.
        let known = [
            event::DATA,
            event::INIT,
            event::INIT_ACK,
            event::DATA,
            event::DATA,
            event::DATA,
            event::ABORT,
            event::SHUTDOWN,
            event::SHUTDOWN_ACK,
            event::ERROR,
            event::COOKIE_ECHO,
            event::COOKIE_ACK,
            event::DATA,
            event::DATA,
            event::SHUTDOWN_COMPLETE,
        ];
        for kind in 0..=0xff {
            let expected = known.get(usize::from(kind)).copied().unwrap_or(event::DATA);
            assert_eq!(event::of_chunk(kind), expected, "chunk type {kind}");
            assert_eq!(is_turn(expected), expected != event::DATA, "chunk type {kind}");
        }
    }

    #[test]
    fn what_is_no_turn_leaves_an_established_association() {
        for direction in [Direction::Input, Direction::Output, Direction::InputOnly] {
            for event in (0..=0xff).filter(|event| !is_turn(*event)) {
                assert_eq!(next(direction, ES, event), ES);
            }
        }
    }

    /// Both halves seen: the client opens and closes; the real closes; the real refuses.
    #[test]
    fn associations_from_init_to_close() {
        use Direction::{Input, Output};
        let walk = |steps: &[(Direction, u8, State)]| {
            steps.iter().fold(NO, |state, (direction, event, expected)| {
                let state = next(*direction, state, *event);
                assert_eq!(state, *expected, "{direction:?}, event {event:#x}");
                state
            })
        };
        let opened = [
            (Input, event::INIT, I1),
            (Output, event::INIT_ACK, CS),
            (Input, event::COOKIE_ECHO, CR),
            (Output, event::COOKIE_ACK, ES),
        ];
        let by_client =
            [(Input, event::SHUTDOWN, SR), (Output, event::SHUTDOWN_ACK, SA), (Input, event::SHUTDOWN_COMPLETE, CL)];
        let by_real =
            [(Output, event::SHUTDOWN, SS), (Input, event::SHUTDOWN_ACK, CL), (Output, event::SHUTDOWN_COMPLETE, CL)];
        walk(&[&opened[..], &by_client].concat());
        walk(&[&opened[..], &by_real].concat());
        walk(&[(Input, event::INIT, I1), (Output, event::ABORT, RJ)]);
    }

    #[test]
    fn the_clients_half_alone_opens_and_closes() {
        let alone = |state, event| next(Direction::InputOnly, state, event);
        assert_eq!(alone(alone(NO, event::INIT), event::COOKIE_ECHO), ES);
        assert_eq!(alone(alone(ES, event::SHUTDOWN), event::SHUTDOWN_COMPLETE), CL, "the client closes");
        assert_eq!(alone(ES, event::SHUTDOWN_ACK), CL, "the real has closed");
        assert_eq!(alone(ES, event::ABORT), CL);
    }

    #[test]
    fn only_an_init_reuses_a_closed_association() {
        for (_, state) in COLUMNS {
            assert_eq!(is_reuse(state, event::INIT), state == CL, "{state:?}");
            assert!(!is_reuse(state, event::COOKIE_ECHO));
        }
    }
}
