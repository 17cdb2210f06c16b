//! The generator from user space: which CPUs send what, for how many frames.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, maps::Map};
use lb_lab::netns::enter_fd;

use super::frame::{Stream, Words};
use super::lab::Lab;
use super::programs;
use super::shape::FRAME;
use super::shape::generator::{BEGUN, ENDED, FRAMES, SENT, WORDS};
use crate::machine;

/// Frames that the kernel makes before it lets them go, at full speed: as many as a driver takes in one poll.
const BATCH: u32 = 64;
/// The same when paced: what is due goes soon.
const PACED_BATCH: u32 = 8;

/// Full speed, or as the streams' intervals say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as it can.
    Full,
    /// By the clock.
    Paced,
    /// As fast as it can, two streams in turns.
    InTurns,
}

/// What one CPU did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) cpu: usize,
    /// Frames.
    pub(crate) frames: u64,
    /// Seconds from the first to the last, everything included that the CPU did meanwhile: director and real, too.
    pub(crate) seconds: f64,
    /// Nanoseconds of a look, by the kernel's count, whether a frame was due or not.
    pub(crate) look: f64,
}

/// The generator's programs, and what each CPU sends.
pub(crate) struct Generator {
    object: Ebpf,
    namespace: std::fs::File,
}

impl Generator {
    /// Loads them.
    pub(crate) fn new(lab: &Lab) -> anyhow::Result<Self> {
        let mut object = programs::object()?;
        for pace in [Pace::Full, Pace::Paced, Pace::InTurns] {
            programs::load(&mut object, pace.program())?;
        }
        Ok(Self { object, namespace: lab.generator.open()? })
    }

    /// Sends so many frames of each stream at once, by the CPU that stands beside it. Paced ones are those that came to be due while the
    /// kernel looked so often.
    pub(crate) fn send(&mut self, streams: &[(usize, Stream)], pace: Pace, frames: u32) -> anyhow::Result<Vec<Sent>> {
        let words = self.all(streams)?;
        let cpus: Vec<_> = streams.iter().map(|(cpu, _)| *cpu).collect();
        self.run(&cpus, words, pace, frames)
    }

    /// Sends frames of two streams in turns, so many in all; nanoseconds of one.
    pub(crate) fn send_in_turns(&mut self, cpu: usize, streams: [Stream; 2], frames: u32) -> anyhow::Result<f64> {
        let [first, second] = streams.map(|stream| self.all(&[(cpu, stream)]));
        self.set(1, second?, frames)?;
        let sent = self.run(&[cpu], first?, Pace::InTurns, frames)?[0];
        Ok(sent.seconds * 1e9 / f64::from(frames))
    }

    /// Each CPU's words.
    fn all(&self, streams: &[(usize, Stream)]) -> anyhow::Result<Vec<Words>> {
        let mut words = vec![[0; WORDS]; self.words()?.len()];
        for (cpu, stream) in streams {
            *words.get_mut(*cpu).context("no such CPU")? = stream.words();
        }
        Ok(words)
    }

    /// Goes on with what a CPU has sent before.
    pub(crate) fn go_on(&mut self, cpu: usize, frames: u32) -> anyhow::Result<Sent> {
        let mut words = self.words()?.to_vec();
        words[cpu][SENT] = 0;
        Ok(self.run(&[cpu], words, Pace::Full, frames)?[0])
    }

    fn run(&mut self, cpus: &[usize], words: Vec<Words>, pace: Pace, frames: u32) -> anyhow::Result<Vec<Sent>> {
        self.set(0, words, frames)?;
        let begun = Instant::now();
        let program: &Xdp = self.object.program(pace.program()).context("program")?.try_into()?;
        let (barrier, namespace) = (Barrier::new(cpus.len()), &self.namespace);
        let looks: Vec<anyhow::Result<f64>> = thread::scope(|scope| {
            let run = |cpu: usize| {
                let barrier = &barrier;
                scope.spawn(move || {
                    machine::go_first();
                    let ready = machine::stay_on(cpu).and_then(|()| Ok(enter_fd(namespace)?));
                    barrier.wait();
                    ready.and_then(|()| live(program, pace, frames))
                })
            };
            let threads: Vec<_> = cpus.iter().map(|cpu| run(*cpu)).collect();
            threads.into_iter().map(|thread| thread.join().expect("the generator's thread")).collect()
        });
        // What had to wait goes now, and not in the middle of the next run, when the kernel would lend it a twentieth of the time.
        thread::sleep(begun.elapsed() / 10);
        let words = self.words()?;
        let sent = |(cpu, look): (&usize, anyhow::Result<f64>)| {
            let look = look?;
            let words = &words[*cpu];
            let nanoseconds = words[ENDED].saturating_sub(words[BEGUN]).max(1);
            Ok(Sent { cpu: *cpu, frames: words[SENT], seconds: nanoseconds as f64 / 1e9, look })
        };
        cpus.iter().zip(looks).map(sent).collect()
    }

    fn set(&mut self, number: u32, mut words: Vec<Words>, frames: u32) -> anyhow::Result<()> {
        words.iter_mut().for_each(|words| words[FRAMES] = u64::from(frames));
        let map: &mut Map = self.object.map_mut("GENERATORS").context("map GENERATORS")?;
        let mut map: PerCpuArray<&mut MapData, Words> = map.try_into()?;
        Ok(map.set(number, PerCpuValues::try_from(words)?, 0)?)
    }

    fn words(&self) -> anyhow::Result<PerCpuValues<Words>> {
        let map: PerCpuArray<&MapData, Words> = self.object.map("GENERATORS").context("map GENERATORS")?.try_into()?;
        Ok(map.get(&0, 0)?)
    }
}

impl Pace {
    const fn program(self) -> &'static str {
        match self {
            Self::Full => "generate",
            Self::Paced => "generate_paced",
            Self::InTurns => "generate_in_turns",
        }
    }
}

/// Nanoseconds that the kernel tells for a frame.
fn live(program: &Xdp, pace: Pace, frames: u32) -> anyhow::Result<f64> {
    let batch = if pace == Pace::Paced { PACED_BATCH } else { BATCH };
    let options = TestRunOptions {
        data_in: Some(&[0; FRAME]),
        repeat: frames,
        attrs: TestRunAttrs::new().xdp_live_frames(batch),
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).context("sending live frames")?;
    Ok(result.duration.as_nanos() as f64)
}
