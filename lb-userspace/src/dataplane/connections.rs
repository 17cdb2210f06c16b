//! The connection tables from user space: expiry, listing, use. All at memory speed, by the same protocol as the datapath's.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::connection::{Meta, STATES, State};
use lb_common::abi::real::Load;
use lb_common::table::is_expired;

use super::mapped::Mapped;
use super::tables::Tables;

/// A connection as it stood in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Client address and port.
    pub client: SocketAddr,
    /// Port that the client sent to.
    pub port: u16,
    /// Its meta word.
    pub meta: Meta,
}

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
    /// Frees connections without a packet for longer than their state's timeout, and those of services that were removed.
    pub fn sweep(&self, now: u32, timeouts: &[u32; STATES]) -> Sweep {
        let mut sweep = Sweep::default();
        let retired = self.retired();
        for (table, entry, used) in
            [(&self.maps.connections_v4, 2, &mut sweep.used_v4), (&self.maps.connections_v6, 4, &mut sweep.used_v6)]
        {
            for entry in table.words().chunks_exact(entry) {
                let word = &entry[entry.len() - 1];
                let meta = Meta(word.load(Ordering::Acquire));
                if !meta.is_live() {
                    continue;
                }
                if (is_expired(meta, now, timeouts) || retired.contains(&meta.service())) && self.free(word, meta) {
                    sweep.expired += 1;
                } else {
                    *used += 1;
                }
            }
        }
        sweep
    }

    /// Frees an entry, unless a packet was faster; then its real has one connection less.
    pub(super) fn free(&self, word: &AtomicU64, meta: Meta) -> bool {
        if word.compare_exchange(meta.0, Meta::FREE.0, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return false;
        }
        self.add_load(meta.real(), 0u64.wrapping_sub(Load::unit(meta.state() == State::Established)));
        true
    }

    /// Adds to a real's counts, or takes away what is added modulo 2^64.
    pub(super) fn add_load(&self, real: u32, change: u64) {
        if let Some(load) = self.maps.loads.value(real).first() {
            load.fetch_add(change, Ordering::SeqCst);
        }
    }

    /// Calls `take` with every connection, IPv4 first.
    pub fn each_connection(&self, mut take: impl FnMut(Connection)) {
        for entry in self.maps.connections_v4.words().chunks_exact(2) {
            if let Some((meta, key)) = read::<1>(entry) {
                let address = Ipv4Addr::from((key[0] as u32).to_ne_bytes());
                take(connection(IpAddr::V4(address), (key[0] >> 32) as u32, meta));
            }
        }
        for entry in self.maps.connections_v6.words().chunks_exact(4) {
            if let Some((meta, key)) = read::<3>(entry) {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&key[0].to_ne_bytes());
                bytes[8..].copy_from_slice(&key[1].to_ne_bytes());
                take(connection(IpAddr::V6(Ipv6Addr::from(bytes)), key[2] as u32, meta));
            }
        }
    }

    /// Connections that fit, IPv4 and IPv6.
    pub fn capacity(&self) -> (u64, u64) {
        let of = |table: &Mapped, entry: usize| (table.words().len() / entry) as u64;
        (of(&self.maps.connections_v4, 2), of(&self.maps.connections_v6, 4))
    }

    /// Counts every connection anew into the reals' loads: what a daemon finds that adopts tables whose last one died in mid-change.
    /// Returns how many loads were wrong. Only exact while no packets flow; so it is for tests and repair, not for the running daemon.
    pub fn audit_loads(&self) -> BTreeSet<u32> {
        let mut counted = std::collections::BTreeMap::<u32, u64>::new();
        self.each_connection(|connection| {
            let unit = Load::unit(connection.meta.state() == State::Established);
            *counted.entry(connection.meta.real()).or_default() += unit;
        });
        (0..self.geometry.reals).filter(|real| self.load(*real).0 != counted.get(real).copied().unwrap_or(0)).collect()
    }
}

/// Meta and key of a live entry; None while it changes hands.
fn read<const KEY: usize>(entry: &[AtomicU64]) -> Option<(Meta, [u64; KEY])> {
    let word = &entry[KEY];
    let meta = Meta(word.load(Ordering::Acquire));
    if !meta.is_live() {
        return None;
    }
    let key = std::array::from_fn(|at| entry[at].load(Ordering::Acquire));
    Meta(word.load(Ordering::Acquire)).same_identity(meta).then_some((meta, key))
}

fn connection(address: IpAddr, ports: u32, meta: Meta) -> Connection {
    let bytes = ports.to_ne_bytes();
    let client = SocketAddr::new(address, u16::from_be_bytes([bytes[0], bytes[1]]));
    Connection { client, port: u16::from_be_bytes([bytes[2], bytes[3]]), meta }
}
