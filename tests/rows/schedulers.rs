//! Schedulers: sequences written down from IPVS's rules, rings computed a second time here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lb_common::abi::service::flag;
use lb_common::abi::service::scheduler::{LC, MH, RR, SH, WLC, WRR};
use lb_common::abi::verdict::Verdict;
use lb_tests::director::{Director, direct};
use lb_tests::packet::{ACK, FIN, Packet, RST, SYN};
use lb_userspace::model::ServiceKey;

use super::{CLIENT, VIP, VIP6};

fn at(name: char) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, name as u8 - b'a' + 1], 80))
}

/// A service with reals a, b, c... of these weights, in this order.
fn director(scheduler: u8, flags: u8, weights: &[u32]) -> (Director, ServiceKey) {
    let mut director = Director::default();
    let reals: Vec<_> =
        ('a'..).zip(weights).map(|(name, weight)| (direct(&at(name).to_string(), name as u8), *weight)).collect();
    let key = director.service("tcp://10.0.0.100:80", scheduler, flags, &reals);
    (director, key)
}

fn name(real: Option<SocketAddr>) -> char {
    match real.map(|at| at.ip()) {
        Some(IpAddr::V4(ip)) => char::from(ip.octets()[3] - 1 + b'a'),
        _ => '-',
    }
}

/// The reals that new connections get, one after the other, from client port `first` on.
fn sequence(director: &mut Director, first: u16, count: u16) -> String {
    (first..first + count)
        .map(|port| {
            let sent = director.send(&Packet::v4(CLIENT, VIP).tcp(port, 80, SYN).build());
            assert_eq!(sent.is_new, sent.verdict == Verdict::Direct);
            name(sent.real)
        })
        .collect()
}

#[test]
fn rr() {
    assert_eq!(sequence(&mut director(RR, 0, &[1, 1, 1]).0, 1, 9), "abcabcabc");
    assert_eq!(sequence(&mut director(RR, 0, &[1]).0, 1, 4), "aaaa");
    assert_eq!(sequence(&mut director(RR, 0, &[9, 1, 3]).0, 1, 6), "abcabc", "weights above 0 do not count");
    assert_eq!(sequence(&mut director(RR, 0, &[1, 0, 1, 0]).0, 1, 5), "acaca", "weight 0 takes none");
    assert_eq!(sequence(&mut director(RR, 0, &[0, 0, 1]).0, 1, 3), "ccc");
    assert_eq!(sequence(&mut director(RR, 0, &[0, 0]).0, 1, 2), "--");
}

#[test]
fn rr_goes_on_where_it_stood_when_its_members_change() {
    let (mut director, key) = director(RR, 0, &[1, 1, 1]);
    assert_eq!(sequence(&mut director, 1, 2), "ab");
    // b is gone: as in IPVS the cursor is at the one before it.
    director.pool(&key, RR, 0, &[(at('a'), 1), (at('c'), 1)]);
    assert_eq!(sequence(&mut director, 10, 3), "cac");
}

/// ip_vs_wrr: step = gcd, top = max - (step - 1); from the cursor the next with weight >= current; at the end current -= step.
#[test]
fn wrr() {
    // 4, 3, 2: current 4: a; 3: a b; 2: a b c; 1: a b c.
    assert_eq!(sequence(&mut director(WRR, 0, &[4, 3, 2]).0, 1, 18), "aababcabcaababcabc");
    // 4, 2 have step 2: top 3, so 3: a; 1: a b.
    assert_eq!(sequence(&mut director(WRR, 0, &[4, 2]).0, 1, 9), "aabaabaab");
    assert_eq!(sequence(&mut director(WRR, 0, &[7, 7]).0, 1, 4), "abab", "equal weights are plain round robin");
    assert_eq!(sequence(&mut director(WRR, 0, &[0, 2, 1]).0, 1, 6), "bbcbbc");
    assert_eq!(sequence(&mut director(WRR, 0, &[0, 0]).0, 1, 2), "--");
    let sequence = sequence(&mut director(WRR, 0, &[65535, 1]).0, 1, 1000);
    assert_eq!(sequence, "a".repeat(1000), "1 in 65536");
}

/// What the kernel's own IPVS gave for three servers added one by one with weights 5, 3, 2 (the last added is the list's first): the
/// current weight is 1 from the first server on, so the first round is the lowest one.
#[test]
fn wrr_as_measured_on_ipvs() {
    let (mut director, key) = director(WRR, 0, &[2, 3, 5]);
    let members = [(at('a'), 2), (at('b'), 3), (at('c'), 5)];
    for first in [3, 2, 1, 0] {
        director.pool(&key, WRR, 0, &members[first..]);
    }
    // r3 r2 r1 r1 r1 r2 r1 r3 r2 r1 with r3 = a, r2 = b, r1 = c.
    assert_eq!(sequence(&mut director, 1, 20), "abcccbcabcabcccbcabc");
}

