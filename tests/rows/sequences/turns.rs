//! rr and wrr: servers in turn.

use lb_common::abi::service::scheduler::{RR, WRR};

use super::check;

/// The next usable server after the one that was chosen last.
#[test]
fn rr() {
    check(
        RR,
        &[
            ("round", "a1 b1 c1", "abcabc"),
            ("one", "a1", "aaaa"),
            ("weights above 0 do not count", "a9 b1 c3", "abcabc"),
            ("weight 0 is left out", "a1 b0 c1 d0", "acac"),
            ("nobody", "a0 b0", "--"),
            ("the one chosen last is drained and comes back", "a1 b1 c1", "ab b=0 cac b=1 abc"),
            ("the one chosen last goes: on from the one before it", "a1 b1 c1", "ab b! cac"),
            ("the first goes: on from the head", "a1 b1 c1", "a a! bcb"),
            ("another one goes", "a1 b1 c1 d1", "ab a! cdb c! db"),
            ("a new one stands in front", "a1 b1 c1", "ab d+1 cdab"),
            ("an overloaded one is left out", "a1 b1 c1", "b<1 abcaca"),
            ("and is back when its connection is forgotten", "a1 b1 c1", "b<1 abca rst:b c gone abca"),
            ("all overloaded: the cursor stays", "a1 b1", "a<1 b<1 ab-- rst:a gone a-"),
            ("udp", "udp a1 b1", "abab"),
        ],
    );
}

/// step = gcd, top = heaviest - (step - 1). From the cursor on the next with weight >= current; at the end current -= step, from the top
/// again below 1. A change of weights sends the cursor to the head and moves current: above the new top it is the top, else current /
/// step * step + 1 where step is above 1.
#[test]
fn wrr() {
    check(
        WRR,
        &[
            ("4: a; 3: a b; 2: a b c; 1: a b c", "a4 b3 c2", "aababcabc aababcabc"),
            ("step 2, top 3. 3: a; 1: a b", "a4 b2", "aab aab aab"),
            ("step 2, top 5. 5: a; 3: a b; 1: a b", "a6 b4", "aabab aabab"),
            ("equal ones by turns", "a7 b7", "abab"),
            ("weight 0 is left out", "a0 b2 c1", "bbc bbc"),
            ("nobody", "a0 b0", "--"),
            ("added one by one, current is 1: as measured on IPVS", "", "c+5 b+3 a+2 abcccbcabc abcccbcabc"),
            ("5 is above the tops 4 and 3. 3: a; 1: a b", "a5 b1", "a a=4 b=2 aab aab"),
            ("2 with step 3 is 1: a b; 4: a; 1: a b", "a3 b1", "aa a=6 b=3 ab aab"),
            ("one goes: from the head at 1: a c; 2: a; 1: a c", "a2 b1 c1", "aab b! ac aac"),
            ("a heavier one comes: 1: c a b; 3: c; 2: c; 1: c a b", "a1 b1", "a c+3 cab cc cab"),
            ("3: a; 2: a, overloaded; 1: b; then b alone", "a3 b1", "a<2 aabbb"),
            ("back at 1 of 2 connections: 3: a; 1: b", "a3 b1", "a<2 aabb rst:a gone ab"),
            ("all overloaded", "a1 b1", "a<1 b<1 ab-- rst:a gone a-"),
            ("1 in 65537", "a65536 b1", "aaaaaaaa"),
            ("2^31 - 1, overloaded, is no reason to look for long", "a2147483647 b2 c1", "a<1 abbcbbc"),
        ],
    );
}
