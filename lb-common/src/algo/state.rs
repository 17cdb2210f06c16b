//! TEMPORARY: replaced by the sctp branch.
use super::tcp_state;
use crate::abi::connection::State;
/// Direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In.
    Input,
    /// Out.
    Output,
    /// In only.
    InputOnly,
}
/// Next.
#[inline(always)]
pub fn next(protocol: u8, _direction: Direction, state: State, event: u8) -> State {
    if protocol == 6 { tcp_state::next(state, event) } else { state }
}
