//! The tables, each behind accessors of its own file. User space writes them all but connections, loads, cursors and counters.
//!
//! A table is one stretch of memory whose address the loader writes into the program ([`lb_common::abi::tables`]). Every index is
//! masked to the table's length: the verifier knows the mask and sees that it stays inside, and nothing has to be compared.

pub(crate) mod connections;
pub(crate) mod counters;
pub(crate) mod fragments;
pub(crate) mod limits;
pub(crate) mod pool;
pub(crate) mod reals;
pub(crate) mod remembered;
pub(crate) mod replies;
pub(crate) mod services;
pub(crate) mod settings;
pub(crate) mod shapes;
pub(crate) mod steps;

use core::marker::PhantomData;

use lb_ebpf::immediate::immediate;

/// A table of `T`s, at the address that the loader puts in place of the placeholder.
pub(crate) struct Table<T, const PLACEHOLDER: u64>(PhantomData<T>);

impl<T, const PLACEHOLDER: u64> Table<T, PLACEHOLDER> {
    /// The value at `index`, which callers mask: a program that does not is refused by the verifier.
    #[inline(always)]
    pub(crate) fn at(index: u64) -> *mut T {
        const { assert!(size_of::<T>().is_power_of_two()) };
        (immediate::<PLACEHOLDER>() + index * size_of::<T>() as u64) as *mut T
    }
}
