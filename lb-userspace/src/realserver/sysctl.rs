//! The kernel settings of a real server: which, to what, and why. Reading and writing single settings.
//!
//! A setting is named by its path below `/proc/sys/net`, because interface names may hold dots.

use std::fs;
use std::io;
use std::path::Path;

use super::RealServerError;

/// A setting and what a real server needs it to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// As in `ipv4/conf/all/arp_ignore`.
    pub(super) key: String,
    /// The value to set.
    pub(super) value: &'static str,
    /// Other values that serve as well and are left alone.
    also: &'static [&'static str],
}

impl Wanted {
    /// Whether this value needs no change.
    pub(super) fn is_met_by(&self, current: &str) -> bool {
        current == self.value || self.also.contains(&current)
    }
}

/// The settings for IPv4 virtual addresses; IPv6 needs none, because Linux answers neighbour solicitations only for
/// addresses of the interface that they arrive on.
///
/// The kernel takes the larger of `all` and the interface's own value for each of the three. So `all` alone would do
/// for the ARP settings; `lo` and the named interfaces are set as well, so that somebody who resets `all` for another
/// reason does not make this host answer for the virtual address. `rp_filter` has to be 0 in both places.
pub(super) fn wanted(interfaces: &[String], tunnel: bool) -> Vec<Wanted> {
    let everywhere = ["all", "lo"].into_iter().chain(interfaces.iter().map(String::as_str));
    let mut settings = Vec::new();
    for interface in everywhere {
        // 1: answer only for addresses of the interface that is asked on. 2 and 8 are stricter.
        settings.push(Wanted { key: format!("ipv4/conf/{interface}/arp_ignore"), value: "1", also: &["2", "8"] });
        // 2: never ask with the virtual address as sender, which would teach it to the segment.
        settings.push(Wanted { key: format!("ipv4/conf/{interface}/arp_announce"), value: "2", also: &[] });
    }
    if tunnel {
        // The client's packet comes out of the tunnel on an interface that the way back to the client may not use.
        for interface in ["all"].into_iter().chain(interfaces.iter().map(String::as_str)) {
            settings.push(Wanted { key: format!("ipv4/conf/{interface}/rp_filter"), value: "0", also: &[] });
        }
    }
    settings
}

/// The present value; `None` if there is no such setting (the interface is gone).
pub(super) fn read(root: &Path, key: &str) -> Result<Option<String>, RealServerError> {
    let path = root.join(key);
    match fs::read_to_string(&path) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(RealServerError::File { step: "read", path, cause }),
    }
}

/// Sets a value.
pub(super) fn write(root: &Path, key: &str, value: &str) -> Result<(), RealServerError> {
    let path = root.join(key);
    // Not `fs::write`: it would create a missing file where a test's root allows that.
    let result = fs::OpenOptions::new().write(true).truncate(true).open(&path);
    result
        .and_then(|mut file| io::Write::write_all(&mut file, format!("{value}\n").as_bytes()))
        .map_err(|cause| RealServerError::File { step: "write", path, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(interfaces: &[&str], tunnel: bool) -> Vec<String> {
        let interfaces: Vec<String> = interfaces.iter().map(|name| (*name).to_owned()).collect();
        wanted(&interfaces, tunnel).into_iter().map(|setting| format!("{}={}", setting.key, setting.value)).collect()
    }

    #[test]
    fn direct_routing_needs_arp_settings_only() {
        assert_eq!(
            keys(&[], false),
            [
                "ipv4/conf/all/arp_ignore=1",
                "ipv4/conf/all/arp_announce=2",
                "ipv4/conf/lo/arp_ignore=1",
                "ipv4/conf/lo/arp_announce=2"
            ]
        );
    }

    #[test]
    fn a_tunnel_turns_the_reverse_path_filter_off() {
        let keys = keys(&["eth0.100"], true);
        assert_eq!(
            keys[4..],
            [
                "ipv4/conf/eth0.100/arp_ignore=1",
                "ipv4/conf/eth0.100/arp_announce=2",
                "ipv4/conf/all/rp_filter=0",
                "ipv4/conf/eth0.100/rp_filter=0"
            ]
        );
    }

    #[test]
    fn stricter_values_serve() {
        let arp_ignore = &wanted(&[], false)[0];
        assert!(["1", "2", "8"].iter().all(|value| arp_ignore.is_met_by(value)));
        assert!(["0", "3", ""].iter().all(|value| !arp_ignore.is_met_by(value)));
    }
}
