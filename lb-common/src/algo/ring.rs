//! The rings of the hash schedulers, built by user space, bit for bit as IPVS builds them.

use super::hash::hsiphash_u32;
use crate::abi::limits::{MH_SLOTS, SH_SLOTS};
use crate::abi::service::RING_EMPTY;

/// What a ring needs to know of a real, in the service's member order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingMember {
    /// Address in host order; an IPv6 address is folded by XOR of its four words.
    pub address: u32,
    /// Port in host order.
    pub port: u16,
    /// For sh the weight now. For mh the last weight above 0, so that a drained real keeps its slots.
    pub weight: u32,
}

/// SipHash keys of `ip_vs_mh.c`: the 32-bit golden ratio and the next prime it uses.
const MH_KEYS: [[u64; 2]; 2] = [[2_654_435_761; 2], [2_654_446_892; 2]];

/// Hash of an address and a port with one of mh's two keys.
#[inline]
fn mh_hash(member: &RingMember, key: [u64; 2]) -> u32 {
    hsiphash_u32(u32::from(member.port).wrapping_add(member.address), key)
}

/// The source-hash ring (`ip_vs_sh_reassign`): members in turn, each `weight` slots long; a weight of 0 still takes one.
pub fn source_hash(members: &[RingMember]) -> Vec<u16> {
    let Some(last) = members.len().checked_sub(1) else { return vec![RING_EMPTY; SH_SLOTS as usize] };
    let mut ring = Vec::with_capacity(SH_SLOTS as usize);
    let (mut index, mut taken) = (0, 0);
    for _ in 0..SH_SLOTS {
        ring.push(index as u16);
        taken += 1;
        if taken >= members[index].weight {
            index = if index == last { 0 } else { index + 1 };
            taken = 0;
        }
    }
    ring
}

/// Greatest common divisor of the weights above 0; 0 when there is none.
pub fn common_divisor(weights: impl IntoIterator<Item = u32>) -> u32 {
    weights.into_iter().fold(0, |a, b| {
        let (mut a, mut b) = (a, b);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    })
}

/// wrr's divisor of weights, and the greatest current weight (`ip_vs_wrr_gcd_weight`, `ip_vs_wrr_max_weight`).
pub fn wrr_steps(weights: impl Iterator<Item = u32> + Clone) -> (u32, u32) {
    let step = common_divisor(weights.clone()).max(1);
    let heaviest = weights.max().unwrap_or(0);
    (step, if heaviest == 0 { 0 } else { heaviest - (step - 1) })
}

/// The Maglev ring (`ip_vs_mh_populate`): each member takes the next free slot of its own permutation, `turns` times a round.
pub fn maglev(members: &[RingMember]) -> Vec<u16> {
    maglev_of(members, MH_SLOTS)
}

/// The primes that a Maglev ring may have slots, by IPVS's table index from 8 on (`CONFIG_IP_VS_MH_TAB_INDEX`).
pub const MH_PRIMES: [u32; 10] = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131_071];

/// The destination-hash ring (`ip_vs_dh_reassign`): members in turn, whatever their weights.
pub fn destination_hash(members: &[RingMember]) -> Vec<u16> {
    if members.is_empty() {
        return vec![RING_EMPTY; SH_SLOTS as usize];
    }
    (0..SH_SLOTS as usize).map(|slot| (slot % members.len()) as u16).collect()
}