#[test]
fn wrr_moves_its_weight_onto_the_new_grid() {
    // Current weight 5 after the first connection; then 4, 2 with step 2: 5 is above the new top of 3, so 3: a; 1: a b.
    let (mut first, key) = director(WRR, 0, &[5, 1]);
    assert_eq!(sequence(&mut first, 1, 1), "a");
    first.pool(&key, WRR, 0, &[(at('a'), 4), (at('b'), 2)]);
    assert_eq!(sequence(&mut first, 10, 6), "aabaab");
    // Current weight 2 with 6, 3 and step 3 (top 4): 2 / 3 * 3 + 1 = 1: a b; then 4: a; 1: a b.
    let (mut second, key) = director(WRR, 0, &[3, 1]);
    assert_eq!(sequence(&mut second, 1, 2), "aa");
    second.pool(&key, WRR, 0, &[(at('a'), 6), (at('b'), 3)]);
    assert_eq!(sequence(&mut second, 10, 5), "abaab");
}

fn establish(director: &mut Director, port: u16) {
    director.send(&Packet::v4(CLIENT, VIP).tcp(port, 80, ACK).build());
}

/// Overhead: active * 256 + all connections; the least takes the next, the first of equals.
#[test]
fn lc() {
    let (mut all, key) = director(LC, 0, &[1, 5, 1]);
    assert_eq!(sequence(&mut all, 1, 6), "abcabc", "half-open ones count 1 each, weights nothing");
    establish(&mut all, 1);
    assert_eq!(all.load(&key, at('a')), (1, 1));
    // a: 257 + 1; b and c: 2 each.
    assert_eq!(sequence(&mut all, 10, 4), "bcbc");
    establish(&mut all, 2);
    establish(&mut all, 3);
    // All have one active: 258, 260, 260.
    assert_eq!(sequence(&mut all, 20, 5), "aaabc");
    // Closing one gives its 256 back.
    all.send(&Packet::v4(CLIENT, VIP).tcp(3, 80, FIN | ACK).build());
    assert_eq!(sequence(&mut all, 30, 2), "cc");
    assert_eq!(sequence(&mut director(LC, 0, &[0, 1, 0, 1]).0, 1, 4), "bdbd", "weight 0 takes none");
    assert_eq!(sequence(&mut director(LC, 0, &[0]).0, 1, 1), "-");
}

/// Overhead / weight by cross products; another one wins only when strictly less.
#[test]
fn wlc() {
    // By hand: overheads 0 0 0 -> a; 1 0 0 -> b; 1 1 0 -> c; 1 1 1 -> c (1/3); 1 1 2 -> b (1/2); 1 2 2 -> c (2/3); 1 2 3 -> again.
    let (mut all, _) = director(WLC, 0, &[1, 2, 3]);
    assert_eq!(sequence(&mut all, 1, 12), "abccbcabccbc");
    assert_eq!(sequence(&mut director(WLC, 0, &[1, 1]).0, 1, 4), "abab");
    assert_eq!(sequence(&mut director(WLC, 0, &[0, 3, 1]).0, 1, 8), "bcbbbcbb", "weight 0 takes none");
    // One active connection on the heavier of two: 257/10 against 0/1, then 1/1, ... until a has 26: 26/1 > 257/10.
    let (mut heavy, _) = director(WLC, 0, &[1, 10]);
    assert_eq!(sequence(&mut heavy, 1, 2), "ab");
    establish(&mut heavy, 2);
    assert_eq!(sequence(&mut heavy, 10, 26), format!("{}b", "a".repeat(25)));
}

#[test]
fn least_connection_sees_connections_end() {
    let (mut director, key) = director(LC, 0, &[1, 1]);
    assert_eq!(sequence(&mut director, 1, 2), "ab");
    establish(&mut director, 1);
    establish(&mut director, 2);
    director.send(&Packet::v4(CLIENT, VIP).tcp(2, 80, RST).build());
    assert_eq!((director.load(&key, at('a')), director.load(&key, at('b'))), ((1, 0), (0, 1)));
    assert_eq!(sequence(&mut director, 10, 3), "bbb");
}

// === the hash schedulers, computed a second time ===

