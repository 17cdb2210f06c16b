//! The cases: which program, which packet, how many flows.

use lb_common::abi::real::Real;
use lb_common::abi::service::scheduler::{MH, RR};
use lb_tests::director::{GRE, GUE, direct, full_nat, nat, through, tunnel};
use lb_tests::packet::{ACK, Packet, SYN};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Kernel maps of a usual balancer.
    Baseline,
    /// The director, every flow known.
    Known,
    /// The director, no flow known: the tables are emptied before each repetition.
    New,
}

/// A case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) is_v6: bool,
    pub(crate) flows: u32,
    pub(crate) subject: Subject,
    /// Name of its program, less the family.
    program: &'static str,
    /// Scheduler of the service.
    pub(crate) scheduler: u8,
    /// Number of its reals.
    pub(crate) count: u32,
    /// UDP instead of TCP.
    is_udp: bool,
    /// Answers of the reals instead of packets of the clients.
    is_answer: bool,
    /// To an address that is no VIP.
    is_foreign: bool,
    /// Packets in the middle of connections that nobody knows.
    is_unknown: bool,
    /// Connections that the tables have room for at a load of one half, if not for all flows.
    room: Option<u32>,
}

/// Name of the case of [`opening`].
pub(crate) const OPEN: &str = "xvs-open";
/// Flow counts that every hit is measured with: the first fits in L1, the second in L2, the third in nothing.
const FLOWS: [u32; 3] = [1, 8192, MILLION];
/// Those of the rows that the targets are about.
const MORE_FLOWS: [u32; 4] = [1, 8192, MILLION, 8 * MILLION];
/// Connections that a flood's tables have room for.
const FLOOD_ROOM: u32 = 1 << 16;
/// 2 to the 20th.
pub(super) const MILLION: u32 = 1 << 20;

impl Case {
    const fn new(
        name: &'static str,
        method: &'static str,
        program: &'static str,
        subject: Subject,
        flows: u32,
    ) -> Self {
        let scheduler = RR;
        Self {
            name,
            method,
            is_v6: false,
            flows,
            subject,
            program,
            scheduler,
            // So that not all packets go to one line of the tables.
            count: 16,
            is_udp: false,
            is_answer: false,
            is_foreign: false,
            is_unknown: false,
            room: None,
        }
    }

