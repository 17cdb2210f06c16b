//! Instructions and stack of a program: what the verifier walked, and how deep its frames are.
//!
//! aya hands out the verifier's log only when it refuses a program, so the stack is read from the object: the lowest offset below
//! r10 that each function touches, as the verifier counts it (in steps of 32 bytes a frame).

use std::collections::{BTreeMap, BTreeSet};

use aya::Ebpf;
use aya::programs::Xdp;
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, Relocation, RelocationTarget, SectionKind, SymbolKind,
};

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
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;

/// A chain of calls, with what its frames take of the 512 bytes that the verifier allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Bytes, each frame rounded up to 32 as kernel 6.1 does.
    pub bytes: u32,
    /// The (mangled) name of each function and its frame.
    pub frames: Vec<(String, u32)>,
}

/// A function's place: its section, and the offset there.
type Address = (usize, u64);

struct Function {
    name: String,
    frame: u32,
    calls: BTreeSet<Address>,
}

/// The deepest chain of calls in an object that begins at the function `entry`.
pub fn deepest(object: &[u8], entry: &str) -> Chain {
    let file = object::File::parse(object).expect("an ELF object");
    let mut functions = BTreeMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let section = file.section_by_index(symbol.section_index().expect("a section")).expect("its section");
        let data = section.data().expect("its bytes");
        let range = symbol.address()..symbol.address() + symbol.size();
        let code = &data[range.start as usize..range.end as usize];
        let named = section.relocations().filter(|(place, _)| range.contains(place));
        let mut calls: BTreeSet<_> =
            named.filter_map(|(place, relocation)| target(&file, data, place, &relocation)).collect();
        calls.extend(code.chunks_exact(8).enumerate().filter_map(|(number, instruction)| {
            let ahead = i64::from(constant(instruction)) + 1;
            let is_near = is_call(instruction) && ahead != 0;
            is_near.then(|| (section.index().0, range.start.wrapping_add_signed((number as i64 + ahead) * 8)))
        }));
        let frame = depth(code).max(1).div_ceil(32) * 32;
        let name = symbol.name().expect("a name").to_owned();
        functions.insert((section.index().0, range.start), Function { name, frame, calls });
    }
    let begin = functions.iter().find(|(_, function)| function.name == entry).expect("the entry");
    below(*begin.0, &functions, &mut BTreeMap::new())
}

/// The function that a relocation at `place` names, called or given to a helper as a callback. None: a table.
fn target(file: &object::File<'_>, data: &[u8], place: u64, relocation: &Relocation) -> Option<Address> {
    let RelocationTarget::Symbol(index) = relocation.target() else { return None };
    let symbol = file.symbol_by_index(index).expect("the relocation's symbol");
    let section = symbol.section_index()?;
    if file.section_by_index(section).expect("its section").kind() != SectionKind::Text {
        return None;
    }
    let instruction = &data[place as usize..place as usize + 8];
    // A function without a name of its own is its section's begin and an offset: of instructions in a call, of bytes in an address.
    let offset = match symbol.kind() {
        SymbolKind::Section if is_call(instruction) => ((i64::from(constant(instruction)) + 1) * 8) as u64,
        SymbolKind::Section => constant(instruction) as u64,
        _ => symbol.address(),
    };
    Some((section.0, offset))
}

fn below(at: Address, functions: &BTreeMap<Address, Function>, known: &mut BTreeMap<Address, Chain>) -> Chain {
    if let Some(chain) = known.get(&at) {
        return chain.clone();
    }
    let function = functions.get(&at).expect("calls lead to functions");
    let calls = function.calls.iter().map(|call| below(*call, functions, known));
    let mut deepest = calls.max_by_key(|chain| chain.bytes).unwrap_or_default();
    deepest.bytes += function.frame;
    deepest.frames.insert(0, (function.name.clone(), function.frame));
    known.insert(at, deepest.clone());
    deepest
}

/// A call of a function of the object, not of a helper.
fn is_call(instruction: &[u8]) -> bool {
    instruction[0] == CALL && instruction[1] >> 4 == PSEUDO_CALL
}

fn constant(instruction: &[u8]) -> i32 {
    i32::from_le_bytes([instruction[4], instruction[5], instruction[6], instruction[7]])
}

/// Lowest offset below the frame pointer that is loaded, stored or taken the address of.
fn depth(code: &[u8]) -> u32 {
    let mut lowest = 0i32;
    let mut copied = None;
    for instruction in code.chunks_exact(8) {
        let (opcode, destination, source) = (instruction[0], instruction[1] & 0x0f, instruction[1] >> 4);
        let offset = i32::from(i16::from_le_bytes([instruction[2], instruction[3]]));
        let constant = constant(instruction);
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