/// Clients of both families that differ in every part of their addresses.
fn clients() -> Vec<(Packet, u32)> {
    let v4 = (0..60u32).map(|n| {
        let client = Ipv4Addr::from_bits(0xc000_0200u32.wrapping_add(n.wrapping_mul(0x0301_0507)));
        (Packet::new(client, VIP.parse::<Ipv4Addr>().unwrap()), client.to_bits())
    });
    let v6 = (0..60u32).map(|n| {
        let words = [0x2001_0db8, n * 77, n * n, 7 + n];
        let client = std::net::Ipv6Addr::from_bits(words.iter().fold(0, |bits, word| bits << 32 | u128::from(*word)));
        (
            Packet::new(client, VIP6.parse::<std::net::Ipv6Addr>().unwrap()),
            words.iter().fold(0, |folded, word| folded ^ word),
        )
    });
    v4.chain(v6).collect()
}

/// Both families with three reals each; `choose` says which member a client's connection gets.
fn check_hash(
    scheduler: u8,
    flags: u8,
    weights: [u32; 3],
    choose: impl Fn(&[(u32, u32); 3], u32, u16) -> Option<usize>,
) {
    let mut director = Director::default();
    let v4 = ["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80"];
    let v6 = ["[fd00::1:1]:80", "[fd00::1:2]:80", "[fd00:9::1:3]:80"];
    for (key, reals) in [("tcp://10.0.0.100:80", v4), ("tcp://[fd00::100]:80", v6)] {
        let reals: Vec<_> =
            reals.iter().zip(weights).zip(1..).map(|((at, weight), number)| (direct(at, number), weight)).collect();
        director.service(key, scheduler, flags, &reals);
    }
    let folded4 = [0x0a00_0101, 0x0a00_0102, 0x0a00_0103];
    let folded6 = [0xfd00_0000 ^ 0x0001_0001, 0xfd00_0000 ^ 0x0001_0002, 0xfd00_0009 ^ 0x0001_0003];
    let mut used = [0; 3];
    for (client, folded) in clients() {
        for port in [1024, 4000, 65535] {
            let sent = director.send(&client.clone().tcp(port, 80, SYN).build());
            let is_v4 = client.clone().build()[12] == 0x08;
            let (names, folds) = if is_v4 { (v4, folded4) } else { (v6, folded6) };
            let members = [0, 1, 2].map(|n| (folds[n], weights[n]));
            let chosen = choose(&members, folded, port);
            assert_eq!(sent.real, chosen.map(|n| names[n].parse().unwrap()), "client {folded:#x} port {port}");
            if let Some(n) = chosen {
                used[n] += 1;
            }
        }
    }
    for (count, weight) in used.iter().zip(weights) {
        assert_eq!(*count > 0, weight > 0, "used {used:?}");
    }
}

/// Slot of ip_vs_sh: the upper 8 bits of a product with the 32-bit golden ratio.
fn sh_slot(address: u32, port: u16) -> usize {
    (address.wrapping_add(u32::from(port)).wrapping_mul(0x61C8_8647) >> 24) as usize
}

/// The ring by its definition: each member as many consecutive slots as it weighs (at least one), and round again.
fn sh_ring(weights: [u32; 3]) -> Vec<usize> {
    let round: Vec<usize> =
        weights.iter().enumerate().flat_map(|(n, weight)| vec![n; (*weight).max(1) as usize]).collect();
    round.into_iter().cycle().take(256).collect()
}

#[test]
fn sh() {
    for weights in [[1, 1, 1], [1, 5, 2], [3, 0, 1]] {
        let ring = sh_ring(weights);
        let usable = |n: usize| (weights[n] > 0).then_some(n);
        check_hash(SH, 0, weights, |_, client, _| usable(ring[sh_slot(client, 0)]));
        check_hash(SH, flag::PORT, weights, |_, client, port| usable(ring[sh_slot(client, port)]));
        let fallback = |client: u32, port: u16| {
            let first = sh_slot(client, port);
            usable(ring[first]).or_else(|| {
                (0..256).find_map(|step| {
                    let offset = (step + first) % 256;
                    usable(ring[(offset + first) & 255])
                })
            })
        };
        check_hash(SH, flag::FALLBACK, weights, |_, client, _| fallback(client, 0));
        check_hash(SH, flag::FALLBACK | flag::PORT, weights, |_, client, port| fallback(client, port));
    }
}

