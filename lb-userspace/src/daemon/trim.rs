//! Memory that a large change needed for a moment goes back to the kernel.
#![expect(unsafe_code, reason = "the C library's own function is the only way to ask for it")]

/// Services of a change from which on it is worth the milliseconds that it takes.
const LARGE: usize = 500;

/// After a change of so many services: the allocator keeps what was freed between pieces that stay, hundreds of MB after a million reals.
pub(super) fn after(services: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if services >= LARGE {
        // SAFETY: takes a number, touches the allocator's own free memory only, and may be called from any thread at any time.
        unsafe { libc::malloc_trim(0) };
    }
}
