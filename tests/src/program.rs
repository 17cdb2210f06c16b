//! Instructions and stack of a program: what the verifier walked, and how deep its frames are.
//!
//! aya hands out the verifier's log only when it refuses a program, so the stack is read from the object: the lowest offset below
//! r10 that each function touches, as the verifier counts it (in steps of 32 bytes a frame).

use std::collections::BTreeMap;

use aya::Ebpf;
use aya::programs::Xdp;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

/// Instructions of a program that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Instructions that the verifier walked, over all paths.
    pub verified: u32,
    /// Instructions after the verifier's rewriting, in units of 8 bytes.
    pub translated: u32,
    /// Bytes of machine code.
    pub machine: u32,
}

/// Loads a program of an object, if it is not loaded yet, and asks the kernel about it.
pub fn size(object: &mut Ebpf, name: &str) -> Size {
    let program: &mut Xdp = object.program_mut(name).expect("a program").try_into().expect("an XDP program");
    if program.fd().is_err() {
        program.load().expect("the verifier takes it");
    }
    let info = program.info().expect("program information");
    Size {
        verified: info.verified_instruction_count().expect("the verifier's count"),
        translated: info.size_translated().expect("its size") / 8,
        machine: info.size_jitted(),
    }
}

const FRAME_POINTER: u8 = 10;
const CLASS_LDX: u8 = 1;
const CLASS_ST: u8 = 2;
const CLASS_STX: u8 = 3;
const MOV64_REGISTER: u8 = 0xbf;
const ADD64_CONSTANT: u8 = 0x07;

/// Bytes of stack of every function in an object, by name, rounded up as the verifier does.
pub fn stacks(object: &[u8]) -> BTreeMap<String, u32> {
    let file = object::File::parse(object).expect("an ELF object");
    let mut stacks = BTreeMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let section = file.section_by_index(symbol.section_index().expect("a section")).expect("its section");
        let data = section.data().expect("its bytes");
        let code = &data[symbol.address() as usize..(symbol.address() + symbol.size()) as usize];
        stacks.insert(symbol.name().expect("a name").to_owned(), depth(code).max(1).div_ceil(32) * 32);
    }
    stacks
}

/// Lowest offset below the frame pointer that is loaded, stored or taken the address of.
fn depth(code: &[u8]) -> u32 {
    let mut lowest = 0i32;
    let mut copied = None;
    for instruction in code.chunks_exact(8) {
        let (opcode, destination, source) = (instruction[0], instruction[1] & 0x0f, instruction[1] >> 4);
        let offset = i32::from(i16::from_le_bytes([instruction[2], instruction[3]]));
        let constant = i32::from_le_bytes([instruction[4], instruction[5], instruction[6], instruction[7]]);
        let is_access = match opcode & 7 {
            CLASS_LDX => source == FRAME_POINTER,
            CLASS_ST | CLASS_STX => destination == FRAME_POINTER,
            _ => false,
        };
        if is_access {
            lowest = lowest.min(offset);
        }
        // The address of something on the stack: rX = r10; rX += -N.
        if opcode == ADD64_CONSTANT && copied == Some(destination) {
            lowest = lowest.min(constant);
        }
        copied = (opcode == MOV64_REGISTER && source == FRAME_POINTER).then_some(destination);
    }
    lowest.unsigned_abs()
}