/// SipHash-1-3 of four bytes, from the paper's description: little-endian words, the length in the last byte of the last one.
fn siphash13(message: u32, key: u64) -> u32 {
    fn round(v: &mut [u64; 4]) {
        for (a, b, rotation) in [(0, 1, 13), (2, 3, 16)] {
            v[a] = v[a].wrapping_add(v[b]);
            v[b] = v[b].rotate_left(rotation) ^ v[a];
        }
        v[0] = v[0].rotate_left(32);
        for (a, b, rotation) in [(2, 1, 17), (0, 3, 21)] {
            v[a] = v[a].wrapping_add(v[b]);
            v[b] = v[b].rotate_left(rotation) ^ v[a];
        }
        v[2] = v[2].rotate_left(32);
    }
    let word = |text: &[u8; 8]| u64::from_be_bytes(*text);
    let mut v = [word(b"somepseu") ^ key, word(b"dorandom") ^ key, word(b"lygenera") ^ key, word(b"tedbytes") ^ key];
    let mut last = [0; 8];
    last[..4].copy_from_slice(&message.to_le_bytes());
    last[7] = 4;
    let last = u64::from_le_bytes(last);
    v[3] ^= last;
    round(&mut v);
    v[0] ^= last;
    v[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut v));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

const PRIME: u32 = 4093;
const HASH1: u64 = 2_654_435_761;
const HASH2: u64 = 2_654_446_892;

/// The Maglev table: every member in turn takes `weight / gcd` slots of its own permutation that are still free.
fn mh_table(members: &[(u32, u32); 3]) -> Vec<usize> {
    let gcd =
        (1..=members.iter().map(|m| m.1).max().unwrap()).rev().find(|d| members.iter().all(|m| m.1 % d == 0)).unwrap();
    let largest = members.iter().map(|m| m.1).max().unwrap() / gcd;
    let shift = (u32::BITS - largest.leading_zeros()).saturating_sub(6);
    let mut table = vec![usize::MAX; PRIME as usize];
    let mut permutations: Vec<_> = members
        .iter()
        .map(|(address, _)| {
            let key = address.wrapping_add(80);
            let (offset, skip) = (siphash13(key, HASH1) % PRIME, siphash13(key, HASH2) % (PRIME - 1) + 1);
            (0..PRIME).map(move |n| (u64::from(offset) + u64::from(n) * u64::from(skip)) % u64::from(PRIME))
        })
        .collect();
    let mut free = PRIME;
    while free > 0 {
        for (n, (_, weight)) in members.iter().enumerate() {
            let turns = if *weight == 0 { 0 } else { ((weight / gcd) >> shift).max(1) };
            for _ in 0..turns.min(free) {
                let slot = permutations[n]
                    .find(|slot| table[*slot as usize] == usize::MAX)
                    .expect("a permutation visits every slot");
                table[slot as usize] = n;
                free -= 1;
            }
        }
    }
    table
}

fn mh_slot(offset: u32, client: u32, port: u16) -> usize {
    (siphash13(offset.wrapping_add(u32::from(port)).wrapping_add(client), HASH1) % PRIME) as usize
}

#[test]
fn mh() {
    for weights in [[1, 1, 1], [1, 5, 2], [100, 300, 50], [3, 0, 1]] {
        check_hash(MH, 0, weights, |members, client, _| Some(mh_table(members)[mh_slot(0, client, 0)]));
    }
    check_hash(MH, flag::PORT, [1, 2, 3], |members, client, port| Some(mh_table(members)[mh_slot(0, client, port)]));
}

/// A drained real keeps its slots: the clients of the others stay where they are, its own are refused, or probe on with mh-fallback.
#[test]
fn mh_with_a_drained_real() {
    let members = [(0x0a00_0101, 1), (0x0a00_0102, 1), (0x0a00_0103, 1)];
    let table = mh_table(&members);
    for flags in [0, flag::FALLBACK] {
        let (mut director, key) = director(MH, flags, &[1, 1, 1]);
        let ring: Vec<u16> = table.iter().map(|n| *n as u16).collect();
        director.pool_with_ring(&key, MH, flags, &[(at('a'), 1), (at('b'), 0), (at('c'), 1)], &ring);
        let mut moved = 0;
        for (client, folded) in clients().into_iter().take(60) {
            let sent = director.send(&client.tcp(4000, 80, SYN).build());
            let first = mh_slot(0, folded, 0);
            let chosen = match table[first] {
                1 if flags == 0 => None,
                1 => (0..PRIME).map(|step| table[mh_slot((step + first as u32) % PRIME, folded, 0)]).find(|n| *n != 1),
                n => Some(n),
            };
            assert_eq!(name(sent.real), chosen.map_or('-', |n| ['a', 'b', 'c'][n]));
            moved += usize::from(table[first] == 1);
        }
        assert!(moved > 10, "{moved} clients belong to the drained real");
    }
}
