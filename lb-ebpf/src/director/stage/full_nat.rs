use aya_ebpf::bindings::xdp_md;
use lb_common::abi::verdict::Verdict;

use super::tunnel::Stand;
use crate::family::Family;

#[inline(always)]
pub(crate) fn translate<F: Family>(_ctx: *mut xdp_md, _stand: Stand) -> Result<Verdict, Verdict> {
    Err(Verdict::NatUnsuited)
}
