//! Services and reals: `-L` with its options.

use std::fmt::Write as _;

use super::{
    super::{command::Columns, flags, names::Names},
    Words, forward,
    largenum::largenum,
    mark, order,
};
use crate::{
    api::types::{RealView, ServiceView},
    model::{Method, Netmask, Protocol, spec::DEFAULT_TUNNEL_PORT},
};

/// First line of a listing of all services. The size is that of a usual kernel's connection table, for scripts that compare the line;
/// `xvs status` tells the one that counts.
const VERSION: &str = "IP Virtual Server version 1.2.1 (size=4096)\n";
/// What is left of a name of an IPv4 service, protocol included, and of an IPv4 real: the columns are as wide.
const SERVICE_WIDTH: usize = 33;
const REAL_WIDTH: usize = 28;

/// What a listing looks like.
pub(in super::super) struct Style {
    pub(in super::super) columns: Columns,
    pub(in super::super) exact: bool,
    pub(in super::super) nosort: bool,
}

/// All services: version, head, lines.
pub(in super::super) fn all<N: Names>(services: &[ServiceView], style: &Style, words: &Words<'_, N>) -> String {
    let mut views: Vec<&ServiceView> = services.iter().collect();
    match style.nosort {
        false => order::services(&mut views),
        // The kernel has marks in a table of their own, which it lists after the other.
        true => views.sort_by_key(|view| view.protocol == Protocol::Mark),
    }
    let mut text = format!("{VERSION}{}", head(style.columns));
    for view in views {
        service(&mut text, view, style, words);
    }
    text
}

/// One service: head and lines.
pub(in super::super) fn one<N: Names>(view: &ServiceView, style: &Style, words: &Words<'_, N>) -> String {
    let mut text = head(style.columns).to_owned();
    service(&mut text, view, style, words);
    text
}

/// A service's reals in their order: by address, or the newest first as they stand in the kernel's list.
pub(super) fn reals(view: &ServiceView, nosort: bool) -> Vec<&RealView> {
    let mut reals: Vec<&RealView> = view.reals.iter().rev().collect();
    if !nosort {
        order::reals(&mut reals);
    }
    reals
}

fn head(columns: Columns) -> &'static str {
    match columns {
        Columns::Plain => {
            "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        }
        Columns::Stats => {
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n"
        }
        Columns::Rate => {
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  -> RemoteAddress:Port\n"
        }
        Columns::Thresholds => {
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  -> RemoteAddress:Port\n"
        }
        Columns::PersistentConn => {
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  -> RemoteAddress:Port\n"
        }
        Columns::TunInfo => {
            "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
        }
    }
}

/// A service's line and its reals'. Writing to a String cannot fail.
fn service<N: Names>(text: &mut String, view: &ServiceView, style: &Style, words: &Words<'_, N>) {
    let name = service_name(view, words);
    let exact = style.exact;
    let _ = match style.columns {
        Columns::Stats => writeln!(text, "{name:<SERVICE_WIDTH$}{}", join(counters(&view.counters), exact)),
        Columns::Rate => {
            let rates = view.rates;
            let numbers = [rates.connections, rates.packets, rates.reply_packets, rates.bytes, rates.reply_bytes];
            writeln!(text, "{name:<SERVICE_WIDTH$}{}", join(numbers, exact))
        }
        _ => writeln!(text, "{name} {}", settings(view)),
    };
    for view_of_real in reals(view, style.nosort) {
        real(text, view, view_of_real, style, words);
    }
}

fn service_name<N: Names>(view: &ServiceView, words: &Words<'_, N>) -> String {
    let mut name = match (view.protocol, mark(view)) {
        (_, Some(mark)) if view.address.is_ipv6() => format!("FWM  {mark} IPv6"),
        (_, Some(mark)) => format!("FWM  {mark}"),
        (Protocol::Udp, _) => format!("UDP  {}", words.service(view)),
        (Protocol::Sctp, _) => format!("SCTP {}", words.service(view)),
        _ => format!("TCP  {}", words.service(view)),
    };
    if view.address.is_ipv4() {
        cut(&mut name, SERVICE_WIDTH);
    }
    name
}

fn settings(view: &ServiceView) -> String {
    let mut text = view.scheduler.to_string();
    let flags = flags::text(&view.flags, view.scheduler);
    if !flags.is_empty() {
        let _ = write!(text, " ({flags})");
    }
    if let Some(persistence) = view.persistence {
        let _ = write!(text, " persistent {}", persistence.timeout);
        if let Some(mask) = persistence.netmask.filter(|mask| !mask.is_whole()) {
            let _ = write!(text, " mask {}", netmask(mask));
        }
    }
    if view.one_packet {
        text.push_str(" ops");
    }
    text
}

/// `255.255.255.0`, or bits for IPv6.
pub(super) fn netmask(mask: Netmask) -> String {
    match mask {
        Netmask::V4(mask) => mask.to_string(),
        Netmask::V6(bits) => bits.to_string(),
    }
}

fn real<N: Names>(text: &mut String, service: &ServiceView, view: &RealView, style: &Style, words: &Words<'_, N>) {
    let mut name = words.real(service, view);
    if view.address.is_ipv4() {
        cut(&mut name, REAL_WIDTH);
    }
    let RealView { weight, active, inactive, .. } = view;
    let forward = forward(view);
    let rest = match style.columns {
        Columns::Plain => format!(" {forward:<7} {weight:<6} {active:<10} {inactive:<10}"),
        Columns::TunInfo => {
            format!(" {forward:<7} {:<13} {weight:<6} {active:<10} {inactive:<10}", tunnel_info(view))
        }
        Columns::Stats => join(counters(&view.counters), style.exact),
        Columns::Rate => {
            let rates = view.rates;
            let bytes = [rates.bytes, rates.reply_bytes].map(|number| largenum(number, style.exact)).concat();
            // These three are never shortened.
            format!(" {:8} {:8} {:8}{bytes}", rates.connections, rates.packets, rates.reply_packets)
        }
        Columns::Thresholds => {
            let (upper, lower) = (view.upper_threshold, view.lower_threshold);
            format!(" {upper:<10} {lower:<10} {active:<10} {inactive:<10}")
        }
        Columns::PersistentConn => {
            format!(" {weight:<9} {:<11} {active:<10} {inactive:<10}", view.templates)
        }
    };
    let _ = writeln!(text, "  -> {name:<REAL_WIDTH$}{rest}");
}

fn tunnel_info(view: &RealView) -> String {
    let checksum = if view.tunnel_checksum == Some(true) { "+c" } else { "-c" };
    match view.method {
        _ if view.is_local => "n/a".to_owned(),
        Method::Tunnel => "ipip".to_owned(),
        Method::Gue => format!("gue:{}:{checksum}", view.tunnel_port.unwrap_or(DEFAULT_TUNNEL_PORT)),
        Method::Gre => format!("gre:{checksum}"),
        Method::Direct | Method::Nat | Method::FullNat => "n/a".to_owned(),
    }
}

fn counters(counters: &crate::api::types::Counters) -> [u64; 5] {
    [counters.connections, counters.packets, counters.reply_packets, counters.bytes, counters.reply_bytes]
}

fn join(numbers: [u64; 5], is_exact: bool) -> String {
    numbers.map(|number| largenum(number, is_exact)).concat()
}

/// Keeps so many bytes of a name, and whole characters.
fn cut(name: &mut String, width: usize) {
    name.truncate(name.floor_char_boundary(width));
}