    pub(crate) const fn family(&self) -> &'static str {
        if self.is_v6 { "ipv6" } else { "ipv4" }
    }

    pub(crate) fn title(&self) -> String {
        format!("{} {} {} {}", self.name, self.method, self.family(), self.flows)
    }

    /// A program of this family.
    pub(crate) fn program_named(&self, name: &str) -> String {
        format!("{name}_{}", if self.is_v6 { "v6" } else { "v4" })
    }

    pub(crate) fn program(&self) -> String {
        self.program_named(self.program)
    }

    /// Reads a table as large as the director's, and that is all.
    pub(crate) fn is_floor(&self) -> bool {
        self.program == "floor"
    }

    /// Puts new flows into a table.
    pub(crate) fn is_insert(&self) -> bool {
        self.program == "insert"
    }

    /// The director with connections that are there before anything is timed.
    pub(crate) fn has_connections(&self) -> bool {
        self.subject == Subject::Known && !self.is_foreign && !self.is_unknown
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.method != "direct" && self.method != "-" && !self.is_translated()
    }

    pub(crate) fn is_translated(&self) -> bool {
        matches!(self.method, "nat" | "fullnat")
    }

    /// The program that its connections begin by.
    pub(crate) fn filler(&self) -> String {
        if self.is_answer { self.program_named("xvs_learn") } else { self.program() }
    }

    /// The wrapper around nothing that it is compared with.
    pub(crate) fn harness(&self) -> String {
        self.program_named(match (self.is_translated(), self.is_answer) {
            (false, _) => "empty",
            (true, false) => "empty_to_real",
            (true, true) => "empty_answer",
        })
    }

    /// Right shift from jiffies to ticks: about a second; longer than the benchmark where no packet is to be the first of its second.
    pub(crate) fn tick_shift(&self) -> u32 {
        if self.name.ends_with("-steady") { 20 } else { 8 }
    }

    /// Cases that are measured in turns, and whose tables are in memory together: a case and all it is compared with.
    pub(crate) fn group(&self) -> u8 {
        match (self.flows, self.is_v6, self.method) {
            (..MILLION, ..) => 0,
            (MILLION, false, _) => 1,
            (MILLION, true, _) => 2,
            (_, false, "ipip") => 3,
            (_, false, _) => 4,
            (_, true, _) => 5,
        }
    }

    /// Connections that the tables have room for at a load of one half.
    pub(crate) fn room(&self) -> u32 {
        match self.subject {
            // Baselines have tables of their own.
            Subject::Baseline => 1,
            _ => self.room.unwrap_or(self.flows),
        }
    }

    /// Places of the kernel's LRU_HASH: twice as many as connections, as in our tables.
    pub(crate) fn lru_places(&self) -> u32 {
        if self.subject == Subject::Baseline { (self.room.unwrap_or(self.flows) * 2).max(16384) } else { 2 }
    }

    /// Connections begin in the tables that it leaves behind.
    pub(crate) fn is_flood(&self) -> bool {
        self.room.is_some()
    }

    /// Packets in the middle of connections that nobody knows.
    pub(crate) const fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    pub(crate) const fn is_answer(&self) -> bool {
        self.is_answer
    }

    /// Text of its service.
    pub(crate) fn service(&self) -> &'static str {
        match (self.is_v6, self.is_udp) {
            (false, false) => "tcp://10.0.0.100:80",
            (false, true) => "udp://10.0.0.100:80",
            (true, false) => "tcp://[fd00::100]:80",
            (true, true) => "udp://[fd00::100]:80",
        }
    }

    /// Its reals.
    pub(crate) fn reals(&self) -> Vec<Real> {
        let outer_v6 = self.method == "ip6ip6" || (!self.is_tunnel() && self.is_v6);
        (1..=self.count)
            .map(|place| {
                // The number makes MACs, which need not differ.
                let (host, number) = (place + 256, place as u8);
                let at = if outer_v6 {
                    format!("[fd00::1:{place:x}]:80")
                } else {
                    format!("10.0.{}.{}:80", host >> 8, host & 255)
                };
                let real = match (self.is_tunnel(), outer_v6) {
                    (false, _) => direct(&at, number),
                    (true, false) => tunnel(&at, number, "172.16.0.1"),
                    (true, true) => tunnel(&at, number, "fd16::1"),
                };
                // Another port than the service's.
                let other_port = || at.replace(":80", ":8080");
                match self.method {
                    "nat" => nat(&other_port(), number),
                    "fullnat" => full_nat(&other_port(), number, 0),
                    "gue" => through(real, GUE, false),
                    "gue-checksum" => through(real, GUE, true),
                    "gre" => through(real, GRE, false),
                    _ => real,
                }
            })
            .collect()
    }

    /// Its packet: a minimal frame, 64 bytes of IPv4, 74 of IPv6. The wrapper writes client address and port.
    pub(crate) fn frame(&self, flags: u8) -> Vec<u8> {
        let (vip, vip6) = if self.is_foreign { ("10.0.0.101", "fd00::101") } else { ("10.0.0.100", "fd00::100") };
        let packet = if self.is_v6 { Packet::v6("2001:db8::1", vip6) } else { Packet::v4("10.8.0.1", vip) };
        let packet = if self.is_udp { packet.udp(0x4000, 80).payload(&[0; 12]) } else { packet.tcp(0x4000, 80, flags) };
        let mut frame = packet.build();
        frame.resize(if self.is_v6 { 74 } else { 64 }, 0);
        frame
    }

    /// Its packet while it is measured.
    pub(crate) fn measured_frame(&self) -> Vec<u8> {
        self.frame(if self.subject == Subject::New { SYN } else { ACK })
    }
}

