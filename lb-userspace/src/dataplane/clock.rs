//! The clock of last-seen stamps: the kernel's jiffies, shifted to ticks of about one second.
//!
//! User space cannot read jiffies, so a program of two instructions returns them through `BPF_PROG_TEST_RUN`.

use std::thread;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp};
use lb_common::abi::connection::SEEN_MASK;
use lb_common::abi::names::PROGRAM_CLOCK;

use super::{DataplaneError, objects};

/// Reads the kernel's jiffies.
pub struct Clock {
    object: Ebpf,
}

/// Kernel tick rates that Linux can be configured with.
const RATES: [u32; 4] = [100, 250, 300, 1000];

/// How long the rate is measured, once, when the tables are created: at 300 Hz 30 jiffies, against 25 at 250 Hz.
const MEASURE: Duration = Duration::from_millis(100);

impl Clock {
    /// Loads the clock program.
    pub fn load() -> Result<Self, DataplaneError> {
        let mut object = Ebpf::load(objects::CLOCK).map_err(|e| DataplaneError::other("clock program", e))?;
        program(&mut object)?.load().map_err(not_loaded)?;
        Ok(Self { object })
    }

    /// The low 32 bits of jiffies.
    pub fn jiffies(&mut self) -> Result<u32, DataplaneError> {
        let frame = [0u8; 64];
        let options = TestRunOptions { data_in: Some(&frame), repeat: 1, ..TestRunOptions::default() };
        let run =
            program(&mut self.object)?.test_run(options).map_err(|e| DataplaneError::other("clock program", e))?;
        Ok(run.return_value)
    }

    /// The tick now, modulo 2^22, for jiffies shifted by `shift` (at most 10, so that 32 bits of jiffies hold 22 of ticks).
    pub fn tick(&mut self, shift: u32) -> Result<u32, DataplaneError> {
        Ok((self.jiffies()? >> shift) & SEEN_MASK as u32)
    }

    /// Kernel ticks per second, measured.
    pub fn rate(&mut self) -> Result<u32, DataplaneError> {
        let (started, first) = (Instant::now(), self.jiffies()?);
        thread::sleep(MEASURE);
        let passed = f64::from(self.jiffies()?.wrapping_sub(first));
        let measured = passed / started.elapsed().as_secs_f64();
        Ok(nearest_rate(measured))
    }
}

/// The first program that a daemon loads: here it shows that the kernel lets it load none.
fn not_loaded(error: ProgramError) -> DataplaneError {
    match error {
        ProgramError::LoadError { io_error, .. } if io_error.kind() == std::io::ErrorKind::PermissionDenied => {
            DataplaneError::other(
                "loading programs",
                format!("{io_error}; run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"),
            )
        }
        error => DataplaneError::other("clock program", error),
    }
}

fn program(object: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    let program =
        object.program_mut(PROGRAM_CLOCK).ok_or_else(|| DataplaneError::other("clock program", "not in the object"))?;
    program.try_into().map_err(|e| DataplaneError::other("clock program", e))
}

fn nearest_rate(measured: f64) -> u32 {
    RATES
        .into_iter()
        .min_by(|a, b| (measured - f64::from(*a)).abs().total_cmp(&(measured - f64::from(*b)).abs()))
        .unwrap_or(RATES[1])
}

/// Right shift that makes ticks nearest to one second: 0.85 s at 300 Hz, 1.28 s at 100 Hz, 1.02 s at 250 and 1000 Hz.
pub fn shift_for(rate: u32) -> u32 {
    (0..=10).min_by_key(|shift| (1u32 << shift).abs_diff(rate)).unwrap_or(10)
}

/// Seconds in whole ticks, at least one, rounded up: a timeout is never cut short by more than the tick itself.
pub fn ticks(seconds: u32, rate: u32, shift: u32) -> u32 {
    let ticks = (u64::from(seconds) * u64::from(rate)).div_ceil(1 << shift);
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// Ticks in whole seconds.
pub fn seconds(ticks: u32, rate: u32, shift: u32) -> u64 {
    (u64::from(ticks) << shift) / u64::from(rate.max(1))
}

#[cfg(test)]
mod tests {
    use lb_common::abi::connection::MAX_IDLE;

    use super::*;

    #[test]
    fn rates_are_told_apart_in_spite_of_noise() {
        for (measured, rate) in [(98.0, 100), (240.0, 250), (262.0, 250), (290.0, 300), (980.0, 1000)] {
            assert_eq!(nearest_rate(measured), rate);
        }
    }

    #[test]
    fn ticks_are_about_a_second_and_timeouts_are_not_cut_short() {
        assert_eq!(RATES.map(shift_for), [7, 8, 8, 10]);
        for rate in RATES {
            let shift = shift_for(rate);
            for wanted in [1, 2, 30, 900, 2_678_400] {
                let given = f64::from(ticks(wanted, rate, shift)) * f64::from(1u32 << shift) / f64::from(rate);
                assert!(
                    given >= f64::from(wanted) && given < f64::from(wanted) + 1.3,
                    "{wanted} s at {rate} Hz: {given}"
                );
            }
            assert!(ticks(2_678_400, rate, shift) < MAX_IDLE);
        }
    }
}
