//! Where we do on purpose what the peer does not. docs/reference/peer-differences.md has the same list in words, and a test holds the two
//! together. A case that is listed here and does not differ in just these fields fails.

/// One decision, and the recorded cases that show it.
pub(crate) struct Difference {
    /// Suites, and the numbers of their cases.
    pub(crate) cases: &'static [(&'static str, &'static [u32])],
    /// Our name for what becomes of the frames.
    pub(crate) ours: &'static str,
    /// Fields of the comparison that are not the same.
    pub(crate) fields: &'static [&'static str],
    /// What follows "because".
    pub(crate) reason: &'static str,
}

const VERDICT: &[&str] = &["verdict"];

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        cases: &[("base_gue", &[10]), ("base_ipip", &[12])],
        ours: "tunnel",
        fields: VERDICT,
        reason: "the ports are found behind IP options, too, as IPVS finds them",
    },
    Difference {
        cases: &[("base_gue", &[12]), ("base_ipip", &[14])],
        ours: "not-tcp-or-udp",
        fields: VERDICT,
        reason: "fragments are balanced, and this one is of a protocol (122) that no service has: the kernel's, as whole packets of it are",
    },
    Difference {
        cases: &[("base_gue", &[35, 36])],
        ours: "no-real",
        fields: VERDICT,
        reason: "the kernel refuses what no real can take, so the client hears at once",
    },
    Difference {
        cases: &[("decap_host_xdp_gue", &[4, 5]), ("decap_host_xdp_ipip", &[3, 4])],
        ours: "not ours",
        fields: VERDICT,
        reason: "a fragment outside any tunnel is the real server's own traffic, which its kernel puts together",
    },
    Difference {
        cases: &[("icmp_too_big", &[1])],
        ours: "too-big",
        fields: VERDICT,
        reason: "the packet allows fragments, and RFC 792 has the message for those that do not",
    },
    Difference {
        cases: &[("base_gue", &[8])],
        ours: "tunnel",
        fields: &["UDP checksum"],
        reason: "the peer's checksum around this ICMP error does not add up, and ours does",
    },
    Difference {
        cases: &[("base_gue", &[24, 28]), ("base_ipip", &[26, 30])],
        ours: "tunnel",
        fields: &["destination", "ethernet", "length", "source", "version", "way of the flow"],
        reason: "QUIC connection ids are not read yet: a flow stays where its addresses and ports led it",
    },
    Difference {
        cases: &[("base_gue", &[25, 27, 29, 30, 33, 34]), ("base_ipip", &[27, 29, 31, 32, 34, 35])],
        ours: "tunnel",
        fields: &["destination", "ethernet", "length", "source", "version"],
        reason: "QUIC connection ids are not read yet: only the service's own reals are chosen from",
    },
];

/// The difference that lists a case.
pub(crate) fn listed(suite: &str, number: u32) -> Option<&'static Difference> {
    let names = |difference: &&Difference| {
        difference.cases.iter().any(|(name, numbers)| *name == suite && numbers.contains(&number))
    };
    let mut all = DIFFERENCES.iter().filter(names);
    let first = all.next();
    assert!(all.next().is_none(), "{suite} {number} is listed twice");
    first
}
