//! `cargo xtask bench wire`: packets through veth pairs at full speed, generator and real server included, beside a bare forwarder and
//! what the kernel does by itself. README.md has the method.

mod lanes;
mod measure;
mod report;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::machine;

/// Options of `wire`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the rows to this file as JSON, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only rows whose name and flows, as "xvs-direct 8192", contain this.
    #[arg(long)]
    filter: Option<String>,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 0.3, value_parser = seconds)]
    seconds: f64,
    /// Rounds of all rows.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Connections that the director has room for, as `xvs daemon --connections`: all flows of the rows at a load of one half.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(1024..=1 << 24))]
    connections: u32,
    /// How much of a row's own rate it gets while latencies are measured, in percent.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100))]
    load: u32,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("0.01 to 60 seconds".to_owned()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let cpus = machine::cpus()?;
    let chosen = lanes::chosen(arguments.filter.as_deref().unwrap_or_default());
    anyhow::ensure!(!chosen.is_empty(), "no row has this in its name; `--filter xvs` or `--filter 8192`, for one");
    let mut lanes = lanes::Lanes::build(arguments.connections)?;
    let Arguments { seconds, rounds, load, .. } = *arguments;
    let rows = measure::Plan { rows: chosen, cpus, seconds, rounds, load }.run(&mut lanes)?;
    let is_ipvs = std::path::Path::new("/proc/net/ip_vs").exists();
    let missing = if is_ipvs { "kernel IPVS: here, but it has no row" } else { "kernel IPVS: this kernel has none" };
    println!("{}{}{missing}", report::table(&rows), report::targets(&rows));
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&serde_json::json!({
            "machine": machine::Machine::here()?, "connections": arguments.connections, "rows": rows, "ipvs": is_ipvs
        }))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_measurement_has_a_length() {
        assert_eq!(seconds("0.2"), Ok(0.2));
        for bad in ["0", "-1", "61", "soon", "NaN", "inf"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
