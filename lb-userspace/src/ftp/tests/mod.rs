//! The module as a whole: packets in, packets out, read by another code than the one under test.

mod dialogue;
mod packets;
mod resume;
mod transfer;

use std::time::Instant;

use super::samples::*;
use super::segment::Refused;
use super::table::{Ftp, Limits, Output};
use super::{Direction, Translation};
use Direction::{FromClient, FromReal};

const MTU: u16 = 1500;
const PASSIVE: &str = "227 Entering Passive Mode (10,0,0,11,195,80).\r\n";
const PASSIVE_VIP: &str = "227 Entering Passive Mode (198,51,100,100,195,80).\r\n";
/// Bytes that the VIP's text is longer.
const GROWTH: u32 = 5;

/// The module under test with one connection's addresses.
struct Wire {
    ftp: Ftp,
    now: Instant,
    translation: Translation,
}

impl Wire {
    fn new(translation: Translation) -> Self {
        Self { ftp: Ftp::new(Limits::default()), now: Instant::now(), translation }
    }

    fn send(&mut self, direction: Direction, tcp: &Tcp) -> Result<Output, Refused> {
        let packet = packet(&self.translation, direction, tcp);
        self.ftp.packet(self.now, &self.translation, direction, &packet, MTU)
    }

    /// Sends what has to come out as one packet, with the right addresses; gives the segment.
    fn pass(&mut self, direction: Direction, tcp: &Tcp) -> (Tcp, Output) {
        let output = self.send(direction, tcp).unwrap();
        let [packet] = &output.packets[..] else { panic!("{} packets", output.packets.len()) };
        let (source, destination, seen) = read(packet);
        assert_eq!((source, destination), self.translation.ends(direction)[1]);
        (seen, output)
    }

    fn client(&mut self, seq: u32, text: &str) -> (Tcp, Output) {
        self.pass(FromClient, &data(seq, 0, text))
    }

    fn real(&mut self, seq: u32, text: &str) -> (Tcp, Output) {
        self.pass(FromReal, &data(seq, 0, text))
    }

    /// A passive data connection asked for and granted at these numbers.
    fn passive(&mut self, client: u32, real: u32) -> (Tcp, Output) {
        self.client(client, "PASV\r\n");
        self.real(real, PASSIVE)
    }
}