/// New connections of a service with a thousand reals.
pub(crate) fn opening() -> Case {
    Case { count: 1000, ..Case::new(OPEN, "direct", "xvs", Subject::New, 8192) }
}

/// All cases, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    use Subject::{Baseline, Known, New};
    let mut cases = Vec::new();
    cases.extend(FLOWS.map(|flows| Case::new("baseline-mac-swap", "-", "mac_swap", Baseline, flows)));
    cases.extend(MORE_FLOWS.map(|flows| Case::new("baseline-floor", "-", "floor", Baseline, flows)));
    cases.extend(FLOWS.map(|flows| Case::new("baseline-lru", "direct", "lru", Baseline, flows)));
    for (method, program, is_v6) in
        [("direct", "usual", false), ("ipip", "usual_ipip", false), ("direct", "usual", true)]
    {
        cases.extend(
            MORE_FLOWS.map(|flows| Case { is_v6, ..Case::new("baseline-usual", method, program, Baseline, flows) }),
        );
    }
    let insert = || Case::new("baseline-lru-insert", "-", "insert", Baseline, MILLION);
    cases.extend([insert(), Case { name: "baseline-lru-flood", room: Some(FLOOD_ROOM), ..insert() }]);
    for (method, is_v6) in [("direct", false), ("ipip", false), ("direct", true)] {
        cases.extend(MORE_FLOWS.map(|flows| Case { is_v6, ..Case::new("xvs-tcp", method, "xvs", Known, flows) }));
    }
    for (method, is_v6) in [("gue", false), ("gue-checksum", false), ("gre", false), ("ip6ip6", true)] {
        cases.extend(FLOWS.map(|flows| Case { is_v6, ..Case::new("xvs-tcp", method, "xvs", Known, flows) }));
    }
    for is_v6 in [false, true] {
        for method in ["nat", "fullnat"] {
            for (name, program, is_answer) in
                [("xvs-tcp", "xvs_to_real", false), ("xvs-tcp-answer", "xvs_answer", true)]
            {
                cases.extend(FLOWS.map(|flows| Case {
                    is_v6,
                    is_answer,
                    ..Case::new(name, method, program, Known, flows)
                }));
            }
        }
    }
    for (name, method, program, is_answer) in [
        ("xvs-tcp-steady", "direct", "xvs", false),
        ("xvs-tcp-steady", "nat", "xvs_to_real", false),
        ("xvs-answer-steady", "nat", "xvs_answer", true),
        ("xvs-tcp-steady", "fullnat", "xvs_to_real", false),
        ("xvs-answer-steady", "fullnat", "xvs_answer", true),
    ] {
        cases.push(Case { is_answer, ..Case::new(name, method, program, Known, MILLION) });
    }
    cases.extend(FLOWS.map(|flows| Case { is_udp: true, ..Case::new("xvs-udp", "direct", "xvs", Known, flows) }));
    for (name, scheduler) in [("xvs-new-rr", RR), ("xvs-new-mh", MH)] {
        cases.push(Case { scheduler, ..Case::new(name, "direct", "xvs", New, 8192) });
        cases.push(Case { scheduler, ..Case::new(name, "direct", "xvs", New, MILLION) });
    }
    let flood = Case::new("xvs-flood", "direct", "xvs", New, MILLION);
    cases.push(Case { room: Some(FLOOD_ROOM), scheduler: MH, ..flood });
    for flows in [1, MILLION] {
        cases.push(Case { is_unknown: true, ..Case::new("xvs-miss", "-", "xvs", Known, flows) });
    }
    cases.push(Case { is_foreign: true, ..Case::new("xvs-no-service", "-", "xvs", Known, 1) });
    cases.push(Case { is_foreign: true, ..Case::new("xvs-no-service", "-", "xvs", Known, 8192) });
    cases.push(Case { is_foreign: true, is_v6: true, ..Case::new("xvs-no-service", "-", "xvs", Known, 1) });
    cases
}
