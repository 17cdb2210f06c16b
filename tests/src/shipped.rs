//! The programs that are shipped, loaded and asked how large they are.

use aya::Ebpf;
use lb_common::abi::names::{PROGRAM_CLOCK, PROGRAM_DECAP, PROGRAM_DIRECTOR, PROGRAM_PASS};
use lb_common::abi::settings::Settings;
use lb_userspace::dataplane::loader::parse_over;
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::objects;
use lb_userspace::dataplane::pins::Geometry;

use crate::director::possible_cpus;
use crate::program::{Chain, Size, deepest, size};

/// A program with its size.
pub struct Shipped {
    /// Its name in its object.
    pub program: &'static str,
    /// Its instructions.
    pub size: Size,
    /// Its deepest chain of calls.
    pub chain: Chain,
}

/// All of them. Tables are as small as can be: sizes do not depend on them.
pub fn all() -> Vec<Shipped> {
    let geometry = Geometry { buckets_v4: 2, buckets_v6: 2, reals: 2, cpus: possible_cpus(), reply_buckets: 2 };
    let memory = Memory::unpinned(&geometry).expect("tables can be made (as root?)");
    let mut director = parse_over(objects::DIRECTOR, &memory, &geometry, &Settings::default(), &[])
        .expect("the director's object is whole");
    let mut realserver = Ebpf::load(objects::REALSERVER).expect("the real server's object loads");
    let mut clock = Ebpf::load(objects::CLOCK).expect("the clock's object loads");
    let shipped = |loaded: &mut Ebpf, object: &[u8], program| Shipped {
        program,
        size: size(loaded, program),
        chain: deepest(object, program),
    };
    vec![
        shipped(&mut director, objects::DIRECTOR, PROGRAM_DIRECTOR),
        shipped(&mut realserver, objects::REALSERVER, PROGRAM_DECAP),
        shipped(&mut realserver, objects::REALSERVER, PROGRAM_PASS),
        shipped(&mut clock, objects::CLOCK, PROGRAM_CLOCK),
    ]
}
