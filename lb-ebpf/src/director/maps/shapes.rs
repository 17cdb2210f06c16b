//! The shapes of service addresses in use.
#![expect(unsafe_code, reason = "the value is read through a pointer into its table")]

use lb_common::abi::shape::{SHAPES, Shape, Shapes};
use lb_common::abi::tables::{self, placeholder::of_table};
use lb_ebpf::word;

use super::Table;

type TheShapes = Table<Shapes, { of_table(tables::Table::Shapes) }>;

/// Shape `at` of a family; None behind the last.
#[inline(always)]
pub(crate) fn shape(is_v6: bool, at: u32) -> Option<Shape> {
    let index = (at as usize & (SHAPES - 1)) + if is_v6 { SHAPES } else { 0 };
    // SAFETY: an aligned half word of the table's one value, which has two lists of that length.
    let shape = unsafe { word::load_half(TheShapes::at(0).cast::<u32>().add(index)) };
    if shape == 0 { None } else { Some(Shape(shape)) }
}
