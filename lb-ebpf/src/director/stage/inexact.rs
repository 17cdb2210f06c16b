//! Services of any port, and those that stand for many addresses: prefixes, ranges of ports. One lookup for each shape in use, the most
//! specific first. Out of line: packets with an exact match never come here.
#![expect(unsafe_code, reason = "global functions need names of their own in the object")]

use aya_ebpf::bindings::xdp_md;
use lb_common::abi::service::{Target, key_v4, key_v6_tail};
use lb_common::abi::settings::inexact;
use lb_common::abi::shape::{SHAPES, Shape, WHOLE_PORT, mask_64};

use super::tunnel::Stand;
use super::{connection, service};
use crate::family::{Family, V4, V6};
use crate::maps::{connections, limits, services, settings, shapes};

/// The service at an IPv4 address (raw), port (raw) and protocol: a [`Target`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_inexact_v4(address: u32, port: u32, protocol: u32) -> u64 {
    if settings::inexact() & inexact::SHAPES == 0 {
        return kept(services::find_v4(key_v4(address, 0, protocol as u8)), 0);
    }
    let found = search(false, |shape| {
        let mask = ((mask_64(shape.prefix() & 63) >> 32) as u32).to_be();
        let (port, tag) = port_of(shape, port as u16, 32, Shape::tag_v4);
        services::find_v4(key_v4(address & mask, port, protocol as u8) | tag)
    });
    kept(found, V4::virtual_mark(address, protocol as u8))
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_inexact_v6(upper: u64, lower: u64, port: u32, protocol: u32) -> u64 {
    if settings::inexact() & inexact::SHAPES == 0 {
        return kept(services::find_v6([upper, lower, key_v6_tail(0, protocol as u8)]), 0);
    }
    let found = search(true, |shape| {
        let prefix = shape.prefix();
        let lower_bits = prefix.saturating_sub(64);
        let (upper_mask, lower_mask) = (mask_64(prefix).to_be(), mask_64(lower_bits).to_be());
        let (port, tag) = port_of(shape, port as u16, 128, Shape::tag_v6);
        services::find_v6([upper & upper_mask, lower & lower_mask, key_v6_tail(port, protocol as u8) | tag])
    });
    kept(found, V6::virtual_mark([upper, lower], protocol as u8))
}

/// The port (raw) and the tag in a key of this shape. Any port of one address has neither: it stands as without shapes.
#[inline(always)]
fn port_of(shape: Shape, port: u16, whole: u32, tag: impl Fn(Shape) -> u64) -> (u16, u64) {
    if shape.prefix() == whole && shape.port_bits() == 0 {
        return (0, 0);
    }
    if shape.port_bits() >= WHOLE_PORT {
        return (port, tag(shape));
    }
    (shape.port(u16::from_be(port)).to_be(), tag(shape))
}

#[inline(always)]
fn search(is_v6: bool, find: impl Fn(Shape) -> Target) -> Target {
    let mut found = Target::NONE;
    lb_ebpf::helpers::repeat(SHAPES as u32, |at| {
        let Some(shape) = shapes::shape(is_v6, at) else { return false };
        found = find(shape);
        !found.is_some()
    });
    found
}

/// What was found, kept for functions further down.
#[inline(always)]
fn kept(found: Target, mark: u64) -> u64 {
    limits::keep(found.0, mark);
    found.0
}

/// Keeps the address that the client of the IPv4 packet at `stand` has sent to, beside its connection: the key there does not tell.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xvs_keep_virtual_v4(ctx: *mut xdp_md, stand: u64) -> u32 {
    let Ok(flow) = super::flow::<V4>(ctx, Stand(stand)) else { return 0 };
    let Some(service) = service::lookup_again::<V4>(&flow) else { return 0 };
    let Some(located) = connection::locate(&service.place::<V4>(&flow)) else { return 0 };
    connections::keep_virtual(located.index, flow.ip.destination);
    1
}
