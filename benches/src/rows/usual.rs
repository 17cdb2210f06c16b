//! What the baselines have in their tables before their flows come, and whether they found them.

use anyhow::Context as _;
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};
use lb_common::wire::transport::TCP;

/// Number of the service in the usual design.
const SERVICE: u32 = 7;

/// Port 80, then TCP, as the programs have it in their keys.
fn port_80() -> u32 {
    u32::from(80u16.to_be()) | u32::from(TCP) << 16
}

/// Services and reals.
pub(super) fn fill(object: &mut Ebpf) -> anyhow::Result<()> {
    let mut services: HashMap<&mut MapData, [u32; 2], u32> = map(object, "USUAL_SERVICES")?;
    let address = |third, last| u32::from_ne_bytes([10, third, 0, last]);
    services.insert([address(0, 100), port_80()], SERVICE, 0)?;
    // As in the reference's measurements: other services stand in the table, too.
    for other in 0..200u8 {
        services.insert([address(9, other), port_80()], u32::from(other), 0)?;
    }
    let mut services: HashMap<&mut MapData, [u32; 5], u32> = map(object, "USUAL_SERVICES_V6")?;
    let address = |third: u16, last: u16| {
        [u32::from_ne_bytes([0xfd, 0, 0, 0]), u32::from(third.to_be()), 0, u32::from(last.to_be()) << 16]
    };
    let key = |[a, b, c, d]: [u32; 4]| [a, b, c, d, port_80()];
    services.insert(key(address(0, 0x100)), SERVICE, 0)?;
    for other in 0..200u16 {
        services.insert(key(address(9, other)), u32::from(other), 0)?;
    }
    let mut reals: Array<&mut MapData, [u64; 3]> = map(object, "USUAL_REALS")?;
    for real in 0..16u8 {
        let ends = [[172, 16, 0, 1], [10, 0, 1, real + 1]].map(u32::from_ne_bytes).map(u64::from);
        let macs = [0x0a00_0000_0002 | u64::from(real) << 40, 0x0b00_0000_0002];
        reals.set(u32::from(real), [macs[0], macs[1], ends[0] | ends[1] << 32], 0)?;
    }
    Ok(())
}

/// Packets for which a baseline found no entry.
pub(super) fn missed(object: &Ebpf) -> anyhow::Result<u64> {
    let missed: Array<&MapData, u64> = object.map("MISSED").context("map MISSED")?.try_into()?;
    Ok(missed.get(&0, 0)?)
}

fn map<'a, M>(object: &'a mut Ebpf, name: &str) -> anyhow::Result<M>
where
    M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>,
{
    Ok(object.map_mut(name).with_context(|| format!("map {name}"))?.try_into()?)
}
