//! lc, wlc, sed and nq: the least load. A new connection is inactive until the handshake is complete.

use lb_common::abi::service::scheduler::{LC, NQ, SED, WLC};

use super::check;

/// Least active * 256 + all; the first of equals.
#[test]
fn lc() {
    check(
        LC,
        &[
            ("half-open ones count 1, weights nothing", "a1 b5 c1", "abcabc"),
            ("a 258, b and c 2 each", "a1 b1 c1", "abcabc est:a bcbc"),
            ("258, 260, 260", "a1 b1 c1", "abcabc est:a bcbc est:bc aaabc"),
            ("a closed one gives 256 back", "a1 b1", "ab est:ab fin:a aaaa"),
            ("so does a reset one", "a1 b1", "ab est:ab rst:b bbbb"),
            ("weight 0 takes none", "a0 b1 c0 d1", "bdbd"),
            ("nobody", "a0", "-"),
            ("drained, and back with 1 against 3", "a1 b1", "ab a=0 bb a=1 aaab"),
            ("a new one in front has 0 against 2 and 2", "a1 b1", "abab c+1 cccab"),
            ("one goes", "a1 b1 c1", "abc a! bcbc"),
            ("threshold", "a1 b1", "a<1 abbb"),
            ("from 3 on until below 2", "a1 b1", "a<3/2 ababab bb rst:a gone b rst:a gone aab"),
            ("udp counts 1 each", "udp a1 b1", "abab"),
        ],
    );
}

/// Least overhead / weight; another one wins only when strictly less.
#[test]
fn wlc() {
    check(
        WLC,
        &[
            ("0 0 0: a; 1 0 0: b; 1 1/2 0: c; 1 1/2 1/3: c; 2/3: b; 1 1 2/3: c", "a1 b2 c3", "abccbc abccbc"),
            ("equal", "a1 b1", "abab"),
            ("weight 0 takes none", "a0 b3 c1", "bcbbbcbb"),
            ("a 1/1, b 257/10: until a has 26", "a1 b10", "ab est:b aaaaaaaaaaaaaaaaaaaaaaaaa b"),
            ("nobody", "a0 b0", "--"),
            ("0: a; 0: b; 1/2: a; 1 = 1: a; 3/2: b; 3/2: a; 2 = 2: a; 5/2: b", "a2 b1", "abaabaab"),
            ("2/1 against 2/3, 3/3, ... 6/3: a; then b to 9/3", "a1 b1", "abab b=3 bbbbabbba"),
            ("drained, and back with 1 against 3", "a1 b1", "ab a=0 bb a=1 aaab"),
            ("a new one: 0/2 to 4/2 = 2: c; then a, b, 5/2: c", "a1 b1", "abab c+2 cccccabcc"),
            ("threshold", "a9 b1", "a<2 ababb"),
            ("back with 1 of 2", "a9 b1", "a<2 ababb rst:a gone ab"),
            ("large weights do not overflow", "a2147483647 b2147483646", "abab"),
            ("one goes: a 1/1, c 2/3", "a1 b2 c3", "abcc b! caccca"),
            ("udp", "udp a1 b2", "abbabba"),
        ],
    );
}

/// Least (active + 1) / weight; inactive ones count nothing.
#[test]
fn sed() {
    check(
        SED,
        &[
            ("half-open ones do not count", "a1 b1", "aaaa"),
            ("1/1 against 1/2", "a1 b2", "bbb"),
            ("1/1 = 2/2: the first", "a1 b2", "b est:b aa est:a bb"),
            ("1/3, 2/3, 3/3 = 1", "a1 b3", "b est:b b est:b a est:a b"),
            ("2 against 1, then equal", "a1 b1", "a est:a b est:b a"),
            ("closed: 1 again", "a1 b1", "a est:a b fin:a a"),
            ("reset: 1 again", "a1 b1", "a est:a bb rst:a aa"),
            ("weight 0 takes none", "a0 b1", "bb est:b b"),
            ("nobody", "a0 b0", "--"),
            ("1/2 against 1/5, 1/9", "a2 b1", "aa b=5 bb a=9 aa b=0 a"),
            ("threshold: all connections count", "a5 b1", "a<2 aabb"),
            ("a new one has 1 against 2", "a1", "a est:a b+1 b est:b b"),
            ("1, 1/2, 2/3, then without c 1 = 2/2", "a1 b2 c3", "c est:c b est:b c c! a"),
            ("udp is not seen", "udp a1 b1", "aaaa"),
            ("unless it is asked for", "udp udp-active a1 b1", "abab"),
        ],
    );
}

/// The first one without active connections; else as sed.
#[test]
fn nq() {
    check(
        NQ,
        &[
            ("the first idle one, whatever the weights", "a1 b9", "aaa"),
            ("the next idle one, then 2/1 against 2/9", "a1 b9", "a est:a bb est:b b"),
            ("all busy and equal", "a1 b1 c1", "a est:a b est:b c est:c a"),
            ("one is idle again", "a1 b1 c1", "a est:a b est:b c est:c fin:b b"),
            ("one is reset", "a1 b1", "a est:a b est:b rst:a a"),
            ("an idle one of weight 0 takes none", "a0 b1", "b est:b b"),
            ("nobody", "a0", "-"),
            ("2/1 against 2/3 to 6/3", "a1 b3", "a est:a b est:b b est:b b est:b b est:b b est:b a"),
            ("2/1 = 2/1, then 2/3, 2/9", "a1 b1", "a est:a b est:b b=3 b a=9 a"),
            ("a new one is idle", "a1", "a est:a a b+1 bb"),
            ("threshold", "a1 b1", "a<1 abb"),
            ("the idle one is overloaded", "a1 b1", "b<1 a est:a b a"),
            ("one goes", "a1 b1", "a est:a b a! b"),
            ("udp is not seen", "udp a1 b1", "aaa"),
            ("unless it is asked for", "udp udp-active a1 b1", "abab"),
        ],
    );
}
