//! fo, ovf and twos.

use lb_common::abi::service::scheduler::{FO, OVF, TWOS};

use super::check;

/// The heaviest; the first of equals.
#[test]
fn fo() {
    check(
        FO,
        &[
            ("the first", "a3 b2 c1", "aaa"),
            ("the last", "a1 b2 c3", "ccc"),
            ("equal: the first", "a2 b2", "aa"),
            ("drained, and back", "a3 b2", "aa a=0 bb a=3 aa"),
            ("nobody", "a0 b0", "--"),
            ("threshold", "a3 b2 c1", "a<2 aabb"),
            ("two thresholds", "a3 b2 c1", "a<1 b<1 abcc"),
            ("back when below", "a3 b2", "a<1 abb rst:a gone ab"),
            ("a heavier one comes", "a3", "aa b+9 bb"),
            ("an equal one comes in front", "a3", "aa b+3 bb"),
            ("the heaviest goes", "a3 b2", "aa a! bb b! -"),
            ("load counts nothing", "a3 b2", "aaa est:aaa aa"),
            ("all overloaded", "a1", "a<1 a-"),
            ("udp", "udp a1 b2", "bb"),
        ],
    );
}

/// The heaviest of those whose active connections do not exceed their weight.
#[test]
fn ovf() {
    check(
        OVF,
        &[
            ("half-open ones do not count", "a3 b2 c1", "aaaaa"),
            ("weight 2 takes three", "a2 b1", "a est:a a est:a a est:a b"),
            ("all beyond", "a1 b1", "a est:a a est:a b est:b b est:b -"),
            ("one ends", "a1 b1", "a est:a a est:a b fin:a a"),
            ("one is reset", "a1 b1", "a est:a a est:a b rst:a a"),
            ("heaviest first, wherever it stands", "a1 b2 c3", "c est:c c est:c c est:c c est:c b"),
            ("equal: the first", "a2 b2", "aa"),
            ("weight 0 takes none", "a0 b1", "bb"),
            ("nobody", "a0", "-"),
            ("2 active of 1, then of 2", "a1 b1", "a est:a a est:a b a=2 aa"),
            ("2 active of 3, then of 1", "a3 b2", "aa est:aa a=1 b"),
            ("threshold", "a3 b1", "a<2 aabb"),
            ("a heavier one comes", "a1", "a b+5 b est:b b"),
            ("the heaviest goes", "a3 b2", "a a! b"),
            ("udp is not seen", "udp a1 b1", "aaaa"),
            ("unless it is asked for", "udp udp-active a1 b1", "aabb-"),
        ],
    );
}

/// Two at random by weight, drawn from 0 to the sum; the second one if its overhead / weight is strictly less.
#[test]
fn twos() {
    check(
        TWOS,
        &[
            ("three", "a1 b1 c1", "cabacbcabacb"),
            ("one", "a1", "aaaa"),
            ("9 to 1", "a9 b1", "aaaaaaabaaaa"),
            ("1 to 2 to 3", "a1 b2 c3", "bcbaccabccbc"),
            ("weight 0 takes none", "a0 b1 c2", "cbcbcccb"),
            ("1 to a million", "a1 b1000000", "bbbbbbbb"),
            ("one is drained", "a1 b1 c1 d1", "adbcda b=0 dacadc"),
            ("another weight", "a1 b1", "aaab a=50 aaaaaa"),
            ("an active one counts 257", "a1 b1", "a est:a aabbaabb"),
            ("a closed one 1", "a1 b1", "a est:a aabb fin:a aabb"),
            ("threshold", "a1 b1 c1", "a<2 cabacbbc"),
            ("all overloaded", "a1 b1", "a<1 b<1 ab--"),
            ("nobody", "a0 b0", "--"),
            ("udp", "udp a1 b1", "aaabbaab"),
        ],
    );
}
