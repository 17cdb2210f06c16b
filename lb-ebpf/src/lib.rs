//! What all our eBPF programs share: the packet, the kernel's helpers and atomic words. Everything unsafe that is not a map is here.
#![no_std]
#![deny(unsafe_code)]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(
    internal_features,
    reason = "core::sync::atomic has no read-modify-write for BPF, the intrinsics behind it have"
)]

pub mod helpers;
pub mod immediate;
pub mod packet;
pub mod word;
