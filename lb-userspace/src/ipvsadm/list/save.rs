//! `-S`: the configuration as lines that `-R` reads.
//!
//! Thresholds are not saved, as with ipvsadm 1.31; `xvs export` has them.

use std::fmt::Write as _;

use super::{
    super::{flags, names::Names},
    Words, forward, order,
    services::{netmask, reals},
};
use crate::{
    api::types::{RealView, ServiceView},
    model::{Method, Protocol, spec::DEFAULT_TUNNEL_PORT},
};

/// All services and reals in the order of the listing.
pub(in super::super) fn save<N: Names>(services: &[ServiceView], words: &Words<'_, N>) -> String {
    let mut views: Vec<&ServiceView> = services.iter().collect();
    order::services(&mut views);
    let mut text = String::new();
    for view in views {
        let name = service_name(view, words);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "-A {name} -s {}{}", view.scheduler, settings(view));
        for real in reals(view, false) {
            let address = words.real(view, real);
            let _ = writeln!(text, "-a {name} -r {address} {} -w {}{}", way(real), real.weight, tunnel(real));
        }
    }
    text
}

fn service_name<N: Names>(view: &ServiceView, words: &Words<'_, N>) -> String {
    // Unsigned, unlike ipvsadm's own listing: `-R` reads it back.
    match (view.protocol, view.service.mark()) {
        (_, Some(mark)) if view.address.is_ipv6() => format!("-f {mark} -6"),
        (_, Some(mark)) => format!("-f {mark}"),
        (Protocol::Udp, _) => format!("-u {}", words.service(view)),
        (Protocol::Sctp, _) => format!("--sctp-service {}", words.service(view)),
        _ => format!("-t {}", words.service(view)),
    }
}

fn settings(view: &ServiceView) -> String {
    let mut text = String::new();
    if let Some(persistence) = view.persistence {
        let _ = write!(text, " -p {}", persistence.timeout);
        if let Some(mask) = persistence.netmask.filter(|mask| !mask.is_whole()) {
            let _ = write!(text, " -M {}", netmask(mask));
        }
    }
    if view.one_packet {
        text.push_str(" -o");
    }
    let flags = flags::text(&view.flags, view.scheduler);
    if !flags.is_empty() {
        let _ = write!(text, " -b {flags}");
    }
    text
}

/// A real that is the director itself is saved as a routed one, as ipvsadm does.
fn way(real: &RealView) -> &'static str {
    match forward(real) {
        "Masq" => "-m",
        "Tunnel" => "-i",
        _ => "-g",
    }
}

fn tunnel(real: &RealView) -> String {
    let checksum = if real.tunnel_checksum == Some(true) { "--tun-csum" } else { "--tun-nocsum" };
    match real.method {
        _ if real.is_local => String::new(),
        Method::Tunnel => " --tun-type ipip".to_owned(),
        Method::Gue => {
            let port = real.tunnel_port.unwrap_or(DEFAULT_TUNNEL_PORT);
            format!(" --tun-type gue --tun-port {port} {checksum}")
        }
        Method::Gre => format!(" --tun-type gre {checksum}"),
        Method::Direct | Method::Nat | Method::FullNat => String::new(),
    }
}
