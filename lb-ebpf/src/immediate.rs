//! Immediates that the loader fills in: the tables' addresses and the constants of [`lb_common::abi::tables`].
#![expect(unsafe_code, reason = "a 64-bit immediate of our own choice is one instruction of assembly")]

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
