//! What `lblc` and `lblcr` remember: for each destination address the reals that it has had.
//!
//! A row belongs to one service and one destination. It has room for [`SET`] reals, the one added last first; IPVS has no such
//! bound. `lblc` uses one of them.

/// Reals that a row has room for.
pub const SET: u32 = 12;
/// Ticks after which lblcr takes the most loaded real out of a set that nobody has changed: IPVS's `lblcr_expiration`, 86 400 seconds.
/// The datapath's tick is about a second.
pub const SET_EXPIRATION: u32 = 86_400;

/// Remembered destinations of one service.
pub trait Memory {
    /// A row of the table.
    type Row: Copy;

    /// The destination's row.
    fn find(&self, destination: u32) -> Option<Self::Row>;
    /// A row for a destination that has none, without reals. None when there is no room.
    fn make(&self, destination: u32) -> Option<Self::Row>;
    /// Says that the row was used now.
    fn touch(&self, row: Self::Row);
    /// Number of reals in the row.
    fn len(&self, row: Self::Row) -> u32;
    /// Real `at` of the row.
    fn real(&self, row: Self::Row, at: u32) -> u32;
    /// Writes the row's reals from `at` on: this one there.
    fn set_real(&self, row: Self::Row, at: u32, real: u32);
    /// Makes the row have `len` reals, changed now.
    fn set_len(&self, row: Self::Row, len: u32);
    /// Ticks since the reals were changed.
    fn age(&self, row: Self::Row) -> u32;
    /// Weight that a real has now in this service; 0 when it is not of it.
    fn weight(&self, real: u32) -> u32;
}
