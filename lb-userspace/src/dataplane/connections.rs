//! The connection tables from user space: expiry, listing, use. All at memory speed, by the same protocol as the datapath's.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::connection::{Meta, State};
use lb_common::abi::real::{Load, disposition};
use lb_common::table::unit;

use super::ageing::Ageing;
use super::flows::address;
use super::mapped::Mapped;
use super::rounds::{Rounds, Stretch, Sweeping, Swept};
use super::tables::Tables;
pub use super::virtuals::Virtuals;

/// A connection, or a client's template, as it stood in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Client address and port; a template's has port 0.
    pub client: SocketAddr,
    /// Port that the client sent to.
    pub port: u16,
    /// Address that it sent to, and its protocol number; None when its service is gone, and for a mark's template.
    pub virtual_: Option<(IpAddr, u8)>,
    /// Its meta word.
    pub meta: Meta,
}

/// A template that has to be looked at: whether it is IPv6, its place, its meta word.
pub(super) type At = (bool, usize, Meta);

/// What a sweep met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Entries in use, IPv4.
    pub used_v4: u64,
    /// Entries in use, IPv6.
    pub used_v6: u64,
    /// Entries that were freed.
    pub expired: u64,
}

impl Tables {
    /// Frees connections without a packet for longer than they are kept, and those of services that were removed. A template that has had
    /// its time stays while connections made by it do, and one whose connection is open is assured.
    pub fn sweep(&self, now: u32, ageing: &Ageing) -> Sweep {
        self.sweep_due(&mut Rounds::default(), now, ageing)
    }

    /// Sweeps one stretch of a table; what templates need is for the caller.
    pub(super) fn sweep_stretch(&self, at: Stretch, swept: &Sweeping<'_>, templates: &mut Vec<At>) -> Swept {
        let mut seen = Swept { used: 0, expired: 0, next: None };
        for (index, entry) in self.entries_of(at) {
            let word = &entry[entry.len() - 1];
            let meta = Meta(word.load(Ordering::Acquire));
            if !meta.is_live() {
                continue;
            }
            let left = swept.ageing.left(meta, swept.now);
            if swept.retired.contains(&meta.service()) || (left.is_none() && !meta.state().is_template()) {
                if self.free(word, meta) {
                    seen.expired += 1;
                    continue;
                }
                seen.look_after(0);
            } else if left.is_none() || meta.state() == State::Template {
                templates.push((at.is_v6, index, meta));
                seen.look_after(0);
            }
            seen.look_after(left.unwrap_or(0));
            seen.used += 1;
        }
        seen
    }

    /// A connection table and the words of its entries.
    pub(super) fn table(&self, is_v6: bool) -> (&Mapped, usize) {
        if is_v6 { (&self.maps.connections_v6, 4) } else { (&self.maps.connections_v4, 2) }
    }

    /// The entries of a stretch by their numbers.
    fn entries_of(&self, at: Stretch) -> impl Iterator<Item = (usize, &[AtomicU64])> {
        let (table, width) = self.table(at.is_v6);
        (at.first..).zip(table.words(at.first * width, at.length * width).chunks_exact(width))
    }

    /// The entry at a place in a connection table.
    pub(super) fn entry(&self, is_v6: bool, index: usize) -> &[AtomicU64] {
        let (table, width) = self.table(is_v6);
        table.words(index * width, width)
    }

    /// Entries in use, IPv4 and IPv6.
    pub fn used(&self) -> (u64, u64) {
        let count = |is_v6| {
            let (table, width) = self.table(is_v6);
            let metas = table.parts().flat_map(|part| part.iter().skip(width - 1).step_by(width));
            metas.filter(|word| Meta(word.load(Ordering::Relaxed)).is_live()).count() as u64
        };
        (count(false), count(true))
    }

    /// Frees an entry, unless a packet was faster; then its real has one connection less.
    pub(super) fn free(&self, word: &AtomicU64, meta: Meta) -> bool {
        if word.compare_exchange(meta.0, Meta::FREE.0, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return false;
        }
        self.end_load(meta.real(), unit(meta.state()));
        true
    }

