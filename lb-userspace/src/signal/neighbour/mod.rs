//! The next-hop resolver: for each real server, the interface and the two Ethernet addresses that a frame to it needs.
//!
//! It subscribes to changes before it lists anything, so no change falls between the two; it then follows the changes
//! one by one, and lists everything again every five seconds and after every lost announcement. It asks the kernel to
//! resolve what is missing and to check what went stale, and never speaks ARP or ND itself.
//!
//! The task ends when the last receiver of the next hops is dropped.

mod attempts;
mod decide;
mod due;
mod resolver;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use resolver::{Ended, Resolver};

/// Pause before sockets are opened again after they failed.
const REOPEN: Duration = Duration::from_secs(1);

/// An address to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The real server's address (direct routing) or the tunnel's far end.
    pub address: IpAddr,
    /// Whether it must be in the same Ethernet segment. Direct routing needs that: the frame goes to the real
    /// server's own Ethernet address with the virtual address still inside, and a router in between would route by it.
    pub on_link: bool,
}

/// How to reach a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// By this interface, to this Ethernet address.
    Resolved(Egress),
    /// The address is one of this host's own.
    Local,
    /// Not now.
    Unresolved {
        /// Why, in plain words that an operator can act on.
        reason: String,
    },
}

/// What a frame to a target carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Index of the interface that the frame leaves by.
    pub ifindex: u32,
    /// Name of that interface.
    pub interface: String,
    /// Its Ethernet address in wire order.
    pub source_mac: [u8; 6],
    /// Ethernet address of the target or of the router before it, in wire order.
    pub destination_mac: [u8; 6],
    /// The source address that the kernel would use towards the target: the default outer source of a tunnel.
    /// Unspecified if the host has no address of that family; a tunnel then needs a configured one.
    pub source: IpAddr,
    /// Largest IP packet in bytes that the way to the target takes: the link's MTU or a smaller path MTU.
    pub mtu: u16,
}

/// What is seen of changes that the ways to clients may follow: of routes, rules, addresses, links, and the Ethernet addresses of neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// How many there have been.
    pub changes: u64,
    /// They are seen: announcements are being read.
    pub is_followed: bool,
}

/// What the resolver tells.
pub struct Outputs {
    /// Empty until the first listing is done; a target that is not in it has not been looked at yet.
    pub next_hops: watch::Receiver<Arc<BTreeMap<Target, NextHop>>>,
    /// Changes of routes, whomever they concern.
    pub routing: watch::Receiver<Routing>,
}

/// How the reason begins while a neighbour has been asked and may still answer.
pub const WAITING: &str = "waiting for an answer";

/// Starts the resolver in this thread's network namespace. Needs a tokio runtime.
pub fn spawn(targets: watch::Receiver<Arc<BTreeSet<Target>>>) -> Outputs {
    let (output, next_hops) = watch::channel(Arc::default());
    let (announced, routing) = watch::channel(Routing::default());
    tokio::spawn(run(targets, output, announced));
    Outputs { next_hops, routing }
}

async fn run(
    mut targets: watch::Receiver<Arc<BTreeSet<Target>>>,
    output: watch::Sender<Arc<BTreeMap<Target, NextHop>>>,
    announced: watch::Sender<Routing>,
) {
    let mut reported = false;
    loop {
        announced.send_modify(|routing| routing.is_followed = false);
        let cause = match Resolver::open(announced.clone()) {
            Ok(mut resolver) => match resolver.run(&mut targets, &output).await {
                Ok(Ended::NobodyListens) => return,
                Ok(Ended::SubscriptionClosed) => "the subscription to changes closed".to_owned(),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        // Once a second for hours would bury the log; what is known stays in force meanwhile.
        if reported {
            tracing::debug!(%cause, "next hops: starting over");
        } else {
            tracing::warn!(%cause, "next hops: starting over; the last known ones stay in force");
            reported = true;
        }
        tokio::select! {
            () = output.closed() => return,
            () = tokio::time::sleep(REOPEN) => {}
        }
    }
}
