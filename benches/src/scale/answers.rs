//! A client of the daemon's API that reads the clock as soon as the tables show a change, before it reads the answer.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use lb_common::wire::transport::TCP;
use lb_userspace::dataplane::addresses::Address;
use lb_userspace::dataplane::tables::Tables;
use serde_json::json;

/// Milliseconds until the tables showed a change, and until it was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) seen: f64,
    pub(crate) answered: f64,
}

/// How long a change may take before it counts as lost.
const LOST: Duration = Duration::from_secs(60);

/// Gives a real of a service another weight.
pub(crate) fn change_weight(
    socket: &Path,
    tables: &Tables,
    vip: IpAddr,
    real: IpAddr,
    weight: u32,
) -> anyhow::Result<Change> {
    let address = Address::single(vip, TCP, 80);
    let service = format!("tcp://{vip}:80");
    let endpoint = SocketAddr::new(real, 80);
    let number = tables.number_of(&address, endpoint).context("the real has no number")?;
    let body = json!({ "edits": [{ "edit_real": { "service": service, "real": endpoint, "weight": weight } }] });
    let body = body.to_string();
    let head = format!(
        "POST /v1/apply HTTP/1.1\r\nhost: xvs\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let start = Instant::now();
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all((head + &body).as_bytes())?;
    let is_there = || tables.published(&address).is_some_and(|members| members.contains(&(number, weight)));
    while !is_there() {
        ensure!(start.elapsed() < LOST, "the tables do not show the weight");
        std::hint::spin_loop();
    }
    let seen = start.elapsed();
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(Change { seen: seen.as_secs_f64() * 1e3, answered: start.elapsed().as_secs_f64() * 1e3 })
}
