//! sh and mh from many client addresses: each client's real against tables that are built here from IPVS's rules, by other means
//! than the product's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use lb_lab::Plan;
use lb_lab::plan::{CLIENT, Family, LAN};

use crate::stage::{self, Stage};

/// Addresses that the client gets in each family.
const CLIENTS: u16 = 48;

/// Host order; IPv6 folded by XOR of its words.
fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (0..4).fold(0, |folded, word| folded ^ (bits >> (32 * word)) as u32)
        }
    }
}

/// `hash_32(value, 8)`: the upper 8 bits of the low half of a product in 64 bits.
fn hash_32_8(value: u32) -> usize {
    ((u64::from(value) * 0x61c8_8647) as u32 >> 24) as usize
}

/// SipHash-1-3 over bytes, as the paper has it; the kernel's hsiphash on 64-bit machines is its low half.
fn siphash_1_3(key: [u64; 2], bytes: &[u8]) -> u64 {
    fn round(v: &mut [u64; 4]) {
        for (a, b, c, d, left, right) in [(0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)] {
            v[a] = v[a].wrapping_add(v[b]);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = v[b].rotate_left(left) ^ v[a];
            v[d] = v[d].rotate_left(right) ^ v[c];
            v[a] = v[a].rotate_left(32);
        }
    }
    let mut v: [u64; 4] = *b"somepseudorandomlygeneratedbytes"
        .as_chunks::<8>()
        .0
        .iter()
        .zip([key[0], key[1], key[0], key[1]])
        .map(|(word, key)| u64::from_be_bytes(*word) ^ key)
        .collect::<Vec<_>>()
        .first_chunk()
        .unwrap();
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len() / 8 * 8 + 7, 0);
    padded.push(bytes.len() as u8);
    for word in padded.chunks_exact(8).map(|word| u64::from_le_bytes(*word.first_chunk().unwrap())) {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn hsiphash(key: u64, value: u32) -> u32 {
    siphash_1_3([key; 2], &value.to_le_bytes()) as u32
}

/// A real as the rules see it, in IPVS's order: the one added last comes first.
struct Member {
    name: String,
    address: u32,
    weight: u32,
}

fn members(stage: &Stage, family: Family, weights: &[u32]) -> Vec<Member> {
    let names = stage.cluster.real_names();
    let member = |(name, weight): (&String, &u32)| Member {
        name: name.clone(),
        address: folded(stage.address(name, family)),
        weight: *weight,
    };
    names.iter().zip(weights).map(member).rev().collect()
}

/// `ip_vs_sh_reassign`: the members one after another, each as often as it weighs, over and over.
fn sh_table(members: &[Member]) -> Vec<&str> {
    let round = members.iter().flat_map(|member| vec![member.name.as_str(); member.weight.max(1) as usize]);
    round.cycle().take(256).collect()
}

const M: u32 = 4093;
const KEYS: [u64; 2] = [2_654_435_761, 2_654_446_892];

/// `ip_vs_mh_populate` in the form of Maglev's paper: whole permutations, each member takes its next free place `turns` times.
fn mh_table(members: &[Member]) -> Vec<&str> {
    // Weights here are small and without a common divisor: nothing is divided or shifted.
    assert!(members.iter().all(|member| member.weight < 32) && members.iter().any(|member| member.weight == 1));
    let permutation = |member: &Member| -> Vec<u32> {
        let hash = |key| hsiphash(key, member.address.wrapping_add(80));
        let (offset, skip) = (hash(KEYS[0]) % M, hash(KEYS[1]) % (M - 1) + 1);
        (0..M).map(|step| ((u64::from(offset) + u64::from(step) * u64::from(skip)) % u64::from(M)) as u32).collect()
    };
    let mut queues: Vec<_> = members.iter().map(|member| permutation(member).into_iter()).collect();
    let mut table = vec![""; M as usize];
    let mut free = M;
    while free > 0 {
        for (member, queue) in members.iter().zip(&mut queues) {
            for _ in 0..member.weight.min(free) {
                let place = queue.find(|place| table[*place as usize].is_empty()).unwrap();
                table[place as usize] = &member.name;
                free -= 1;
            }
        }
    }
    table
}

/// Gives the client more addresses and returns them.
fn clients(stage: &Stage, family: Family) -> Vec<IpAddr> {
    let client = stage.cluster.topology().netns(CLIENT).unwrap();
    // Beyond the VIPs and below the router.
    let addresses: Vec<IpAddr> = (0..CLIENTS).map(|n| LAN.address(family, 120 + n as u8)).collect();
    for address in &addresses {
        let prefix = if family == Family::V4 { 24 } else { 64 };
        let mut words = vec!["ip".to_owned(), "address".into(), "add".into(), format!("{address}/{prefix}")];
        words.extend(["dev".into(), "eth0".into()]);
        if family == Family::V6 {
            words.push("nodad".into());
        }
        client.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    addresses
}

/// Asks once from each address, in one call of curl each, and returns who answered.
fn answers(stage: &Stage, target: SocketAddr, clients: &[IpAddr]) -> BTreeMap<IpAddr, String> {
    let namespace = stage.cluster.client().unwrap();
    let url = format!("http://{target}/");
    let ask = |client: &IpAddr| {
        let from = client.to_string();
        let answer = namespace.run(&["curl", "-sg", "--max-time", "10", "--interface", &from, &url]).unwrap();
        (*client, answer.trim().to_owned())
    };
    clients.iter().map(ask).collect()
}

fn follows(scheduler: &str, family: Family, weights: &[u32], expect: impl Fn(&[Member], u32) -> String) {
    stage::with(scheduler, Plan::one_arm(weights.len()), |stage| {
        let (_, target) = stage::http(family, 0);
        let reals = stage.reals(family, weights);
        stage.apply_and_wait(&format!("[[service]]\naddress = \"{target}\"\nscheduler = \"{scheduler}\"\n{reals}"));
        let clients = clients(stage, family);
        let members = members(stage, family, weights);
        let expected: BTreeMap<IpAddr, String> =
            clients.iter().map(|client| (*client, expect(&members, folded(*client)))).collect();
        let first = answers(stage, target, &clients);
        assert_eq!(first, expected, "{scheduler} {weights:?}");
        // The same again, on other ports.
        assert_eq!(answers(stage, target, &clients), expected, "{scheduler} {weights:?}, second time");
        let names: BTreeSet<&String> = first.values().collect();
        assert_eq!(names.len(), weights.len(), "all reals are used: {names:?}");
        let mut line = String::new();
        for name in names {
            let _ = write!(line, " {name} {}", first.values().filter(|answer| *answer == name).count());
        }
        println!("{scheduler} {weights:?} over {}:{line}", family.as_str());
    });
}

fn by_sh(members: &[Member], client: u32) -> String {
    sh_table(members)[hash_32_8(client)].to_owned()
}

fn by_mh(members: &[Member], client: u32) -> String {
    mh_table(members)[(hsiphash(KEYS[0], client) % M) as usize].to_owned()
}

#[test]
fn sh_sends_each_client_where_the_formula_says() {
    follows("sh", Family::V4, &[1, 1, 1], by_sh);
}

#[test]
fn sh_over_ipv6_with_weights_sends_each_client_where_the_formula_says() {
    follows("sh", Family::V6, &[5, 3, 2], by_sh);
}

#[test]
fn mh_sends_each_client_where_the_ring_says() {
    follows("mh", Family::V4, &[1, 1, 1], by_mh);
}

#[test]
fn mh_over_ipv6_with_weights_sends_each_client_where_the_ring_says() {
    follows("mh", Family::V6, &[5, 3, 1], by_mh);
}

/// The tables here are right by themselves: SipHash against std's, whose keys are 0, and every slot filled by weight.
#[test]
fn the_tables_of_this_test_are_sound() {
    use std::hash::Hasher as _;
    for value in [0u32, 1, 0x0a4d_0078, u32::MAX] {
        let mut reference = std::hash::DefaultHasher::new();
        reference.write(&value.to_le_bytes());
        assert_eq!(siphash_1_3([0, 0], &value.to_le_bytes()), reference.finish());
    }
    let member = |n: u32, weight| Member { name: format!("real{n}"), address: 0x0a4d_000a + n, weight };
    let members = [member(3, 1), member(2, 3), member(1, 5)];
    for (table, slots) in [(sh_table(&members), 256.0), (mh_table(&members), f64::from(M))] {
        for member in &members {
            let seen = table.iter().filter(|name| **name == member.name).count() as f64;
            let exact = slots * f64::from(member.weight) / 9.0;
            assert!((seen - exact).abs() <= 9.0, "{}: {seen} slots instead of {exact}", member.name);
        }
    }
}
