//! Reads the recorded packets. They are no part of this repository: the file is looked for beside it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;

/// The whole file.
#[derive(Deserialize)]
pub(crate) struct Recorded {
    /// What all suites share.
    pub(crate) setup: Setup,
    /// The peer's services, by the name that suites give.
    pub(crate) setups: BTreeMap<String, Services>,
    /// The recorded frames, by the suite's name.
    pub(crate) suites: BTreeMap<String, Suite>,
}

/// What all suites share.
#[derive(Deserialize)]
pub(crate) struct Setup {
    /// Addresses and limits of the peer.
    pub(crate) common: Common,
}

/// Addresses and limits of the peer.
#[derive(Deserialize)]
pub(crate) struct Common {
    /// Where every forwarded frame is sent to, as text.
    pub(crate) gateway_mac: String,
    /// Source of GUE in IPv4.
    pub gue_source_v4: IpAddr,
    /// Source of GUE in IPv6.
    pub gue_source_v6: IpAddr,
    /// UDP port of GUE.
    pub(crate) gue_dst_port: u16,
    /// Longest frame that is forwarded, Ethernet header included, before anything is put in front.
    pub(crate) max_frame_bytes: u16,
}

/// The peer's services.
#[derive(Deserialize)]
pub(crate) struct Services {
    /// Those with reals.
    #[serde(rename = "vips_in_creation_order")]
    pub(crate) vips: Vec<Vip>,
    /// Those that were made and never got a real.
    #[serde(rename = "uninitialised_vips", default)]
    pub(crate) empty: Vec<Vip>,
}

/// A service of the peer. Its flags are not read: docs/reference/peer-differences.md says what has no counterpart.
#[derive(Clone, Deserialize)]
pub(crate) struct Vip {
    /// An address, in one suite a prefix.
    pub(crate) address: String,
    /// 0: every port.
    pub(crate) port: u16,
    /// `tcp` or `udp`.
    pub(crate) proto: String,
    /// Addresses.
    pub(crate) reals: Vec<IpAddr>,
}

impl Vip {
    /// First address, and bits of it that count.
    pub(crate) fn prefix(&self) -> (IpAddr, u8) {
        let (address, prefix) = self.address.split_once('/').unwrap_or((&self.address, ""));
        let address: IpAddr = address.parse().expect("an address");
        (address, prefix.parse().unwrap_or(if address.is_ipv4() { 32 } else { 128 }))
    }

    /// The address is one of the service's.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        let (first, prefix) = self.prefix();
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let ((first, width), (other, other_width)) = (bits(first), bits(address));
        width == other_width && (first ^ other).checked_shr(width - u32::from(prefix)).unwrap_or(0) == 0
    }
}

/// Frames that went through one fresh peer, in order.
#[derive(Deserialize)]
pub(crate) struct Suite {
    /// Name of the services, and of what else was set.
    pub(crate) setup: String,
    /// The frames.
    pub(crate) cases: Vec<Case>,
}

/// One frame.
#[derive(Deserialize)]
pub(crate) struct Case {
    /// Its number in the suite.
    #[serde(rename = "n")]
    pub(crate) number: u32,
    /// `XDP_TX`, `XDP_PASS` or `XDP_DROP`.
    pub(crate) verdict: String,
    /// The frame in base64, as it came in.
    input: String,
    /// And as it was left.
    output: String,
}

impl Case {
    /// The frame as it came in.
    pub(crate) fn input(&self) -> Vec<u8> {
        base64(&self.input)
    }

    /// The frame as the peer left it.
    pub(crate) fn output(&self) -> Vec<u8> {
        base64(&self.output)
    }
}

/// `XVS_CONFORMANCE`, or a folder beside the repository.
pub(crate) fn path() -> PathBuf {
    env::var_os("XVS_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance/peer_packets.json"),
        PathBuf::from,
    )
}

/// The file, if it is there.
pub(crate) fn read() -> Option<Recorded> {
    let text = fs::read(path()).ok()?;
    Some(serde_json::from_slice(&text).expect("the recorded packets have another form than is read here"))
}

/// RFC 4648 section 4. Panics at what is none.
fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut word, mut bits) = (0u32, 0);
    for symbol in text.trim_end_matches('=').bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("no base64: {other:#04x}"),
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    bytes
}

/// RFC 4648 section 10.
#[test]
fn base64_of_the_rfc() {
    for (text, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
        assert_eq!(base64(text), plain.as_bytes());
    }
    assert_eq!(base64("+/8="), [0xfb, 0xff]);
}
