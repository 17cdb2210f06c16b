//! Flags of schedulers: three bits, and the names that `sh` and `mh` have for two of them.

use super::failure::Failure;
use crate::model::{Scheduler, SchedulerFlag};

/// Reads `sh-fallback,sh-port`. `scheduler` is the name that was given, known or not.
pub(super) fn read(text: &str, scheduler: &str) -> Result<Vec<SchedulerFlag>, Failure> {
    let mut bits = 0;
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let wrong = || Failure::usage(format!("invalid scheduler flag `{word}'"));
        let flag: SchedulerFlag = word.parse().map_err(|_| wrong())?;
        let bit = bit(flag).ok_or_else(wrong)?;
        if flag.scheduler().is_some_and(|of| of.as_str() != scheduler) {
            return Err(Failure::usage(format!("incompatible scheduler flag `{word}'")));
        }
        bits |= bit;
    }
    let of = scheduler.parse().unwrap_or_default();
    Ok(of_bits(bits, of))
}

/// The flags of a service as ipvsadm prints them; empty when it has none that ipvsadm knows.
pub(super) fn text(flags: &[SchedulerFlag], scheduler: Scheduler) -> String {
    let bits = flags.iter().copied().filter_map(bit).fold(0, |bits, bit| bits | bit);
    let names: Vec<&str> = of_bits(bits, scheduler).into_iter().map(SchedulerFlag::as_str).collect();
    names.join(",")
}

/// IPVS's bit; none for a flag of our own.
fn bit(flag: SchedulerFlag) -> Option<u8> {
    Some(match flag {
        SchedulerFlag::Flag1 | SchedulerFlag::ShFallback | SchedulerFlag::MhFallback => 1,
        SchedulerFlag::Flag2 | SchedulerFlag::ShPort | SchedulerFlag::MhPort => 2,
        SchedulerFlag::Flag3 => 4,
        SchedulerFlag::UdpActive => return None,
    })
}

fn of_bits(bits: u8, scheduler: Scheduler) -> Vec<SchedulerFlag> {
    let all = [(1, SchedulerFlag::Flag1), (2, SchedulerFlag::Flag2), (4, SchedulerFlag::Flag3)];
    all.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, flag)| flag.named_by(scheduler)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(text: &str, scheduler: &str) -> Result<String, String> {
        let flags = read(text, scheduler).map_err(|failure| failure.text)?;
        Ok(super::text(&flags, scheduler.parse().unwrap_or_default()))
    }

    #[test]
    fn flags_are_printed_in_the_order_of_their_bits() {
        for (given, scheduler, printed) in [
            ("sh-port,sh-fallback", "sh", "sh-fallback,sh-port"),
            ("flag-1", "sh", "sh-fallback"),
            ("mh-port,flag-1,flag-3", "mh", "mh-fallback,mh-port,flag-3"),
            ("flag-3,flag-2,flag-1", "wlc", "flag-1,flag-2,flag-3"),
            ("sh-port,,", "sh", "sh-port"),
            ("", "rr", ""),
        ] {
            assert_eq!(read_as(given, scheduler).as_deref(), Ok(printed), "{given}");
        }
        assert_eq!(text(&[SchedulerFlag::UdpActive], Scheduler::Lc), "", "ours has no name there");
    }

    #[test]
    fn a_flag_of_another_scheduler_and_a_word_that_is_none_are_refused() {
        assert_eq!(read_as("sh-port", "rr").unwrap_err(), "incompatible scheduler flag `sh-port'");
        assert_eq!(read_as("mh-port", "sh").unwrap_err(), "incompatible scheduler flag `mh-port'");
        assert_eq!(read_as("sh-port,nonsense", "sh").unwrap_err(), "invalid scheduler flag `nonsense'");
        assert_eq!(read_as("udp-active", "lc").unwrap_err(), "invalid scheduler flag `udp-active'");
    }
}
