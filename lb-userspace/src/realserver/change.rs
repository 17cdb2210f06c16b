//! One change of this host: made, noted in the record, undone.

use std::net::IpAddr;
use std::path::Path;

use super::state::{Record, SysctlRecord};
use super::{DecapAttacher, RealServerError, sysctl};
use crate::net::Netlink;

/// What changes are made with.
#[derive(Debug)]
pub(super) struct Host<'a> {
    pub(super) netlink: Netlink,
    /// Index of `lo`.
    pub(super) loopback: u32,
    pub(super) sysctl_root: &'a Path,
    pub(super) decap: &'a dyn DecapAttacher,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A kernel setting.
    Sysctl(SysctlRecord),
    /// The decapsulator on an interface.
    Decap(String),
    /// A virtual address on `lo`.
    Vip(IpAddr),
}

/// How undoing a change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Undone {
    /// It is as it was before.
    Yes,
    /// Somebody else had a hand in it; left alone, for this reason.
    LeftAlone(String),
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Sysctl(change) => write!(f, "net/{} {} -> {}", change.key, change.before, change.set),
            Change::Decap(interface) => write!(f, "decapsulator on {interface}"),
            Change::Vip(address) => write!(f, "address {address} on lo"),
        }
    }
}

impl Change {
    pub(super) async fn make(&self, host: &Host<'_>) -> Result<(), RealServerError> {
        match self {
            Change::Sysctl(change) => sysctl::write(host.sysctl_root, &change.key, &change.set),
            Change::Decap(interface) => host
                .decap
                .attach(interface)
                .map(|_| ())
                .map_err(|cause| RealServerError::Decap { interface: interface.clone(), cause }),
            Change::Vip(address) => Ok(host.netlink.add_host_address(host.loopback, *address).await?),
        }
    }

    /// Undoes the change if it is still in force as it was made.
    pub(super) async fn undo(&self, host: &Host<'_>) -> Result<Undone, RealServerError> {
        match self {
            Change::Sysctl(change) => undo_sysctl(change, host.sysctl_root),
            Change::Decap(interface) => {
                let error = |cause| RealServerError::Decap { interface: interface.clone(), cause };
                if !host.decap.is_attached(interface).map_err(error)? {
                    return Ok(Undone::LeftAlone(format!("the decapsulator on {interface} is gone already")));
                }
                host.decap.detach(interface).map_err(error)?;
                Ok(Undone::Yes)
            }
            Change::Vip(address) => {
                let held = host
                    .netlink
                    .addresses()
                    .await?
                    .into_iter()
                    .any(|held| held.ifindex == host.loopback && held.address == *address && held.is_single_host());
                if !held {
                    return Ok(Undone::LeftAlone(format!("address {address} is no longer on lo")));
                }
                host.netlink.remove_host_address(host.loopback, *address).await?;
                Ok(Undone::Yes)
            }
        }
    }

    /// Puts the change into the record.
    pub(super) fn note(&self, record: &mut Record) {
        match self {
            Change::Sysctl(change) => {
                // Set again after somebody else set it: what is found now is what comes back later.
                record.sysctls.retain(|known| known.key != change.key);
                record.sysctls.push(change.clone());
            }
            Change::Decap(interface) if !record.decap.contains(interface) => record.decap.push(interface.clone()),
            Change::Vip(address) if !record.vips.contains(address) => record.vips.push(*address),
            Change::Decap(_) | Change::Vip(_) => {}
        }
    }
}

impl Record {
    /// The recorded changes in the order in which they are undone: the addresses go before the settings that keep the
    /// kernel from answering for them.
    pub(super) fn changes_to_undo(&self) -> Vec<Change> {
        let vips = self.vips.iter().rev().map(|address| Change::Vip(*address));
        let decap = self.decap.iter().rev().map(|interface| Change::Decap(interface.clone()));
        let sysctls = self.sysctls.iter().rev().map(|change| Change::Sysctl(change.clone()));
        vips.chain(decap).chain(sysctls).collect()
    }
}

fn undo_sysctl(change: &SysctlRecord, root: &Path) -> Result<Undone, RealServerError> {
    let SysctlRecord { key, before, set } = change;
    match sysctl::read(root, key)? {
        None => Ok(Undone::LeftAlone(format!("net/{key} is gone with its interface"))),
        Some(current) if current == *set => sysctl::write(root, key, before).map(|()| Undone::Yes),
        // Recorded and never made: the command was killed between the two.
        Some(current) if current == *before => Ok(Undone::Yes),
        Some(current) => Ok(Undone::LeftAlone(format!(
            "net/{key} is {current} now, neither the {set} that was set nor the {before} before: left alone"
        ))),
    }
}
