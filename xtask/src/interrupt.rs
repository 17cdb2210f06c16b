//! Ctrl-C and friends: the first one asks for an orderly end, a second one of the same kind ends at once (then the reaper
//! cleans up).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The signal that asked for the end, as an error.
#[derive(Debug)]
pub(crate) struct Interrupted(pub(crate) usize);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by signal {}; everything was removed", self.0)
    }
}

impl std::error::Error for Interrupted {}

/// Knows whether the end was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from here on.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let seen = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let once = Arc::new(AtomicBool::new(false));
            // In this order: the second signal finds `once` set and gets the default action.
            flag::register_conditional_default(signal, Arc::clone(&once))
                .and_then(|_| flag::register(signal, once))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&seen), signal.unsigned_abs() as usize))
                .with_context(|| format!("cannot catch signal {signal}"))?;
        }
        Ok(Self(seen))
    }

    /// Fails once a signal came.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        match self.0.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Interrupted(signal)),
        }
    }
}
