//! The namespace with its daemon.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use lb_lab::{Director, DirectorOptions, LabName, Netns, paths};
use lb_tests::packet::{ACK, Packet, SYN};
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::pins::Pins;
use lb_userspace::dataplane::tables::Tables;

use super::configuration::{self, Size};

/// A namespace with a veth pair and a daemon on it. Dropping it removes all of it.
pub(crate) struct Stage {
    pub(crate) director: Director,
    _netns: Netns,
    directory: PathBuf,
}

impl Stage {
    /// An empty daemon with room for the size.
    pub(crate) fn new(size: &Size, connections: u32) -> anyhow::Result<Self> {
        let lab = LabName::unique("scale")?;
        let netns = Netns::create(&lab, "director")?;
        let (own, gateway, reals) = (configuration::DIRECTOR, configuration::GATEWAY, configuration::REALS);
        netns.ip_batch(&format!(
            "link set lo up\nlink add eth0 type veth peer name far0\nlink set eth0 up\nlink set far0 up\naddress add {own} dev eth0\n\
             neighbour add {gateway} lladdr 02:00:00:00:00:fe dev eth0 nud permanent\nroute add {reals} via {gateway}\n"
        ))?;
        let reals = (size.services * size.reals).next_power_of_two().max(1 << 16);
        let options = DirectorOptions {
            host: "director".to_owned(),
            binary: paths::xvs()?,
            interfaces: vec!["eth0".to_owned()],
            config: None,
            arguments: vec![
                "--reals".to_owned(),
                reals.to_string(),
                "--connections".to_owned(),
                connections.max(1 << 20).next_power_of_two().to_string(),
                "--log".to_owned(),
                "warn".to_owned(),
            ],
        };
        let director = Director::start_in(&lab, &netns, &options)?;
        Ok(Self { director, _netns: netns, directory: lab.directory() })
    }

    /// A place for files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.director.pid().context("the daemon has ended")
    }

    /// The daemon's tables, as the datapath reads them.
    pub(crate) fn tables(&self) -> anyhow::Result<Tables> {
        let pins = Pins::new(self.director.pin_directory());
        let geometry = pins.existing(lb_userspace::dataplane::cpus()?)?.context("no tables")?;
        Ok(Tables::adopt(&Memory::pinned(&pins, &geometry)?, geometry)?)
    }

    /// Seconds that a command of `xvs` takes, its output read to the end; and how many lines and bytes that was.
    pub(crate) fn timed(&self, words: &[&str]) -> anyhow::Result<(f64, u64)> {
        timed(Command::new(paths::xvs()?).args(words).env("XVS_SOCKET", self.director.socket()))
    }

    /// The same with `ipvsadm -Ln`, which ipvsadm itself would be called as.
    pub(crate) fn timed_ipvsadm(&self) -> anyhow::Result<(f64, u64)> {
        self.timed(&["ipvsadm", "-L", "-n"])
    }

    /// Seconds until as many reals take connections as there are.
    pub(crate) fn wait_up(&self, start: Instant, reals: usize) -> anyhow::Result<f64> {
        loop {
            let status = self.director.json(&["status"])?;
            if status["reals"]["up"].as_u64() == Some(reals as u64) {
                return Ok(start.elapsed().as_secs_f64());
            }
            ensure!(
                start.elapsed() < Duration::from_secs(300),
                "reals that are not up after minutes: {}",
                status["reals"]
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Opens connections to the first service by running the attached program on their packets. Returns how many are there.
    pub(crate) fn connect(&self, connections: u32) -> anyhow::Result<u64> {
        let status = self.director.json(&["status"])?;
        let id = status["interfaces"][0]["program_id"].as_u64().context("no program")?;
        let mut programs = aya::programs::loaded_programs();
        let Some(info) = programs.find_map(|info| info.ok().filter(|info| u64::from(info.id()) == id)) else {
            bail!("program {id} is not loaded");
        };
        let program = Xdp::from_program_info(info, "xvs".into(), aya_obj::programs::XdpAttachType::Interface)?;
        let vip = configuration::vip(0).to_string();
        for flags in [SYN, ACK] {
            let mut frame = Packet::v4("11.0.0.1", &vip).tcp(1024, 80, flags).build();
            for connection in 0..connections {
                // Checksums are not looked at; address and port tell the connections apart.
                frame[26..30].copy_from_slice(&(0x0b00_0001 + connection / 32_768).to_be_bytes());
                frame[34..36].copy_from_slice(&(1024 + (connection % 32_768) as u16).to_be_bytes());
                let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::default() };
                program.test_run(options)?;
            }
        }
        let mut there = 0;
        self.tables()?.each_connection(|_| there += 1);
        Ok(there)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.director.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Writes a configuration file.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn timed(command: &mut Command) -> anyhow::Result<(f64, u64)> {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut lines = 0;
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::with_capacity(1 << 18, output);
        loop {
            let part = output.fill_buf()?;
            if part.is_empty() {
                break;
            }
            lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
            let taken = part.len();
            output.consume(taken);
        }
    }
    let status = child.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        errors.read_to_string(&mut said)?;
    }
    ensure!(status.success(), "{command:?}: {status}: {said}");
    Ok((seconds, lines))
}
