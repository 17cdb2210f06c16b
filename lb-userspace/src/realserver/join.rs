//! Joining: plan the changes, record them, make them; take them back if one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::change::{Change, Host, Undone};
use super::state::{Record, Store, SysctlRecord};
use super::{DecapAttacher, JoinArgs, Paths, RealServerError, sysctl};
use crate::net::Netlink;
use crate::net::address::Address;
use crate::net::link::Link;

/// What a join did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The changes, one line each; empty if everything was in place.
    pub changes: Vec<String>,
    /// What an operator should know: things that were there already, or were changed by somebody else.
    pub warnings: Vec<String>,
}

/// Makes this host accept packets for virtual addresses. A second call adds to the first and repairs it.
///
/// Either all of it is in force afterwards, or nothing of this call.
pub async fn join(args: &JoinArgs, paths: &Paths, decap: &dyn DecapAttacher) -> Result<Joined, RealServerError> {
    let args = checked(args)?;
    let netlink = Netlink::open()?;
    let links = netlink.links().await?;
    let loopback = loopback(&links)?;
    for interface in &args.interfaces {
        match links.values().find(|link| link.name == *interface) {
            None => return Err(refused(format!("there is no interface {interface} in this network namespace"))),
            Some(link) if link.loopback => {
                return Err(refused("lo is not an interface that packets arrive on: name the one to the director"));
            }
            Some(_) => {}
        }
    }
    let addresses = netlink.addresses().await?;
    let host = Host { netlink, loopback, sysctl_root: &paths.sysctl_root, decap };

    let mut store = Store::open(&paths.state_file)?;
    let before = store.record();
    let mut joined = Joined::default();
    // Settings first, addresses last: at no time does the host hold an address that it would answer for.
    let mut changes = plan_sysctls(&args, &host, &before, &mut joined.warnings)?;
    changes.extend(plan_decap(&args, &host)?);
    changes.extend(plan_vips(&args, loopback, &links, &addresses, &before, &mut joined.warnings)?);
    if changes.is_empty() {
        return Ok(joined);
    }

    let mut record = before.clone();
    changes.iter().for_each(|change| change.note(&mut record));
    store.save(&record)?;
    for (done, change) in changes.iter().enumerate() {
        if let Err(cause) = change.make(&host).await {
            return Err(roll_back(&changes[..done], &before, &host, &mut store, cause).await);
        }
    }
    joined.changes = changes.iter().map(ToString::to_string).collect();
    Ok(joined)
}

pub(super) fn loopback(links: &BTreeMap<u32, Link>) -> Result<u32, RealServerError> {
    let found = links.values().find(|link| link.loopback).map(|link| link.index);
    found.ok_or_else(|| refused("this network namespace has no lo"))
}

fn refused(reason: impl Into<String>) -> RealServerError {
    RealServerError::Refused(reason.into())
}

/// The arguments without repetitions, or why they make no sense.
fn checked(args: &JoinArgs) -> Result<JoinArgs, RealServerError> {
    if args.vips.is_empty() {
        return Err(refused("no virtual address given: name at least one"));
    }
    for vip in &args.vips {
        let broadcast = matches!(vip, IpAddr::V4(v4) if v4.is_broadcast());
        let mapped = matches!(vip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() || v6.is_unicast_link_local());
        if vip.is_unspecified() || vip.is_loopback() || vip.is_multicast() || broadcast || mapped {
            return Err(refused(format!("{vip} cannot be a virtual address: it is no unicast address of a network")));
        }
    }
    if args.tunnel && args.interfaces.is_empty() {
        return Err(refused("a tunnel needs the interface that its packets arrive on: name it"));
    }
    let vips: BTreeSet<IpAddr> = args.vips.iter().copied().collect();
    let interfaces: BTreeSet<String> = args.interfaces.iter().cloned().collect();
    Ok(JoinArgs { vips: vips.into_iter().collect(), tunnel: args.tunnel, interfaces: interfaces.into_iter().collect() })
}