    /// Takes a connection out of a real's counts, as the datapath does.
    pub(super) fn end_load(&self, real: u32, unit: u64) {
        if unit == 0 {
            return;
        }
        let Some(word) = self.maps.loads.value(real).first() else { return };
        let load = Load(word.fetch_sub(unit, Ordering::SeqCst).wrapping_sub(unit));
        if load.is_overloaded() && self.capacity(real).is_relieved(load.total()) {
            self.maps.set_overloaded(real, false);
        }
    }

    /// Counts a new connection of a real, as the datapath does.
    pub(super) fn begin_load(&self, real: u32, unit: u64) {
        let Some(word) = self.maps.loads.value(real).first() else { return };
        let load = Load(word.fetch_add(unit, Ordering::SeqCst).wrapping_add(unit));
        if self.capacity(real).is_reached(load.total()) {
            self.maps.set_overloaded(real, true);
        }
    }

    /// A template may lead a client to its real: that one is there still, and of the service.
    pub(super) fn is_template_alive(&self, meta: Meta, group: u32) -> bool {
        self.real(meta.real()).is_some_and(|real| {
            u32::from(real.service) == group && matches!(real.disposition, disposition::FORWARD | disposition::DRAIN)
        })
    }

    /// Calls `take` with every connection and template, IPv4 first.
    pub fn each_connection(&self, mut take: impl FnMut(Connection)) {
        let virtuals = self.virtuals();
        for stretch in self.stretches() {
            self.connections_in(stretch, &virtuals, &mut take);
        }
    }

    /// Calls `take` with the connections and templates of a stretch.
    pub fn connections_in(&self, at: Stretch, virtuals: &Virtuals, mut take: impl FnMut(Connection)) {
        for (index, entry) in self.entries_of(at) {
            if at.is_v6 {
                if let Some((meta, key)) = read::<3>(entry) {
                    take(connection(ends_v6(key), virtuals.v6(meta.service()), meta));
                }
            } else if let Some((meta, [key])) = read::<1>(entry) {
                let (key, virtual_) = virtuals.v4(self, meta.service(), index, key);
                take(connection(ends_v4(key), virtual_, meta));
            }
        }
    }

    /// Connections that fit, IPv4 and IPv6.
    pub fn places(&self) -> (u64, u64) {
        (self.geometry.v4.places(), self.geometry.v6.places())
    }

    /// Counts every connection anew into the reals' loads: what a daemon finds that adopts tables whose last one died in mid-change.
    /// Returns how many loads were wrong. Only exact while no packets flow; so it is for tests and repair, not for the running daemon.
    pub fn audit_loads(&self) -> BTreeSet<u32> {
        let mut counted = std::collections::BTreeMap::<u32, u64>::new();
        self.each_connection(|connection| {
            *counted.entry(connection.meta.real()).or_default() += unit(connection.meta.state());
        });
        let is_counted = |real: &u32| self.load(*real).0 & !Load::OVERLOADED;
        (0..self.geometry.reals).filter(|real| is_counted(real) != counted.get(real).copied().unwrap_or(0)).collect()
    }
}

/// Meta and key of a live entry; None while it changes hands.
pub(super) fn read<const KEY: usize>(entry: &[AtomicU64]) -> Option<(Meta, [u64; KEY])> {
    let word = &entry[KEY];
    let meta = Meta(word.load(Ordering::Acquire));
    if !meta.is_live() {
        return None;
    }
    let key = std::array::from_fn(|at| entry[at].load(Ordering::Acquire));
    Meta(word.load(Ordering::Acquire)).same_identity(meta).then_some((meta, key))
}

/// Client and port that it sent to, of an IPv4 entry's key.
pub(super) fn ends_v4(key: u64) -> (SocketAddr, u16) {
    ends(address([key, 0], false), (key >> 32) as u32)
}

/// The same of an IPv6 entry's.
pub(super) fn ends_v6([upper, lower, ports]: [u64; 3]) -> (SocketAddr, u16) {
    ends(address([upper, lower], true), ports as u32)
}

fn ends(client: IpAddr, ports: u32) -> (SocketAddr, u16) {
    let bytes = ports.to_ne_bytes();
    let client = SocketAddr::new(client, u16::from_be_bytes([bytes[0], bytes[1]]));
    (client, u16::from_be_bytes([bytes[2], bytes[3]]))
}

fn connection((client, port): (SocketAddr, u16), virtual_: Option<(IpAddr, u8)>, meta: Meta) -> Connection {
    Connection { client, port, virtual_, meta }
}
