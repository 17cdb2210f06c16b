//! Real servers and their connection counts.
#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use lb_common::abi::connection::Meta;
use lb_common::abi::real::{Capacity, Load, Real, disposition, family, method, option};
use lb_common::abi::tables::{self, placeholder::of_table};
use lb_common::wire::readdress::Corrections;
use lb_common::wire::tunnel::Ends;
use lb_ebpf::word;

use super::{Table, settings};

type Reals = Table<Real, { of_table(tables::Table::Reals) }>;
type Loads = Table<u64, { of_table(tables::Table::Loads) }>;
type Capacities = Table<Capacity, { of_table(tables::Table::Capacities) }>;

/// A real that a packet goes to, looked up once.
#[derive(Clone, Copy)]
pub(crate) struct Chosen {
    /// Its number, masked.
    pub(crate) number: u64,
    /// Its value.
    pub(crate) entry: Entry,
    /// [`Entry::way`], as it was then.
    pub(crate) way: Way,
}

impl Chosen {
    /// The real with this number.
    #[inline(always)]
    pub(crate) fn of(number: u32) -> Self {
        Self::masked(u64::from(number))
    }

    /// The real of a connection.
    #[inline(always)]
    pub(crate) fn of_connection(meta: Meta) -> Self {
        Self::masked(meta.real_and_more())
    }

    #[inline(always)]
    fn masked(number: u64) -> Self {
        let number = number & settings::real_mask();
        let entry = Entry(Reals::at(number));
        Self { number, entry, way: entry.way() }
    }
}

/// A real's value in the table. User space may rewrite its words while we read: each is loaded once.
#[derive(Clone, Copy)]
pub(crate) struct Entry(*const Real);

impl Entry {
    /// The first eight bytes of the Ethernet header: destination MAC, begin of the source MAC.
    #[inline(always)]
    pub(crate) fn ethernet(self) -> u64 {
        self.word(0)
    }

    /// What decides about a packet's way.
    #[inline(always)]
    pub(crate) fn way(self) -> Way {
        Way(self.word(1))
    }

    /// Egress interface.
    #[inline(always)]
    pub(crate) fn ifindex(self) -> u32 {
        self.word(2) as u32
    }

    /// Word `at` of the value.
    #[inline(always)]
    fn word(self, at: usize) -> u64 {
        // SAFETY: callers name one of the eight aligned words of a value of the table.
        unsafe { word::load(self.0.cast::<u64>().add(at)) }
    }

    /// UDP port of the real's end of a GUE tunnel.
    #[inline(always)]
    pub(crate) fn tunnel_port(self) -> u16 {
        (self.word(7) >> 16) as u16
    }

    /// Its address, as in the packet; IPv4 in the lower half of the first word.
    #[inline(always)]
    pub(crate) fn address(self) -> [u64; 2] {
        [self.word(5), self.word(6)]
    }

    /// Port, family and options in one word.
    #[inline(always)]
    pub(crate) fn end(self) -> End {
        End(self.word(7))
    }

    /// Bits of a tunnel's outer source that vary, raw.
    #[inline(always)]
    fn vary(self) -> u32 {
        (self.word(2) >> 32) as u32
    }

    /// NAT: what becomes of the checksums of its service's packets.
    #[inline(always)]
    pub(crate) fn corrections(self) -> Corrections {
        Corrections((self.word(2) >> 32) as u32)
    }

    /// The ends of an IPv4 tunnel.
    #[inline(always)]
    pub(crate) fn ends_v4(self) -> Ends<1> {
        Ends { source: [self.word(3) as u32], destination: [self.word(5) as u32], vary: self.vary() }
    }

    /// The ends of an IPv6 tunnel.
    #[inline(always)]
    pub(crate) fn ends_v6(self) -> Ends<4> {
        let words = |at: usize| {
            let (first, second) = (self.word(at), self.word(at + 1));
            [first as u32, (first >> 32) as u32, second as u32, (second >> 32) as u32]
        };
        Ends { source: words(3), destination: words(5), vary: self.vary() }
    }
}

/// What makes a real's end of a connection besides its address.
#[derive(Clone, Copy)]
pub(crate) struct End(u64);

impl End {
    /// Its port, raw; 0: the one that the client asks for.
    #[inline(always)]
    pub(crate) fn port(self) -> u16 {
        ((self.0 >> 32) as u16).to_be()
    }

