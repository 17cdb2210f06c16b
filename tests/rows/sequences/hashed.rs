//! dh, sh and mh. Clients differ by their ports, 1024 and on, and dh's destinations are 10.0.0.100 and on; the letters are what
//! `scripts/rings.py` has in their slots.

use lb_common::abi::service::scheduler::{DH, MH, SH};

use super::check;

/// 256 slots filled in turn, whatever the weights; the destinations have slots 248 90 187 29 127 225 67 164.
#[test]
fn dh() {
    check(
        DH,
        &[
            ("slots modulo 3", "a1 b1 c1", "0:c 1:a 2:b 3:c 4:b 5:a 6:b 7:c"),
            ("the same again", "a1 b1 c1", "0:ccc 1:aaa 0:c"),
            ("modulo 2", "a1 b1", "0:a 1:a 2:b 3:b 4:b 5:b 6:b 7:a"),
            ("one", "a1", "0:a 1:a 2:a"),
            ("modulo 4", "a1 b1 c1 d1", "0:a 1:c 2:d 3:b 4:d 5:b 6:d 7:a"),
            ("modulo 5", "a1 b1 c1 d1 e1", "0:d 1:a 2:c 3:e 4:c 5:a 6:c 7:e"),
            ("weights do not count", "a9 b1 c5", "0:c 1:a 2:b 3:c"),
            ("weight 0 refuses its own", "a1 b0 c1", "0:c 1:a 2:- 3:c 4:- 6:-"),
            ("and gets them back", "a1 b1 c1", "2:b b=0 2:- 0:c b=1 2:b"),
            ("overloaded: refused", "a1 b1 c1", "c<1 0:c 0:- 3:- 1:a rst:c gone 3:c"),
            ("one goes: modulo 2", "a1 b1 c1", "0:c c! 0:a 1:a 2:b 3:b"),
            ("a new one stands in front: c a b", "a1 b1", "0:a c+1 0:b 1:c 2:a 3:b"),
            ("nobody", "", "0:-"),
            ("load does not count", "a1 b1", "0:aaa est:aaa 0:a"),
            ("udp", "udp a1 b1 c1", "0:c 1:a 2:b"),
        ],
    );
}

/// 256 slots, each server as often as it weighs and once at least. The client has slot 125.
#[test]
fn sh() {
    check(
        SH,
        &[
            ("one client, one server", "a1 b1 c1", "cccc"),
            ("3 1 1", "a3 b1 c1", "aaaa"),
            ("by port", "port a1 b1 c1", "ababcbab"),
            ("by port, 3 1 1", "port a3 b1 c1", "cacabaca"),
            ("by port, 1 5 2", "port a1 b5 c2", "cbbbcabb"),
            ("weight 0 has a slot and refuses it", "port a0 b1 c1", "-b-bcb-b"),
            ("with fallback", "port fallback a0 b1 c1", "cbbbcbcb"),
            ("2 0 1", "port a2 b0 c1", "caca-a-a"),
            ("2 0 1 with fallback", "port fallback a2 b0 c1", "cacaaaaa"),
            ("overloaded: refused", "a1 b1 c1", "c<2 cc-- rst:c gone c-"),
            ("overloaded, with fallback: on to another", "fallback a1 b1 c1", "c<2 ccbb"),
            ("its alternative too", "fallback a1 b1 c1", "c<1 b<1 cbaa"),
            ("all of them: refused", "fallback a1 b1 c1", "a<1 b<1 c<1 cba-"),
            ("another weight", "a1 b1 c1", "c a=3 aa a=1 c"),
            ("nobody", "", "-"),
            ("udp", "udp port a1 b1 c1", "ababcbab"),
        ],
    );
}

/// Maglev over 4093 slots.
#[test]
fn mh() {
    check(
        MH,
        &[
            ("one client, one server", "a1 b1 c1", "cccc"),
            ("1 5 2", "a1 b5 c2", "cccc"),
            ("by port", "port a1 b1 c1", "caacccac"),
            ("by port, 1 5 2", "port a1 b5 c2", "ccbbccbc"),
            ("by port, 100 300 50", "port a100 b300 c50", "cabbcabc"),
            ("two", "port a1 b1", "baaaaaab"),
            ("drained: the others keep theirs, its own are refused", "port a1 b1 c1", "a=0 c--ccc-c"),
            ("drained, with fallback", "port fallback a1 b1 c1", "a=0 cbbccccc"),
            ("drained c", "port a1 b1 c1", "c=0 -aa---a-"),
            ("drained c, with fallback", "port fallback a1 b1 c1", "c=0 baaabaab"),
            ("new with weight 0: no slots", "port a0 b1 c1", "ccccccbc"),
            ("251 slots", "251 port a1 b1 c1", "aacaacca"),
            ("overloaded: refused", "a1 b1 c1", "c<2 cc-- rst:c gone c-"),
            ("all overloaded", "fallback a1", "a<1 a-"),
            ("nobody", "a0 b0", "--"),
            ("udp", "udp port a1 b1 c1", "caacccac"),
        ],
    );
}
