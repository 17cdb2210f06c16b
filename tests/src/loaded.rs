//! The director's program, loaded over tables: handed on from one director under test to the next, with its tables cleared. The verifier
//! walks half a million instructions each time that it is loaded, which is two seconds here and twenty in an emulated guest.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use aya::Ebpf;
use aya::programs::Xdp;
use lb_common::abi::names::PROGRAM_DIRECTOR;
use lb_common::abi::settings::Settings;
use lb_common::abi::tables::Table;
use lb_userspace::dataplane::loader::parse_over;
use lb_userspace::dataplane::mapped::Mapped;
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::objects;
use lb_userspace::dataplane::pins::Geometry;

/// Those that nobody uses at the moment.
static IDLE: Mutex<Vec<Parts>> = Mutex::new(Vec::new());

struct Parts {
    object: Ebpf,
    memory: Memory,
    geometry: Geometry,
    /// What is part of the program: the loader writes the constants that come from the settings into it.
    shift: u32,
}

/// A loaded program that goes back among the idle ones when it is dropped.
pub(crate) struct Loaded(Option<Parts>);

impl Loaded {
    /// The program over empty tables.
    pub(crate) fn take(geometry: &Geometry, settings: &Settings) -> Self {
        let mut idle = IDLE.lock().expect("nobody panics while it is held");
        let fits = |parts: &Parts| parts.geometry == *geometry && parts.shift == settings.tick_shift;
        let known = idle.iter().position(fits).map(|at| idle.swap_remove(at));
        drop(idle);
        match known {
            Some(parts) => {
                parts.clear();
                Self(Some(parts))
            }
            None => Self(Some(Parts::load(geometry, settings))),
        }
    }

    /// Its tables.
    pub(crate) fn memory(&self) -> &Memory {
        &self.parts().memory
    }

    /// One of them, mapped.
    pub(crate) fn mapped(&self, table: Table) -> Mapped {
        let parts = self.parts();
        Mapped::of(parts.memory.map(table), parts.geometry.layout(table)).expect("a table can be mapped")
    }

    /// The object that it is from, to read.
    pub(crate) fn objects(&self) -> &Ebpf {
        &self.parts().object
    }

    /// The object that it is from.
    pub(crate) fn object(&mut self) -> &mut Ebpf {
        &mut self.0.as_mut().expect("there until it is dropped").object
    }

    fn parts(&self) -> &Parts {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let (Some(parts), Ok(mut idle)) = (self.0.take(), IDLE.lock()) {
            idle.push(parts);
        }
    }
}

impl Parts {
    fn load(geometry: &Geometry, settings: &Settings) -> Self {
        let memory = Memory::unpinned(geometry).expect("tables can be made (as root?)");
        let mut object =
            parse_over(objects::DIRECTOR, &memory, geometry, settings, &[]).expect("the director's object is whole");
        let program: &mut Xdp = object.program_mut(PROGRAM_DIRECTOR).expect("a program").try_into().expect("for XDP");
        program.load().expect("the verifier takes the director");
        Self { object, memory, geometry: *geometry, shift: settings.tick_shift }
    }

    /// Every table as it was made: zeros.
    fn clear(&self) {
        for table in Table::ALL {
            let mapped =
                Mapped::of(self.memory.map(table), self.geometry.layout(table)).expect("a table can be mapped");
            mapped.parts().flatten().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }
}
