//! Fills in what the director's program leaves open: tables' addresses and constants ([`lb_common::abi::tables`]).
//!
//! A placeholder is the immediate of a 64-bit constant load, an instruction of two halves. For a constant the immediate is replaced;
//! for a table the instruction becomes the kernel's "address of a map's value" (`BPF_PSEUDO_MAP_VALUE`): file descriptor in the
//! first half, offset 0 in the second. aya relocates addresses only of maps that it makes and fills by itself, so this is ours.

use std::os::fd::{AsFd as _, AsRawFd as _};

use lb_common::abi::limits::MESSAGES_PER_SECOND;
use lb_common::abi::settings::Settings;
use lb_common::abi::tables::placeholder::{Meaning, TAG, meaning};
use lb_common::abi::tables::{Constant, Table};
use object::{Object as _, ObjectSection as _, SectionKind};

use super::DataplaneError;
use super::memory::Memory;
use super::pins::Geometry;

/// Opcode of a 64-bit constant load: `BPF_LD | BPF_DW | BPF_IMM`.
const LOAD_CONSTANT: u8 = 0x18;
/// Source register 1 of that instruction: the immediate is a map's file descriptor and an offset into its value.
const MAP_VALUE: u8 = 2;
const INSTRUCTION: usize = 8;

/// The object with every placeholder filled in.
pub(crate) fn fill(
    object: &[u8],
    memory: &Memory,
    geometry: &Geometry,
    settings: &Settings,
) -> Result<Vec<u8>, DataplaneError> {
    let mut filled = object.to_vec();
    for range in code(object)? {
        let code = &mut filled[range];
        for at in (0..code.len().saturating_sub(INSTRUCTION)).step_by(INSTRUCTION) {
            let instruction = &mut code[at..at + 2 * INSTRUCTION];
            let (low, high) = (half(instruction, 4), half(instruction, 12));
            if instruction[0] != LOAD_CONSTANT || instruction[1] >> 4 != 0 || high != TAG {
                continue;
            }
            let immediate = u64::from(high) << 32 | u64::from(low);
            let (source, immediate) = match meaning(immediate) {
                Some(Meaning::Table(table)) => (MAP_VALUE, descriptor(memory, table)),
                Some(Meaning::Constant(constant)) => (0, value(constant, geometry, settings)),
                None => return Err(invalid(format!("unknown placeholder {immediate:#x}"))),
            };
            instruction[1] |= source << 4;
            instruction[4..8].copy_from_slice(&(immediate as u32).to_le_bytes());
            instruction[12..16].copy_from_slice(&((immediate >> 32) as u32).to_le_bytes());
        }
    }
    Ok(filled)
}

/// Where the object holds instructions.
fn code(object: &[u8]) -> Result<Vec<std::ops::Range<usize>>, DataplaneError> {
    let file = object::File::parse(object).map_err(|e| invalid(e.to_string()))?;
    let sections = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let ranges = sections.filter_map(|section| section.file_range());
    Ok(ranges.map(|(start, length)| start as usize..(start + length) as usize).collect())
}

fn half(instruction: &[u8], at: usize) -> u32 {
    instruction[at..at + 4].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn descriptor(memory: &Memory, table: Table) -> u64 {
    u64::from(memory.map(table).fd().as_fd().as_raw_fd().unsigned_abs())
}

fn value(constant: Constant, geometry: &Geometry, settings: &Settings) -> u64 {
    match constant {
        Constant::TickShift => u64::from(settings.tick_shift) & 63,
        Constant::HashKey0 => settings.secret()[0],
        Constant::HashKey1 => settings.secret()[1],
        Constant::BucketMaskV4 => u64::from(geometry.v4.first - 1),
        Constant::BucketMaskV6 => u64::from(geometry.v6.first - 1),
        Constant::OverflowMaskV4 => u64::from(geometry.v4.overflow - 1),
        Constant::OverflowMaskV6 => u64::from(geometry.v6.overflow - 1),
        Constant::RealMask => u64::from(geometry.reals - 1),
        Constant::RealBits => u64::from(geometry.reals.trailing_zeros()),
        Constant::MessagesPerJiffy => u64::from((MESSAGES_PER_SECOND / settings.jiffies_per_second.max(1)).max(1)),
        Constant::ReplyMask => u64::from(geometry.reply_buckets - 1),
        Constant::CpuMask => u64::from(geometry.cpu_places() - 1),
    }
}

fn invalid(cause: String) -> DataplaneError {
    DataplaneError::other("the director's object", cause)
}
