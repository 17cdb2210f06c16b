//! Fragments that came before their packet's first one: read from the program's event buffers, to be run through it again.

use std::os::fd::AsFd as _;
use std::thread;

use aya::maps::MapData;
use aya::maps::perf::{PerfEvent, PerfEventArray, PerfEventArrayBuffer};
use lb_common::abi::fragment::Early;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc;

use super::DataplaneError;
use super::loader::Loaded;

/// Pages of each CPU's buffer, a power of two: 1 MiB, some 600 full-size frames. What does not fit is lost, as the network loses packets.
const PAGES: usize = 256;
/// Batches that wait for the director's task.
const QUEUE: usize = 64;
/// Milliseconds after which the thread looks whether anybody still receives.
const LOOK: u16 = 1000;

/// A frame as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyFragment {
    /// Names its packet.
    pub tag: u64,
    /// Interface that it came in by.
    pub ifindex: u32,
    /// All of its bytes.
    pub frame: Vec<u8>,
}

/// Reads the events of every CPU, in a thread of its own, for as long as somebody receives them.
pub fn read(loaded: &mut Loaded) -> Result<mpsc::Receiver<Vec<EarlyFragment>>, DataplaneError> {
    let failed = |e: &dyn std::fmt::Display| DataplaneError::other("the program's event buffers", e);
    let mut events = PerfEventArray::try_from(loaded.take_map("EARLY")?).map_err(|e| failed(&e))?;
    let cpus = aya::util::online_cpus().map_err(|(what, e)| DataplaneError::other(what, e))?;
    let buffers = cpus.into_iter().map(|cpu| events.open(cpu, Some(PAGES)).map_err(|e| failed(&e)));
    let buffers = buffers.collect::<Result<Vec<_>, _>>()?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let thread = thread::Builder::new().name("early-fragments".to_owned());
    thread.spawn(move || forward(buffers, &sender)).map_err(|e| failed(&e))?;
    Ok(receiver)
}

fn forward(mut buffers: Vec<PerfEventArrayBuffer<MapData>>, to: &mpsc::Sender<Vec<EarlyFragment>>) {
    while !to.is_closed() {
        let mut ready: Vec<_> = buffers.iter().map(|buffer| PollFd::new(buffer.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut ready, PollTimeout::from(LOOK)) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return tracing::error!("early fragments are dropped from now on: {error}"),
        }
        let mut batch = Vec::new();
        for buffer in &mut buffers {
            buffer.for_each(|event| match event {
                PerfEvent::Sample { head, tail } => batch.extend(fragment(&[head, tail].concat())),
                PerfEvent::Lost { count } => tracing::debug!("{count} early fragments did not fit the event buffer"),
            });
        }
        if !batch.is_empty() && to.blocking_send(batch).is_err() {
            return;
        }
    }
}

fn fragment(bytes: &[u8]) -> Option<EarlyFragment> {
    let (Early { tag, ifindex, .. }, frame) = Early::read(bytes)?;
    Some(EarlyFragment { tag, ifindex, frame: frame.to_vec() })
}
