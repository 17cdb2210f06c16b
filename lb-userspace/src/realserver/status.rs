//! What is recorded, held against what is.

use std::net::IpAddr;

use serde::Serialize;

use super::state::Store;
use super::{DecapAttacher, Paths, RealServerError, join, sysctl};
use crate::net::Netlink;

/// The state of this real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether anything is recorded for this network namespace.
    pub joined: bool,
    /// Virtual addresses that were put on `lo`.
    pub vips: Vec<VipStatus>,
    /// Settings that were changed.
    pub sysctls: Vec<SysctlStatus>,
    /// Interfaces that got a decapsulator.
    pub decap: Vec<DecapStatus>,
    /// What is not as `join` left it, one line each; another `join` repairs it.
    pub problems: Vec<String>,
}

/// A virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VipStatus {
    /// The address.
    pub address: IpAddr,
    /// Whether `lo` holds it.
    pub present: bool,
}

/// A kernel setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SysctlStatus {
    /// Path below `/proc/sys/net`.
    pub key: String,
    /// The value that `leave` restores.
    pub before: String,
    /// The value that `join` set.
    pub set: String,
    /// The value now; `None` if the setting is gone with its interface.
    pub current: Option<String>,
}

/// A decapsulator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecapStatus {
    /// The interface.
    pub interface: String,
    /// Whether it is attached.
    pub attached: bool,
}

/// Compares the record with the host. Changes neither.
pub async fn status(paths: &Paths, decap: &dyn DecapAttacher) -> Result<Status, RealServerError> {
    let netlink = Netlink::open()?;
    let loopback = join::loopback(&netlink.links().await?)?;
    let addresses = netlink.addresses().await?;
    let record = Store::open(&paths.state_file)?.record();

    let mut status = Status {
        joined: !record.is_empty(),
        vips: Vec::new(),
        sysctls: Vec::new(),
        decap: Vec::new(),
        problems: Vec::new(),
    };
    for address in record.vips {
        let present = addresses.iter().any(|held| held.ifindex == loopback && held.address == address);
        if !present {
            status.problems.push(format!("address {address} is no longer on lo"));
        }
        status.vips.push(VipStatus { address, present });
    }
    for change in record.sysctls {
        let current = sysctl::read(&paths.sysctl_root, &change.key)?;
        match &current {
            None => status.problems.push(format!("net/{} is gone with its interface", change.key)),
            Some(value) if *value != change.set => {
                status.problems.push(format!("net/{} is {value}, not {}", change.key, change.set));
            }
            Some(_) => {}
        }
        let (key, before, set) = (change.key, change.before, change.set);
        status.sysctls.push(SysctlStatus { key, before, set, current });
    }
    for interface in record.decap {
        let error = |cause| RealServerError::Decap { interface: interface.clone(), cause };
        let attached = decap.is_attached(&interface).map_err(error)?;
        if !attached {
            status.problems.push(format!("the decapsulator on {interface} is gone"));
        }
        status.decap.push(DecapStatus { interface, attached });
    }
    Ok(status)
}
