//! What a generator sends, as the words that its program reads.

use std::net::Ipv4Addr;

use lb_common::algo::checksum::{add_u32, add_u64};

use super::shape::generator::{
    CLIENTS, FIRST, FLAGS, FLOWS, INTERFACE, INTERVAL, IP, IP_SUM, LINK, LINK_END, PORT_STEP, SHIFT, STEP, TCP_SUM,
    VIP, WORDS,
};
use super::shape::{self, FLOWS_OF_CLIENT};

/// A generator's state, as it is in its map.
pub(crate) type Words = [u64; WORDS];

/// Whose packets a generator sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    /// So many flows from this number on, 4096 of each client.
    Known {
        /// The first one's number.
        first: u32,
        /// How many.
        flows: u32,
    },
    /// So many clients with one flow each; in the next round another one.
    Spoofed(u32),
}

/// One generator's packets: 64 bytes of Ethernet each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Interface that they leave by.
    pub(crate) interface: u32,
    /// Hardware address they go to.
    pub(crate) mac: [u8; 6],
    /// The service's address; port 80.
    pub(crate) vip: Ipv4Addr,
    /// TCP flags.
    pub(crate) flags: u8,
    /// Whose they are.
    pub(crate) clients: Clients,
    /// Nanoseconds between two, for the paced generator.
    pub(crate) interval: u64,
}

/// Hardware address that generators send from.
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// First spoofed client: 11.0.0.0.
const SPOOFED: u32 = 0x0b00_0000;
/// Spoofed clients at most: those of 11.0.0.0/8.
pub(crate) const MOST_SPOOFED: u32 = 1 << 24;
/// TCP flag; such a packet carries no time stamp, and nothing else.
pub(crate) const SYN: u8 = 2;
/// TCP flag.
pub(crate) const ACK: u8 = 16;

impl Stream {
    /// The state to begin with.
    pub(crate) fn words(&self) -> Words {
        // A header of 20 bytes each; 10 bytes of payload with the time stamp, or padding.
        let length: u16 = if self.flags & SYN == 0 { 50 } else { 40 };
        let mut frame = [0u8; 24];
        frame[..6].copy_from_slice(&self.mac);
        frame[6..12].copy_from_slice(&SOURCE);
        frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        // Don't fragment; TTL 64; TCP.
        frame[20..24].copy_from_slice(&[0x40, 0, 64, 6]);
        let word = |at: usize| u64::from_le_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
        let vip = u32::from_le_bytes(self.vip.octets());
        // Data offset of five words, flags, window.
        let flags = u32::from_le_bytes([0x50, self.flags, 0x40, 0]);
        let first = u32::from(u16::from_le_bytes([0x45, 0]));
        // Protocol and length of the pseudo header.
        let pseudo = u32::from(6u16.to_be()) + u32::from((length - 20).to_be());
        let (number, flows, clients, shift, port_step) = match self.clients {
            Clients::Known { first, flows } => (first, flows, shape::CLIENTS, FLOWS_OF_CLIENT.ilog2(), 0),
            Clients::Spoofed(clients) => (0, clients, SPOOFED, 0, 1),
        };
        let mut words = [0; WORDS];
        for (place, value) in [
            (INTERFACE, u64::from(self.interface)),
            (LINK, word(0)),
            (LINK_END, word(8)),
            (IP, word(16)),
            (VIP, u64::from(vip)),
            (FLAGS, u64::from(flags)),
            (IP_SUM, u64::from(add_u32(add_u64(first, word(16)), vip))),
            (TCP_SUM, u64::from(add_u32(add_u32(pseudo, vip), flags))),
            (FIRST, u64::from(number)),
            (FLOWS, u64::from(flows)),
            (STEP, u64::from(step(flows))),
            (CLIENTS, u64::from(clients)),
            (SHIFT, u64::from(shift)),
            (PORT_STEP, port_step),
            (INTERVAL, self.interval),
        ] {
            words[place] = value;
        }
        words
    }
}

/// A step through so many flows that meets each once a round: near the golden section, and without a common divisor.
fn step(flows: u32) -> u32 {
    let golden = (f64::from(flows) * 0.618_034) as u32;
    (golden.max(1)..flows).find(|step| divisor(*step, flows) == 1).unwrap_or(flows.min(1))
}

/// Greatest common divisor.
fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::algo::checksum::finish;

    #[test]
    fn every_flow_comes_once_a_round() {
        for flows in [1, 2, 3, 8, 1000, 4097, 8192] {
            let step = step(flows);
            let mut seen = vec![false; flows as usize];
            let mut number = 0;
            for _ in 0..flows {
                assert!(!seen[number as usize], "{number} of {flows} twice");
                seen[number as usize] = true;
                number = (number + step) % flows;
            }
            assert_eq!(number, 0);
        }
        assert_eq!(divisor(step(10_000_000), 10_000_000), 1);
    }

    /// The sums against a frame that is written byte by byte and added up.
    #[test]
    fn the_sums_are_those_of_the_frame() {
        for (flags, length) in [(ACK, 50), (SYN, 40)] {
            let stream = Stream {
                interface: 7,
                mac: [2, 0, 0, 0, 1, 2],
                vip: [10, 99, 0, 1].into(),
                flags,
                clients: Clients::Known { first: 0, flows: 1 },
                interval: 0,
            };
            let words = stream.words();
            let ip = [0x45, 0, 0, length, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 10, 99, 0, 1];
            let sum = |bytes: &[u8]| bytes.chunks(2).map(|two| u32::from(u16::from_le_bytes([two[0], two[1]]))).sum();
            assert_eq!(finish(words[IP_SUM] as u32), finish(sum(&ip)));
            let tcp = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0x40, 0, 0, 0, 0, 0];
            let pseudo = [10, 99, 0, 1, 0, 6, 0, length - 20];
            assert_eq!(finish(words[TCP_SUM] as u32), finish(sum(&tcp) + sum(&pseudo)));
            assert_eq!(words[LINK].to_le_bytes()[..6], [2, 0, 0, 0, 1, 2]);
        }
    }

    #[test]
    fn spoofed_clients_change_their_ports() {
        let stream = Stream {
            interface: 1,
            mac: [0; 6],
            vip: Ipv4Addr::UNSPECIFIED,
            flags: SYN,
            clients: Clients::Spoofed(10_000_000),
            interval: 0,
        };
        let words = stream.words();
        assert_eq!((words[SHIFT], words[PORT_STEP], words[FLOWS]), (0, 1, 10_000_000));
    }
}
