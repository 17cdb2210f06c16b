//! The reply table: how answers that come back through the director find their connection ([`lb_common::abi::reply`]).
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use lb_common::abi::connection::{Meta, State};
pub(crate) use lb_common::abi::reply::Word;
use lb_common::abi::reply::{ATTEMPTS, Bucket, Local, MAX_LOCALS, Place, Record, WAYS};
use lb_common::abi::tables::placeholder::{of_constant, of_table};
use lb_common::abi::tables::{self, Constant};
use lb_common::algo::hash;
use lb_common::table::Slot;
use lb_ebpf::immediate::{immediate, masked};
use lb_ebpf::word;

use super::{Table, connections, settings};
use crate::family::{Family, V4, V6};

type Index = Table<Bucket, { of_table(tables::Table::ReplyIndex) }>;
type Records = Table<Record, { of_table(tables::Table::Replies) }>;
type TiesV4 = Table<u32, { of_table(tables::Table::TiesV4) }>;
type TiesV6 = Table<u32, { of_table(tables::Table::TiesV6) }>;
type Locals = Table<Local, { of_table(tables::Table::Locals) }>;

/// Buckets of the index, less one.
#[inline(always)]
fn mask() -> u64 {
    immediate::<{ of_constant(Constant::ReplyMask) }>()
}

/// A record and its index word.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    number: u64,
}

/// The rows where an answer with a certain hash may be.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    first: u64,
    second: u64,
}

/// The rows of the answers with this hash.
#[inline(always)]
pub(crate) fn rows(hash: u64) -> Rows {
    Rows { first: hash::first_bucket(hash, mask()), second: hash::second_bucket(hash, mask()) }
}

impl Rows {
    /// How many there are.
    pub(crate) const COUNT: usize = 2 * WAYS;

    /// Row `way`, below [`Rows::COUNT`].
    #[inline(always)]
    pub(crate) fn row(self, way: usize) -> Row {
        let bucket = if way < WAYS { self.first } else { self.second };
        Row { number: bucket * WAYS as u64 + (way % WAYS) as u64 }
    }
}

impl Row {
    /// The row with this number.
    #[inline(always)]
    pub(crate) fn of(number: u32) -> Self {
        Self { number: u64::from(number) & (mask() * WAYS as u64 + (WAYS as u64 - 1)) }
    }

    /// Its number.
    #[inline(always)]
    pub(crate) fn number(self) -> u32 {
        self.number as u32
    }

    #[inline(always)]
    fn word_place(self) -> *mut u64 {
        // All words of all buckets lie behind each other.
        // SAFETY: the number is below the number of words.
        unsafe { Index::at(0).cast::<u64>().add(self.number as usize) }
    }

    /// Its index word now.
    #[inline(always)]
    pub(crate) fn word(self) -> Word {
        // SAFETY: an aligned word of the table.
        Word(unsafe { word::load(self.word_place()) })
    }

    /// Replaces the index word if it still is `old`. True when it was.
    #[inline(always)]
    pub(crate) fn exchange(self, old: Word, new: Word) -> bool {
        // SAFETY: an aligned word of the table.
        unsafe { word::exchange(self.word_place(), old.0, new.0) }
    }

    /// Stores the index word of a row that this caller made busy, after everything written before it.
    #[inline(always)]
    pub(crate) fn publish(self, new: Word) {
        // SAFETY: an aligned word of the table.
        unsafe { word::publish(self.word_place(), new.0) };
    }

    /// Its record. Others may be writing it: each word is loaded once, and what was read counts if [`Row::word`] is the same after.
    #[inline(always)]
    pub(crate) fn record(self) -> RecordAt {
        RecordAt(Records::at(self.number))
    }
}

/// A record in the table.
#[derive(Clone, Copy)]
pub(crate) struct RecordAt(*mut Record);

macro_rules! words {
    ($($name:ident $set:ident $word:literal;)*) => {
        $(
            #[doc = concat!("Word ", $word, " of the record.")]
            #[inline(always)]
            pub(crate) fn $name(self) -> u64 {
                // SAFETY: one of the sixteen aligned words of a record.
                unsafe { word::load(self.0.cast::<u64>().add($word)) }
            }

            #[doc = concat!("Stores word ", $word, " of the record.")]
            #[inline(always)]
            pub(crate) fn $set(self, value: u64) {
                // SAFETY: as above.
                unsafe { word::store(self.0.cast::<u64>().add($word), value) };
            }
        )*
    };
}

impl RecordAt {
    words! {
        source_0 set_source_0 0;
        source_1 set_source_1 1;
        destination_0 set_destination_0 2;
        destination_1 set_destination_1 3;
        ends set_ends 4;
        virtual_0 set_virtual_0 5;
        virtual_1 set_virtual_1 6;
        identity set_identity 7;
        key_0 set_key_0 8;
        key_1 set_key_1 9;
        key_2 set_key_2 10;
        link_0 set_link_0 11;
        link_1 set_link_1 12;
        mtu set_mtu 13;
        first_acknowledgement set_first_acknowledgement 14;
    }

