//! Where the kernel says that clients are: a NAT director is a router, and asks for the way back to each of them.

use lb_lab::{LabName, Netns};

/// A namespace whose kernel forwards and knows a way to all IPv4 clients, out of the interface that test runs come in by: answers leave as
/// they would from a director with one NIC. It knows none to IPv6 clients, which a loopback interface cannot lead to.
pub(super) fn network() -> anyhow::Result<Netns> {
    let network = Netns::create(&LabName::unique("rows")?, "director")?;
    network.sysctl(&[("net.ipv4.ip_forward", "1")])?;
    network.run(&["ip", "link", "set", "lo", "up"])?;
    network.run(&["ip", "route", "add", "10.8.0.0/16", "dev", "lo"])?;
    // The next hop of all that goes out by a loopback interface.
    network.run(&["ip", "neigh", "add", "0.0.0.0", "dev", "lo", "lladdr", "02:00:00:00:00:fe", "nud", "permanent"])?;
    Ok(network)
}