fn plan_sysctls(
    args: &JoinArgs,
    host: &Host<'_>,
    record: &Record,
    warnings: &mut Vec<String>,
) -> Result<Vec<Change>, RealServerError> {
    if args.vips.iter().all(IpAddr::is_ipv6) {
        return Ok(Vec::new());
    }
    let mut changes = Vec::new();
    for wanted in sysctl::wanted(&args.interfaces, args.tunnel) {
        let key = wanted.key.clone();
        let Some(current) = sysctl::read(host.sysctl_root, &key)? else {
            let path = host.sysctl_root.join(&key);
            return Err(refused(format!("there is no setting {}: is IPv4 configured here?", path.display())));
        };
        if wanted.is_met_by(&current) {
            continue;
        }
        if let Some(known) = record.sysctls.iter().find(|known| known.key == key && known.before != current) {
            let SysctlRecord { set, .. } = known;
            warnings.push(format!("net/{key} was {current}, not the {set} of the last join: set again"));
        }
        changes.push(Change::Sysctl(SysctlRecord { key, before: current, set: wanted.value.to_owned() }));
    }
    Ok(changes)
}

fn plan_decap(args: &JoinArgs, host: &Host<'_>) -> Result<Vec<Change>, RealServerError> {
    let mut changes = Vec::new();
    if args.tunnel {
        for interface in &args.interfaces {
            let attached = host.decap.is_attached(interface);
            let error = |cause| RealServerError::Decap { interface: interface.clone(), cause };
            if !attached.map_err(error)? {
                changes.push(Change::Decap(interface.clone()));
            }
        }
    }
    Ok(changes)
}

fn plan_vips(
    args: &JoinArgs,
    loopback: u32,
    links: &BTreeMap<u32, Link>,
    addresses: &[Address],
    record: &Record,
    warnings: &mut Vec<String>,
) -> Result<Vec<Change>, RealServerError> {
    let mut changes = Vec::new();
    for vip in &args.vips {
        let mut held = false;
        for holder in addresses.iter().filter(|address| address.address == *vip) {
            if holder.ifindex != loopback {
                let name = links.get(&holder.ifindex).map_or("another interface", |link| link.name.as_str());
                return Err(refused(format!(
                    "{vip} is an address of {name}, which answers for it on the network: remove it there first"
                )));
            }
            held = true;
            if !record.vips.contains(vip) {
                warnings.push(format!("{vip} is on lo already: `leave` will not remove it"));
            }
            if !holder.is_single_host() {
                let prefix = holder.prefix_length;
                warnings.push(format!("{vip}/{prefix} on lo makes all of its prefix an address of this host"));
            }
        }
        if !held {
            changes.push(Change::Vip(*vip));
        }
    }
    Ok(changes)
}

/// Takes back what was done, last first; what cannot be taken back stays in the record.
async fn roll_back(
    done: &[Change],
    before: &Record,
    host: &Host<'_>,
    store: &mut Store,
    cause: RealServerError,
) -> RealServerError {
    let mut record = before.clone();
    let mut left = Vec::new();
    for change in done.iter().rev() {
        match change.undo(host).await {
            Ok(Undone::Yes) => {}
            Ok(Undone::LeftAlone(reason)) => left.push(reason),
            Err(error) => {
                change.note(&mut record);
                left.push(format!("{change} ({error})"));
            }
        }
    }
    if let Err(error) = store.save(&record) {
        left.push(error.to_string());
    }
    if left.is_empty() { cause } else { RealServerError::RollBack { cause: Box::new(cause), left } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(vips: &[&str], tunnel: bool, interfaces: &[&str]) -> JoinArgs {
        JoinArgs {
            vips: vips.iter().map(|vip| vip.parse().expect("address")).collect(),
            tunnel,
            interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn addresses_that_cannot_be_virtual_are_refused() {
        for vip in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1", "fe80::1"] {
            assert!(checked(&args(&[vip], false, &[])).is_err(), "{vip}");
        }
        assert!(checked(&args(&[], false, &[])).is_err());
        assert!(checked(&args(&["10.0.0.1"], true, &[])).is_err());
    }

    #[test]
    fn repetitions_count_once() {
        let wished = args(&["fd00::1", "10.0.0.1", "10.0.0.1"], true, &["eth0", "eth0"]);
        assert_eq!(checked(&wished).expect("fine"), args(&["10.0.0.1", "fd00::1"], true, &["eth0"]));
    }
}
