//! What passes a port, as tcpdump reads it.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::stage::{Stage, wait};

/// A tcpdump that runs until dropped.
pub(crate) struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// One line for each packet at a host's interface that the filter takes.
    pub(crate) fn lines_at(stage: &Stage, host: &str, interface: &str, filter: &str) -> Self {
        Self::start(stage, host, interface, &["-q", filter])
    }

    /// The bytes of the first `packets` packets, for [`Capture::packets`].
    pub(crate) fn bytes_at(stage: &Stage, host: &str, interface: &str, filter: &str, packets: usize) -> Self {
        Self::start(stage, host, interface, &["-q", "-x", "-c", &packets.to_string(), filter])
    }

    fn start(stage: &Stage, host: &str, interface: &str, arguments: &[&str]) -> Self {
        let file = stage.cluster.topology().directory().join("capture.txt");
        let log = stage.cluster.topology().directory().join("capture.log");
        let mut command = stage.cluster.topology().netns(host).unwrap().command("tcpdump");
        command.args(["-i", interface, "-nn", "-l", "-t", "--immediate-mode"]).args(arguments).stdin(Stdio::null());
        command.stdout(std::fs::File::create(&file).unwrap()).stderr(std::fs::File::create(&log).unwrap());
        let child = command.spawn().unwrap();
        wait("tcpdump listens", || match std::fs::read_to_string(&log).unwrap() {
            text if text.contains("listening on") => Ok(()),
            text => Err(text),
        });
        Self { child, file }
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.file).unwrap().lines().map(str::to_owned).collect()
    }

    /// The packets of [`Capture::bytes_at`] from the IP header on, once there are as many as were asked for.
    pub(crate) fn packets(&mut self) -> Vec<Vec<u8>> {
        wait("all packets are captured", || match self.child.try_wait().unwrap() {
            Some(_) => Ok(()),
            None => Err(format!("{} lines", self.lines().len())),
        });
        let mut packets: Vec<Vec<u8>> = Vec::new();
        for line in self.lines() {
            // `\t0x0010:  0a4d 0064 ...` is 16 bytes of the packet that the line before all of these names.
            match line.strip_prefix("\t0x").and_then(|rest| rest.split_once(':')) {
                Some((_, digits)) => packets.last_mut().unwrap().extend(bytes(digits)),
                None => packets.push(Vec::new()),
            }
        }
        packets
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}
