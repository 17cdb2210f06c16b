//! Echo requests to a VIP: the director's to answer, or the kernel's.

use std::net::IpAddr;

use lb_lab::Plan;
use lb_lab::plan::{self, CLIENT, CLIENT_MTU, DIRECTOR, Family};

use crate::stage::{self, Stage};

/// Echo requests in a row.
const COUNT: u64 = 4;

/// What one run of ping was answered by.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    director: u64,
    kernel: u64,
}

const BY_DIRECTOR: Answered = Answered { director: COUNT, kernel: 0 };
const BY_KERNEL: Answered = Answered { director: 0, kernel: COUNT };

#[test]
fn echo_vip_is_answered_by_the_director_when_told_so() {
    stage::with("echo-vip", Plan::one_arm(1), |stage| {
        for family in Family::ALL {
            let (vip, other) = (plan::vip(family, 0), plan::vip(family, 1));
            for (answer_echo, expected) in [(false, BY_KERNEL), (true, BY_DIRECTOR), (false, BY_KERNEL)] {
                configure(stage, family, answer_echo);
                let seen = ping(stage, vip, 56, "");
                println!("{} with answer_echo = {answer_echo}: {seen:?}", family.as_str());
                assert_eq!(seen, expected, "{vip}, answer_echo = {answer_echo}");
            }
            configure(stage, family, true);
            let headers = if family == Family::V4 { 28 } else { 48 };
            let most = CLIENT_MTU as usize - headers;
            // Both zeros of a checksum, odd lengths, and the longest. Without 8 bytes for a time, ping knows answers by number only.
            for (size, pattern) in [(0, ""), (1, "00"), (7, "ff"), (17, "a5"), (64, "00"), (64, "ff"), (most, "")] {
                assert_eq!(ping(stage, vip, size, pattern), BY_DIRECTOR, "{vip}, {size} bytes of {pattern:?}");
            }
            // Neither an address without services nor the director's own is a VIP.
            assert_eq!(ping(stage, other, 56, ""), BY_KERNEL, "{other} has no service");
            assert_eq!(ping(stage, stage.address(DIRECTOR, family), 56, ""), BY_KERNEL, "the director's own address");
        }
    });
}

fn configure(stage: &Stage, family: Family, answer_echo: bool) {
    let (_, target) = stage::http(family, 0);
    let reals = stage.reals(family, &[1]);
    stage.apply_and_wait(&format!(
        "[director]\nanswer_echo = {answer_echo}\n[[service]]\naddress = \"{target}\"\n{reals}"
    ));
}

/// Pings an address, all of which has to be answered as it was sent; says who answered.
fn ping(stage: &Stage, to: IpAddr, size: usize, pattern: &str) -> Answered {
    let before = counts(stage, to);
    let (good, bad) =
        if to.is_ipv4() { ("IcmpInEchoReps", "IcmpInCsumErrors") } else { ("Icmp6InEchoReplies", "Icmp6InCsumErrors") };
    let taken = |counter| kernel_count(stage, CLIENT, counter);
    let (good_before, bad_before) = (taken(good), taken(bad));
    let (count, size, address) = (COUNT.to_string(), size.to_string(), to.to_string());
    let mut words =
        vec!["ping", if to.is_ipv4() { "-4" } else { "-6" }, "-n", "-c", &count, "-i", "0.05", "-W", "10", "-s", &size];
    if !pattern.is_empty() {
        words.extend(["-p", pattern]);
    }
    words.push(&address);
    let said = stage.cluster.client().unwrap().run(&words).unwrap();
    assert!(said.contains(&format!("{COUNT} packets transmitted, {COUNT} received, 0% packet loss")), "{said}");
    // ping says so of an answer of other content, and counts it all the same. The checksum is for the client's kernel to see.
    assert!(!said.contains("wrong") && !said.contains("DUP"), "{said}");
    assert_eq!((taken(good) - good_before, taken(bad) - bad_before), (COUNT, 0), "{good}, {bad}: {said}");
    assert!(!said.contains("truncated"), "{said}");
    let answers: Vec<&str> = said.lines().filter(|line| line.contains("bytes from")).collect();
    assert!(answers.iter().all(|line| line.contains("ttl=64") && line.contains(&address)), "{said}");
    let after = counts(stage, to);
    Answered { director: after.director - before.director, kernel: after.kernel - before.kernel }
}

/// What director and its kernel have answered so far.
fn counts(stage: &Stage, to: IpAddr) -> Answered {
    let counter = if to.is_ipv4() { "IcmpOutEchoReps" } else { "Icmp6OutEchoReplies" };
    Answered { director: stage.verdict("echo-answered"), kernel: kernel_count(stage, DIRECTOR, counter) }
}

/// A counter of a host's kernel.
fn kernel_count(stage: &Stage, host: &str, counter: &str) -> u64 {
    // -a since the namespace was made, -z zeros too, -s without writing a history.
    let said = stage.cluster.topology().netns(host).unwrap().run(&["nstat", "-asz", counter]).unwrap();
    let count = said.lines().find_map(|line| line.strip_prefix(counter)?.split_whitespace().next()?.parse().ok());
    count.unwrap_or_else(|| panic!("{said}"))
}
