//! Single instructions that the compiler would choose otherwise, or leave out: the immediates that the loader fills in (the tables'
//! addresses and the constants of [`lb_common::abi::tables`]), and masks.
#![expect(unsafe_code, reason = "an instruction of our own choice is assembly")]

use core::arch::asm;

/// The immediate that the loader puts in place of `PLACEHOLDER`: one instruction, whichever place it is used at.
#[inline(always)]
pub fn immediate<const PLACEHOLDER: u64>() -> u64 {
    let value: u64;
    // SAFETY: loads a constant into a register, nothing else. Not declared pure: kept in a register or on the stack for later it would
    // cost more than to be loaded once more.
    unsafe {
        asm!("{value} = {placeholder} ll", value = out(reg) value, placeholder = const PLACEHOLDER, options(nomem, nostack));
    };
    value
}

/// The same, of a constant that shifts by less than a word: the compiler need not mask it.
#[inline(always)]
pub fn shift<const PLACEHOLDER: u64>() -> u64 {
    let value = immediate::<PLACEHOLDER>();
    // SAFETY: the loader fills in nothing else (`placeholders` in the daemon), and shifts of BPF take the lower six bits anyway.
    unsafe { core::hint::assert_unchecked(value < 64) };
    value
}

/// The lower bits of a value, by an instruction that stays: where the compiler knows that the value is small, the verifier may not.
#[inline(always)]
pub fn masked<const MASK: u32>(value: u32) -> u32 {
    let mut value = u64::from(value);
    // SAFETY: changes the register it is given, nothing else, and leaves no bit above the mask's.
    unsafe {
        asm!("{value} &= {mask}", value = inout(reg) value, mask = const MASK, options(pure, nomem, nostack));
        core::hint::assert_unchecked(value <= u64::from(MASK));
    }
    value as u32
}

/// The lower bits of a value, by an instruction that stays where it is written.
#[inline(always)]
pub fn at_once<const MASK: u32>(value: u64) -> u64 {
    let mut value = value;
    // SAFETY: changes the register it is given, nothing else, and leaves no bit above the mask's.
    unsafe {
        asm!("{value} &= {mask}", value = inout(reg) value, mask = const MASK, options(nomem, nostack));
        core::hint::assert_unchecked(value <= u64::from(MASK));
    }
    value
}

/// The same index if it is below `count`, else 0. The comparison is of the register that is used after, which the verifier wants to see;
/// what is below comes first, so that it has walked that when it comes to the 0, which is one of these, and need not walk on.
#[inline(always)]
pub fn below(index: u64, count: u64) -> u64 {
    let mut index = index;
    // SAFETY: changes the register it is given, nothing else; no jump ends behind the last instruction's successor.
    unsafe {
        asm!(
            "if {index} >= {count} goto +1",
            "goto +1",
            "{index} = 0",
            index = inout(reg) index,
            count = in(reg) count,
            options(pure, nomem, nostack)
        );
    };
    index
}

/// The same condition; what happens when it does not hold is laid out first, and the verifier walks that first.
#[inline(always)]
pub fn walked_last(condition: bool) -> bool {
    core::intrinsics::unlikely(condition)
}

/// Nothing, but at a place of its own: a branch that has nothing to do but to hand on a constant would be laid out as that constant's load
/// before the condition, for every packet.
#[inline(always)]
pub fn apart() {
    // SAFETY: no instruction at all.
    unsafe { asm!("", options(nomem, nostack)) };
}
