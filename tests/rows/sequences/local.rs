//! lblc and lblcr: a destination stays where it was.

use lb_common::abi::service::scheduler::{LBLC, LBLCR};

use super::check;

/// The destination's server, unless that one has more active connections than weight while another has less than half of its own; then,
/// and for a new destination, as wlc.
#[test]
fn lblc() {
    check(
        LBLC,
        &[
            ("it stays; others go by load", "a1 b1", "0:aaa 1:bbb 0:a"),
            ("a 4, b 3", "a1 b1", "0:aaa 1:bbb 0:a 2:b"),
            ("weight 0 moves it for good", "a1 b1", "0:a a=0 0:bb a=1 0:b"),
            ("removed: moved", "a1 b1", "0:a a! 0:bb"),
            ("2 active of 1, b idle: moved", "a1 b1", "0:aa est:aa 0:bb"),
            ("b busy: it stays", "a1 b1", "0:aa est:aa 1:b est:b 0:a"),
            ("1 active of 1 is not too much", "a1 b1", "0:a est:a 0:a"),
            ("nobody", "a0 b0", "0:--"),
            ("a threshold does not move it, but new ones", "a1 b1", "a<1 0:aaa 1:b"),
            ("wlc: 0 0: a; 1 0: b; 1 1/3: b; 1 2/3: b; 1 = 3/3: a", "a1 b3", "0:a 1:b 2:b 3:b 4:a 3:b"),
            ("a new server gets new destinations", "a1", "0:aa b+9 0:a 1:b"),
            ("an idle one of weight 0 is no reason to move", "a1 b0", "0:aa est:aa 0:a"),
            ("c has the number that a had, not its destinations", "a1 b1", "0:a rst:a gone a! settle c+1 1:c 0:b"),
            ("closed again: it stays", "a1 b1", "0:aa est:aa fin:a 0:a"),
            ("udp: never too much", "udp a1 b1", "0:aaaa 1:bb"),
            ("udp-active: 2 of 1 is", "udp udp-active a1 b1", "0:aabb"),
        ],
    );
}

/// A set for each destination, the one added last first: the least overhead / weight of it, by the same test; else wlc's choice joins.
#[test]
fn lblcr() {
    check(
        LBLCR,
        &[
            ("it stays; others go by load", "a1 b1", "0:aaa 1:bb"),
            ("2 active of 1, b idle: b joins", "a1 b1", "0:aa est:aa 0:bb"),
            ("both busy and equal: the one added last", "a1 b1", "0:aa est:aa 0:bb est:bb 0:b"),
            ("a has 0 again: a, then equal", "a1 b1", "0:aa est:aa 0:b fin:aa gone 0:ab"),
            ("weight 0 is left out", "a1 b1", "0:aa est:aa 0:b b=0 0:a"),
            ("removed: left out", "a1 b1", "0:aa est:aa 0:b b! 0:a"),
            ("a day: a, the most loaded, leaves; b keeps it", "a1 b1", "0:aa est:aa 0:b day 0:b fin:aa gone 0:b"),
            ("c has the number that a had, not its set", "a1 b1", "0:a rst:a gone a! settle c+1 1:c 0:b"),
            ("a day does not take the only one", "a1 b1", "0:a day 0:a"),
            ("overloaded: b joins", "a1 b1", "a<1 0:abb"),
            ("nobody", "a0", "0:-"),
            ("both busy, c idle", "a1 b1 c1", "0:aa est:aa 0:bb est:bb 0:c"),
            ("342 against 514: back to a, which is in the set", "a3 b1", "0:aaaa est:aaaa 0:b est:b 0:b est:b 0:a"),
            ("drained and back: equal, then 2 against 1", "a1 b1", "0:a a=0 0:b a=1 0:ba"),
            ("another destination has its own set", "a1 b1", "0:aa est:aa 0:b 1:b 2:b"),
            ("udp: never too much", "udp a1 b1", "0:aaa 1:b"),
        ],
    );
}