/// [`maglev`] with one of [`MH_PRIMES`] slots.
pub fn maglev_of(members: &[RingMember], slots: u32) -> Vec<u16> {
    let mut ring = vec![RING_EMPTY; slots as usize];
    let divisor = common_divisor(members.iter().map(|member| member.weight));
    if divisor == 0 {
        return ring;
    }
    let heaviest = members.iter().map(|member| member.weight / divisor).max().unwrap_or(0);
    // ip_vs_mh_shift_weight: weights so large that a round would fill the ring are scaled down.
    let index = 8 + MH_PRIMES.iter().position(|prime| *prime >= slots).unwrap_or(MH_PRIMES.len() - 1) as u32;
    let shift = (32 - heaviest.leading_zeros()).saturating_sub(index / 2);
    let mut walks: Vec<_> = members
        .iter()
        .map(|member| {
            let share = member.weight / divisor;
            let turns = (share >> shift).max(u32::from(share != 0));
            let position = mh_hash(member, MH_KEYS[0]) % slots;
            let skip = mh_hash(member, MH_KEYS[1]) % (slots - 1) + 1;
            (position, skip, turns)
        })
        .collect();
    let mut filled = 0;
    loop {
        for (index, (position, skip, turns)) in walks.iter_mut().enumerate() {
            for _ in 0..*turns {
                while ring[*position as usize] != RING_EMPTY {
                    *position = (*position + *skip) % slots;
                }
                ring[*position as usize] = index as u16;
                *position = (*position + *skip) % slots;
                filled += 1;
                if filled == slots {
                    return ring;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u32, weight: u32) -> Vec<RingMember> {
        (0..count).map(|n| RingMember { address: 0x0a00_0001 + n, port: 80, weight }).collect()
    }

    fn shares(ring: &[u16], count: usize) -> Vec<u32> {
        let mut shares = vec![0; count];
        for &slot in ring {
            shares[slot as usize] += 1;
        }
        shares
    }

    #[test]
    fn source_hash_repeats_each_member_by_weight() {
        let mut members = members(3, 2);
        members[2].weight = 0;
        let ring = source_hash(&members);
        assert_eq!(ring.len(), 256);
        assert_eq!(&ring[..7], &[0, 0, 1, 1, 2, 0, 0]);
        assert!(source_hash(&[]).iter().all(|&slot| slot == RING_EMPTY));
    }

    #[test]
    fn destination_hash_goes_round_whatever_the_weights() {
        let mut members = members(3, 2);
        members[1].weight = 0;
        assert_eq!(&destination_hash(&members)[..7], &[0, 1, 2, 0, 1, 2, 0]);
        assert!(destination_hash(&[]).iter().all(|&slot| slot == RING_EMPTY));
    }

    #[test]
    fn every_prime_makes_a_full_ring_with_all_members() {
        for slots in MH_PRIMES {
            let mut unequal = members(20, 1);
            unequal[0].weight = 1000;
            let ring = maglev_of(&unequal, slots);
            assert_eq!(ring.len(), slots as usize);
            assert!(shares(&ring, 20).iter().all(|&share| share > 0), "{slots}");
        }
    }

    #[test]
    fn maglev_is_balanced() {
        for count in [1, 2, 3, 10, 100] {
            let shares = shares(&maglev(&members(count, 1)), count as usize);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{count} members: {least}..{most} slots");
        }
    }

    #[test]
    fn maglev_follows_weights() {
        let mut unequal = members(3, 1);
        (unequal[0].weight, unequal[1].weight, unequal[2].weight) = (50, 30, 20);
        let shares = shares(&maglev(&unequal), 3);
        for (share, weight) in shares.iter().zip([5.0, 3.0, 2.0]) {
            assert!((f64::from(*share) / 4093.0 - weight / 10.0).abs() < 0.002, "{shares:?}");
        }
    }

    /// Taking one of n away must move its own share and little more. Maglev's paper (section 5.3) has about 2 % on top at 4093 slots
    /// and 100 members; the bound here is generous against that and far below a rehash (99 %).
    #[test]
    fn maglev_moves_little_when_a_member_leaves() {
        let all = members(100, 1);
        let before = maglev(&all);
        let mut without = all.clone();
        without[42].weight = 0;
        let after = maglev(&without);
        let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
        let own = before.iter().filter(|&&slot| slot == 42).count();
        assert!(after.iter().all(|&slot| slot != 42));
        assert!(moved - own < 4093 / 10, "{moved} slots moved, {own} were the member's own");
    }

    #[test]
    fn maglev_without_usable_members_is_empty() {
        assert!(maglev(&members(2, 0)).iter().all(|&slot| slot == RING_EMPTY));
        assert!(maglev(&[]).iter().all(|&slot| slot == RING_EMPTY));
    }

    #[test]
    fn heavy_weights_are_scaled_down() {
        let mut heavy = members(2, 65535);
        heavy[1].weight = 1;
        let shares = shares(&maglev(&heavy), 2);
        assert_eq!(shares.iter().sum::<u32>(), 4093);
        assert!(shares[1] >= 4093 / 64 && shares[1] <= 4093 / 32, "one turn against 63 at most: {shares:?}");
    }
}