    /// Its address is an IPv6 one.
    #[inline(always)]
    pub(crate) fn is_v6(self) -> bool {
        (self.0 >> 48) as u8 == family::V6
    }

    /// [`lb_common::abi::real::option`].
    #[inline(always)]
    pub(crate) fn options(self) -> u8 {
        (self.0 >> 56) as u8
    }
}

/// The rest of the source MAC in the low half, MTU, method and disposition above: one word, so that they belong together.
#[derive(Clone, Copy)]
pub(crate) struct Way(pub(crate) u64);

impl Way {
    /// Largest IP packet.
    #[inline(always)]
    pub(crate) fn mtu(self) -> u32 {
        (self.0 >> 32) as u32 & 0xffff
    }

    /// Largest IP packet of a real that is forwarded to by `method`; more than [`u16::MAX`] of any other. One number for three questions.
    #[inline(always)]
    pub(crate) fn mtu_by(self, method: u8) -> u64 {
        (self.0 >> 32).wrapping_sub(u64::from(disposition::FORWARD) << 24 | u64::from(method) << 16)
    }

    /// By direct routing: what nearly all methods are compared with, by a mask alone.
    #[inline(always)]
    pub(crate) fn is_direct(self) -> bool {
        const { assert!(method::DIRECT == 0) };
        self.0 & 0xff << 48 == 0
    }

    /// `lb_common::abi::real::method`.
    #[inline(always)]
    pub(crate) fn method(self) -> u8 {
        (self.0 >> 48) as u8
    }

    /// `lb_common::abi::real::disposition`.
    #[inline(always)]
    pub(crate) fn disposition(self) -> u8 {
        (self.0 >> 56) as u8
    }
}

/// Connections of a real now.
#[inline(always)]
pub(crate) fn load(real: u32) -> Load {
    // SAFETY: an aligned word of the table.
    Load(unsafe { word::load(Loads::at(u64::from(real) & settings::real_mask())) })
}

/// Changes a real's connection counts by a sum of [`Load::unit`]s that does not change how many there are.
#[inline(always)]
pub(crate) fn add_load(real: u32, change: u64) {
    // SAFETY: an aligned word of the table.
    unsafe { word::add(Loads::at(u64::from(real) & settings::real_mask()), change) };
}

/// Counts a new connection, by its [`Load::unit`].
#[inline(always)]
pub(crate) fn begin_load(real: u32, unit: u64) {
    let number = u64::from(real) & settings::real_mask();
    // SAFETY: an aligned word of the table.
    let load = Load(unsafe { word::fetch_add(Loads::at(number), unit) }.wrapping_add(unit));
    if is_limited(number) && !load.is_overloaded() && capacity(real).is_reached(load.total()) {
        // SAFETY: as above.
        unsafe { word::set_bits(Loads::at(number), Load::OVERLOADED) };
    }
}

/// Takes a connection out of the counts.
#[inline(always)]
pub(crate) fn end_load(real: u32, unit: u64) {
    let number = u64::from(real) & settings::real_mask();
    // SAFETY: an aligned word of the table.
    let load = Load(unsafe { word::fetch_add(Loads::at(number), 0u64.wrapping_sub(unit)) }.wrapping_sub(unit));
    if load.is_overloaded() && capacity(real).is_relieved(load.total()) {
        // SAFETY: as above.
        unsafe { word::keep_bits(Loads::at(number), !Load::OVERLOADED) };
    }
}

/// The real has an upper threshold.
#[inline(always)]
fn is_limited(number: u64) -> bool {
    Entry(Reals::at(number)).end().options() & option::LIMITED != 0
}

/// Weight and thresholds.
#[inline(always)]
pub(crate) fn capacity(real: u32) -> Capacity {
    let value = Capacities::at(u64::from(real) & settings::real_mask()).cast::<u64>();
    // SAFETY: two aligned words of a value of the table.
    let (first, second) = unsafe { (word::load(value), word::load(value.add(1))) };
    Capacity {
        weight: first as u32,
        upper: (first >> 32) as u32,
        lower: second as u32,
        last_weight: (second >> 32) as u32,
    }
}

/// Number of the service that a real belongs to.
#[inline(always)]
pub(crate) fn service(real: u32) -> u32 {
    Entry(Reals::at(u64::from(real) & settings::real_mask())).word(7) as u32 & 0xffff
}
