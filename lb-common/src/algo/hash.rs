//! Hashes: our own keyed one for buckets, and IPVS's two, bit for bit, so that a hash-scheduled client keeps its real.

/// Odd constants with well mixed bits (the fractional parts of the golden ratio and of pi).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const PI: u64 = 0x243f_6a88_85a3_08d3;

/// One round: a secret goes in before the multiplication, so without it nobody can tell which inputs meet in a bucket.
#[inline(always)]
const fn round(word: u64, multiplier: u64) -> u64 {
    let product = word.wrapping_mul(multiplier);
    product ^ (product >> 32)
}

/// Hash of a connection key of one word, of which [`connection_first`] and [`connection_second`] take different bits. The secret's second half
/// is odd, since it multiplies.
#[inline(always)]
pub const fn flow_v4(key: u64, secret: [u64; 2]) -> u64 {
    round(key ^ secret[0], secret[1]).wrapping_mul(GOLDEN)
}

/// Hash of a connection key of three words.
#[inline(always)]
pub const fn flow_v6(key: [u64; 3], secret: [u64; 2]) -> u64 {
    let mut word = round(key[0] ^ secret[0], secret[1]);
    word = round(word ^ key[1], secret[1]);
    flow_v4(word ^ key[2], secret)
}

/// What tells the addresses of one entry apart in keys of connections (see `Family::marked` of the datapath).
#[inline(always)]
pub const fn mark(address: [u64; 2], protocol: u8, secret: [u64; 2]) -> u64 {
    let word = round(round(address[0] ^ secret[0], secret[1]) ^ address[1] ^ (protocol as u64) << 17, secret[1]);
    round(word, GOLDEN).wrapping_mul(PI | 1)
}

/// The bucket that a connection stands in first, of `mask + 1`, a power of two. The service comes in last, and moves the connection by as
/// many buckets: the rest is known while the datapath still looks for the service, which saves 2 ns of 14.
#[inline(always)]
pub const fn connection_first(hash: u64, service: u32, mask: u64) -> u64 {
    (hash >> 32 ^ service as u64) & mask
}

/// The one that it stands in if there is no room there: of `overflow_mask + 1`, a power of two, which are numbered behind the first ones.
#[inline(always)]
pub const fn connection_second(hash: u64, service: u32, mask: u64, overflow_mask: u64) -> u64 {
    ((hash >> 8 ^ service as u64) & overflow_mask) + mask + 1
}

/// Name of a fragmented packet, from the words that identify it: never 0 or 1, which mean something else in its table.
#[inline(always)]
pub const fn fragment(words: [u64; 5], secret: [u64; 2]) -> u64 {
    let mut hash = secret[0];
    let mut at = 0;
    while at < words.len() {
        hash = round(hash ^ words[at], secret[1]).wrapping_mul(GOLDEN);
        hash ^= hash >> 29;
        at += 1;
    }
    hash | 2
}

/// The first of two buckets of a table, below `mask + 1`, a power of two of at least 2.
#[inline(always)]
pub const fn first_bucket(hash: u64, mask: u64) -> u64 {
    hash >> 32 & mask
}

/// The second one, which differs from the first.
#[inline(always)]
pub const fn second_bucket(hash: u64, mask: u64) -> u64 {
    let (first, second) = (first_bucket(hash, mask), hash >> 8 & mask);
    if second == first { first ^ 1 } else { second }
}

/// Hash of the ends of an IPv4 packet, by which an answer is looked up: both addresses in one word, and
/// [`crate::abi::reply::Ends`].
#[inline(always)]
pub const fn ends_v4(addresses: u64, ends: u64, secret: [u64; 2]) -> u64 {
    let word = round(addresses ^ secret[0], secret[1]);
    round(word ^ ends, secret[1]).wrapping_mul(PI | 1)
}

/// The same for IPv6.
#[inline(always)]
pub const fn ends_v6(source: [u64; 2], destination: [u64; 2], ends: u64, secret: [u64; 2]) -> u64 {
    let mut word = round(source[0] ^ secret[0], secret[1]);
    word = round(word ^ source[1], secret[1]);
    word = round(word ^ destination[0], secret[1]);
    ends_v4(word ^ destination[1], ends, secret)
}

