//! What is compared: each row's director, and who its packets are for.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use aya::Ebpf;
use lb_lab::Director;

use crate::traffic::director::{self, Service};
use crate::traffic::frame::{ACK, Clients, SYN, Stream};
use crate::traffic::generator::{Generator, Pace};
use crate::traffic::lab::{IN, Lab, Lane, OUT, REALS};
use crate::traffic::programs;

/// Directors by the place of their lane.
const DIRECTORS: [&str; 4] = ["bare", "xvs", "kernel", "nft"];
const BARE: usize = 0;
const XVS: usize = 1;
const KERNEL: usize = 2;
const NFT: usize = 3;

/// Direct routing, and what is forwarded or translated elsewhere.
const VIP: &str = "10.99.0.1";
/// IP in IP.
const TUNNEL: &str = "10.99.0.2";
/// A million flows.
pub(crate) const MANY: u32 = 1_000_000;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) flows: u32,
    lane: usize,
    vip: &'static str,
    /// Reals that its packets go to.
    pub(crate) reals: u8,
}

const fn row(name: &'static str, flows: u32, lane: usize, vip: &'static str, reals: u8) -> Row {
    Row { name, flows, lane, vip, reals }
}

/// The rows whose name and flows contain this.
pub(crate) fn chosen(part: &str) -> Vec<Row> {
    ROWS.into_iter().filter(|row| format!("{} {}", row.name, row.flows).contains(part)).collect()
}

/// The rows.
const ROWS: [Row; 9] = [
    row("bare-xdp", 8192, BARE, VIP, 1),
    row("xvs-direct", 1, XVS, VIP, REALS),
    row("xvs-direct", 8192, XVS, VIP, REALS),
    row("xvs-direct", MANY, XVS, VIP, REALS),
    row("xvs-ipip", 8192, XVS, TUNNEL, REALS),
    row("xvs-ipip", MANY, XVS, TUNNEL, REALS),
    row("kernel-forward", 8192, KERNEL, VIP, 1),
    row("nft-dnat", 1, NFT, VIP, REALS),
    row("nft-dnat", 8192, NFT, VIP, REALS),
];

/// The directors at work.
pub(crate) struct Lanes {
    pub(crate) generator: Generator,
    /// Attached programs, as long as these live.
    _objects: Vec<Ebpf>,
    _director: Director,
    pub(crate) lab: Lab,
}

impl Lanes {
    pub(crate) fn build(connections: u32) -> anyhow::Result<Self> {
        let lab = Lab::build("wire", &DIRECTORS)?;
        let mut objects = vec![programs::forwarder(&lab.lanes[BARE])?];
        let services = [
            Service { vip: VIP, scheduler: "rr", method: "direct" },
            Service { vip: TUNNEL, scheduler: "rr", method: "tunnel" },
        ];
        let size = ["--connections", &connections.to_string()];
        let director = director::start(&lab, &lab.lanes[XVS], &services, &size)?;
        for lane in [KERNEL, NFT] {
            let mut object = programs::object()?;
            programs::attach(&mut object, "pass", &lab.lanes[lane].director, IN)?;
            objects.push(object);
        }
        forward(&lab.lanes[KERNEL])?;
        translate(&lab.lanes[NFT])?;
        let generator = Generator::new(&lab)?;
        Ok(Self { generator, _objects: objects, _director: director, lab })
    }

    /// Packets of a row: as many flows by each CPU, which share them.
    pub(crate) fn streams(&self, row: &Row, cpus: &[usize], flags: u8, interval: u64) -> Vec<(usize, Stream)> {
        let lane = &self.lab.lanes[row.lane];
        shares(row.flows, cpus.len() as u32)
            .into_iter()
            .zip(cpus)
            .map(|((first, flows), cpu)| {
                let clients = Clients::Known { first, flows };
                let vip: Ipv4Addr = row.vip.parse().expect("an address");
                (*cpu, Stream { interface: lane.interface, mac: lane.mac(), vip, flags, clients, interval })
            })
            .collect()
    }

    /// Makes every flow of a row known: a SYN and an ACK of each, twice, as a full queue may lose one.
    pub(crate) fn open(&mut self, row: &Row, cpu: usize) -> anyhow::Result<()> {
        let packets: &[u8] = match row.lane {
            XVS => &[SYN, ACK, SYN, ACK],
            // By an ACK alone: to conntrack a SYN that nobody answers is no connection.
            NFT => &[ACK, ACK],
            _ => &[],
        };
        for &flags in packets {
            let streams = self.streams(row, &[cpu], flags, 0);
            self.generator.send(&streams, Pace::Full, row.flows)?;
        }
        Ok(())
    }
}

/// First number and count of each part of so many flows; one flow is everybody's.
fn shares(flows: u32, parts: u32) -> Vec<(u32, u32)> {
    if flows < parts {
        return vec![(0, flows); parts as usize];
    }
    let end = |part: u32| (u64::from(flows) * u64::from(part) / u64::from(parts)) as u32;
    (0..parts).map(|part| (end(part), end(part + 1) - end(part))).collect()
}

/// The kernel as a router that sends the service's address to the first real.
fn forward(lane: &Lane) -> anyhow::Result<()> {
    route(lane)?;
    lane.director.ip_batch(&format!("route add {VIP}/32 via {} dev {OUT}\n", lane.real(1)))?;
    Ok(())
}

/// The kernel as a router.
fn route(lane: &Lane) -> anyhow::Result<()> {
    lane.director.sysctl(&[
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.conf.all.send_redirects", "0"),
        ("net.ipv4.conf.default.send_redirects", "0"),
    ])?;
    Ok(())
}

/// The kernel as a balancer: nftables chooses by a hash of client and port, conntrack remembers.
fn translate(lane: &Lane) -> anyhow::Result<()> {
    route(lane)?;
    // Connections whose begin nobody has seen, and whose answers nobody sees: taken by the first packet, sequence numbers not looked at.
    lane.director
        .sysctl(&[("net.netfilter.nf_conntrack_tcp_loose", "1"), ("net.netfilter.nf_conntrack_tcp_be_liberal", "1")])?;
    let reals: Vec<_> = (1..=REALS).map(|real| format!("{} : {}", real - 1, lane.real(real))).collect();
    let rules = format!(
        "add table ip balance\n\
         add chain ip balance in {{ type nat hook prerouting priority dstnat; }}\n\
         add rule ip balance in ip daddr {VIP} tcp dport 80 dnat to jhash ip saddr . tcp sport mod {REALS} map {{ {} }}",
        reals.join(", ")
    );
    lane.director.run(&["nft", &rules]).context("nftables (package nftables; `cargo xtask setup` installs it)")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_shared_without_a_rest() {
        assert_eq!(shares(8192, 1), [(0, 8192)]);
        assert_eq!(shares(7, 2), [(0, 3), (3, 4)]);
        assert_eq!(shares(1, 2), [(0, 1), (0, 1)]);
        assert_eq!(shares(1_000_000, 3).iter().map(|(_, flows)| flows).sum::<u32>(), 1_000_000);
    }

    #[test]
    fn rows_are_chosen_by_name_and_flows() {
        let names = |part| chosen(part).iter().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(names("nft-dnat 8"), ["nft-dnat"]);
        assert_eq!(names("8192").len(), 5);
        assert_eq!((names("").len(), names("ipvs").len()), (ROWS.len(), 0));
    }

    #[test]
    fn every_row_has_its_flows_remembered() {
        assert!(ROWS.iter().all(|row| row.flows <= crate::traffic::shape::WATCHED && row.lane < DIRECTORS.len()));
    }
}