    /// Clears word 15 of the record: the daemon's helper has not moved any numbers of a connection that begins.
    #[inline(always)]
    pub(crate) fn clear_moved(self) {
        // SAFETY: the last of the sixteen aligned words of a record.
        unsafe { word::store(self.0.cast::<u64>().add(15), 0) };
    }

    /// Source of the answer.
    #[inline(always)]
    pub(crate) fn source(self) -> [u64; 2] {
        [self.source_0(), self.source_1()]
    }

    /// Destination of the answer.
    #[inline(always)]
    pub(crate) fn destination(self) -> [u64; 2] {
        [self.destination_0(), self.destination_1()]
    }

    /// The service's address.
    #[inline(always)]
    pub(crate) fn virtual_address(self) -> [u64; 2] {
        [self.virtual_0(), self.virtual_1()]
    }

    /// The connection's key.
    #[inline(always)]
    pub(crate) fn key(self) -> [u64; 3] {
        [self.key_0(), self.key_1(), self.key_2()]
    }

    /// Number of the connection's real.
    #[inline(always)]
    pub(crate) fn real(self) -> u32 {
        self.identity() as u32 & ((1 << 20) - 1)
    }

    /// The record is of the connection that `meta` and its key stand for.
    #[inline(always)]
    pub(crate) fn is_of(self, meta: Meta) -> bool {
        meta.identity() == self.identity() && meta.state_bits() != State::Busy as u8
    }
}

/// The row, which an index word that was seen to be `word` belongs to, is a live connection's: it must stay.
#[inline(always)]
pub(crate) fn is_used(row: Row, word: Word) -> bool {
    if word.place().is_v6() { is_used_by::<V6>(row, word.place()) } else { is_used_by::<V4>(row, word.place()) }
}

#[inline(always)]
fn is_used_by<F: Family>(row: Row, place: Place) -> bool {
    let record = row.record();
    let slot = F::slot(place.index());
    record.is_of(slot.meta()) && slot.key_is(F::key_of(record.key())) && tie::<F>(place.index()) == row.number() + 1
}

#[inline(always)]
fn tie_place<F: Family>(index: u32) -> *mut u32 {
    if F::IS_V6 { TiesV6::at(connections::entry_v6(index)) } else { TiesV4::at(connections::entry_v4(index)) }
}

/// Number of the reply record of a connection, plus one.
#[inline(always)]
pub(crate) fn tie<F: Family>(index: u32) -> u32 {
    // SAFETY: an aligned half word of the table.
    unsafe { word::load_half(tie_place::<F>(index)) }
}

/// Ties a connection to a record if its tie still is `old`. True when it was.
#[inline(always)]
pub(crate) fn set_tie<F: Family>(index: u32, old: u32, row: Row) -> bool {
    // SAFETY: as above.
    unsafe { word::exchange_half(tie_place::<F>(index), old, row.number() + 1) }
}

/// Gives an entry the tie of another.
#[inline(always)]
pub(crate) fn copy_tie<F: Family>(from: u32, to: u32) {
    // SAFETY: as above.
    unsafe { word::store_half(tie_place::<F>(to), tie::<F>(from)) }
}

/// Makes the reply record that entry `from` is tied to, if there is one, lead to entry `to`.
#[inline(always)]
pub(crate) fn move_place<F: Family>(from: u32, to: u32) {
    let Some(number) = tie::<F>(from).checked_sub(1) else { return };
    let row = Row::of(number);
    let word = row.word();
    if word.is_live() && word.place() == Place::new(from, F::IS_V6) {
        row.exchange(word, word.with(Place::new(to, F::IS_V6)));
    }
}

/// The address and port (raw) that full NAT tries for a connection with this hash: all of them in turn if there are no more than
/// attempts, otherwise as many that are spread evenly. None when no local address of the family is configured.
#[inline(always)]
pub(crate) fn local(is_v6: bool, hash: u64, attempt: u32) -> Option<([u64; 2], u16)> {
    let counts = settings::get().locals;
    let count = if is_v6 { (counts >> 32) as u32 } else { counts as u32 };
    if count == 0 {
        return None;
    }
    let number = ((hash as u32).wrapping_add(attempt) % count) & (MAX_LOCALS - 1);
    let first = if is_v6 { MAX_LOCALS } else { 0 };
    // Masked by the sum: kernel 6.1 has forgotten by here that `first` is one of two.
    let place = Locals::at(u64::from(masked::<{ 2 * MAX_LOCALS - 1 }>(number + first))).cast::<u64>();
    // SAFETY: aligned words of a value of the table. User space makes an address count by the settings, after it has been written.
    let (address, ports) = unsafe { ([word::load(place), word::load(place.add(1))], word::load(place.add(2))) };
    let (first_port, ports) = (ports as u32, (ports >> 32) as u32);
    if ports == 0 {
        return None;
    }
    let stride = (ports / ATTEMPTS).max(1);
    let port = first_port + ((hash >> 32) as u32 % ports + attempt / count * stride) % ports;
    Some((address, (port as u16).to_be()))
}