/// Bits of a flow's hash that a tunnel's outer source may carry. They say nothing about the bucket key.
#[inline(always)]
pub const fn entropy(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// Bucket of a service address: operators choose these, so no secret is needed, and the upper bits of one product are enough (18 of them
/// at most). Every packet waits for it.
#[inline(always)]
pub const fn service_v4(key: u64, mask: u32) -> u32 {
    (key.wrapping_mul(GOLDEN) >> 46) as u32 & mask
}

/// Bucket of an IPv6 service address.
#[inline(always)]
pub const fn service_v6(key: [u64; 3], mask: u32) -> u32 {
    service_v4(key[0].wrapping_mul(PI | 1) ^ key[1] ^ key[2], mask)
}

/// The kernel's `hash_32`: the upper `bits` bits of a product with the 32-bit golden ratio.
#[inline(always)]
pub const fn hash_32(value: u32, bits: u32) -> u32 {
    value.wrapping_mul(0x61c8_8647) >> (32 - bits)
}

/// The kernel's `hsiphash` of one 32-bit word on 64-bit machines: SipHash-1-3, cut to 32 bits.
#[inline(always)]
pub const fn hsiphash_u32(value: u32, key: [u64; 2]) -> u32 {
    let mut v = [
        0x736f_6d65_7073_6575 ^ key[0],
        0x646f_7261_6e64_6f6d ^ key[1],
        0x6c79_6765_6e65_7261 ^ key[0],
        0x7465_6462_7974_6573 ^ key[1],
    ];
    let word = (4u64 << 56) | value as u64;
    v[3] ^= word;
    v = sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    v = sip_round(sip_round(sip_round(v)));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

#[inline(always)]
const fn sip_round(mut v: [u64; 4]) -> [u64; 4] {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
    v
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher as _;

    use super::*;

    #[test]
    fn hash_32_is_the_kernels() {
        assert_eq!(hash_32(0, 8), 0);
        assert_eq!(hash_32(1, 8), 0x61);
        assert_eq!(hash_32(0x0a00_0001, 8), 0x0a00_0001u32.wrapping_mul(0x61c8_8647) >> 24);
    }

    /// std's deprecated SipHasher13 is not public; SipHash-1-3 of std's DefaultHasher has keys 0, 0 and hashes the same bytes.
    #[test]
    fn hsiphash_is_siphash_1_3() {
        for value in [0u32, 1, 0xffff_ffff, 0x0a00_0001] {
            let mut reference = std::collections::hash_map::DefaultHasher::new();
            reference.write(&value.to_le_bytes());
            assert_eq!(hsiphash_u32(value, [0, 0]), reference.finish() as u32);
        }
    }

    #[test]
    fn flows_spread_over_buckets() {
        const BUCKETS: usize = 1 << 12;
        // Both places of a connection, and those of two services that the same clients talk to.
        let (mut first, mut second) = (vec![0u32; BUCKETS], vec![0u32; BUCKETS]);
        let mask = BUCKETS as u64 - 1;
        for flow in 0..(BUCKETS as u64 * 8) {
            let (client, port) = (0x0a00_0000 + (flow >> 8), flow & 0xff);
            let hash = flow_v4(client | (port << 32) | (80 << 48), [0x5be0_cd19_137e_2179, 0x6a09_e667_f3bc_c909]);
            let service = 1 + (flow & 1) as u32;
            first[connection_first(hash, service, mask) as usize] += 1;
            second[(connection_second(hash, service, mask, mask) - mask - 1) as usize] += 1;
        }
        for filled in [first, second] {
            // Chi-square against a uniform spread: expectation BUCKETS - 1, standard deviation sqrt(2 * BUCKETS) = 90.
            let chi: f64 = filled.iter().map(|&n| (f64::from(n) - 8.0).powi(2) / 8.0).sum();
            assert!((3700.0..4500.0).contains(&chi), "chi-square {chi}");
        }
    }

    #[test]
    fn the_two_buckets_differ() {
        for hash in 0..10_000u64 {
            let hash = hash.wrapping_mul(GOLDEN);
            assert_ne!(first_bucket(hash, 1), second_bucket(hash, 1));
        }
    }
}
