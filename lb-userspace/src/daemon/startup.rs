//! The tables that a daemon begins with: those that it finds, of the size that it is told, or new ones.

use lb_common::abi::LAYOUT_VERSION;
use lb_common::abi::settings::{DEFAULT_TIMEOUTS, Settings};
use lb_common::abi::tables::Table;

use crate::dataplane::clock::{self, Clock};
use crate::dataplane::mapped::Mapped;
use crate::dataplane::memory::from_pin;
use crate::dataplane::pins::{Geometry, Pins};
use crate::dataplane::resize::Resize;
use crate::dataplane::{DataplaneError, cpus};

/// Settings of tables that are about to be made.
pub(super) fn new_settings(clock: &mut Clock) -> Result<Settings, DataplaneError> {
    let rate = clock.rate()?;
    let shift = clock::shift_for(rate);
    Ok(Settings {
        layout_version: LAYOUT_VERSION,
        jiffies_per_second: rate,
        tick_shift: shift,
        hash_key: random_key()?,
        timeouts: DEFAULT_TIMEOUTS.map(|seconds| clock::ticks(seconds, rate, shift)),
        ..Settings::default()
    })
}

/// Tables of the size that is wanted now, if those that are there have another. Where connections would not fit, and for reals, these
/// keep theirs.
pub(super) fn resized(
    pins: &Pins,
    (kept, wanted): (Geometry, Geometry),
    settings: &Settings,
    clock: &mut Clock,
    warnings: &mut Vec<String>,
) -> Option<(Geometry, Resize)> {
    if kept.reals != wanted.reals {
        warnings.push(format!(
            "the tables keep room for the {} reals that they were created with; `xvs detach` makes room for another number, and \
             forgets connections",
            kept.reals
        ));
    }
    let wanted = Geometry { reals: kept.reals, ..wanted };
    if kept == wanted {
        return None;
    }
    let begun = clock
        .tick(settings.tick_shift)
        .and_then(|now| Resize::begin(pins, (kept, wanted), settings.secret(), (now, settings.timeouts)));
    match begun {
        Ok(resize) => Some((wanted, resize)),
        Err(error) => {
            warnings.push(format!(
                "the tables keep the size they have ({} connections), not that of {}: {error}",
                kept.v4.room(),
                wanted.v4.room()
            ));
            None
        }
    }
}

/// Size and settings of tables that are there. Tables without version are those of a daemon that died while it made them: no program
/// has ever used them, so they are made anew.
pub(super) fn adopted(pins: &Pins) -> Result<Option<(Geometry, Settings)>, DataplaneError> {
    let Some(geometry) = pins.existing(cpus()?)? else { return Ok(None) };
    let path = pins.map(Table::Settings);
    let map = Mapped::of(&from_pin(&path)?, geometry.layout(Table::Settings))?;
    let settings: Settings = map.read(0).unwrap_or_default();
    match settings.layout_version {
        LAYOUT_VERSION => Ok(Some((geometry, settings))),
        0 => pins.remove_maps().map(|()| None),
        other => {
            let difference = format!("layout version {other}, this version has {LAYOUT_VERSION}");
            Err(DataplaneError::Shape { path, difference })
        }
    }
}

fn random_key() -> Result<[u64; 2], DataplaneError> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .map_err(|e| DataplaneError::other("/dev/urandom", e))?;
    let word = |at: usize| bytes[at..at + 8].iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    Ok([word(0), word(8)])
}
