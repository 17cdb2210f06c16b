//! The wrk tool in the client's namespace: rates that one thread per request cannot reach. [`run`] keeps its connections, so
//! it says nothing about how connections are spread; [`run_closing`] makes one for each request.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{LabError, Netns};

/// What wrk measured.
#[derive(Clone, Debug, PartialEq)]
pub struct WrkReport {
    /// Requests answered.
    pub requests: u64,
    /// Requests per second.
    pub rate: f64,
    /// Socket errors and answers other than 2xx and 3xx.
    pub failed: u64,
    /// 99th percentile of latency.
    pub p99: Duration,
}

/// Runs wrk against `http://TARGET/PATH` for whole seconds.
pub fn run(
    client: &Netns,
    target: SocketAddr,
    path: &str,
    connections: usize,
    seconds: u64,
) -> Result<WrkReport, LabError> {
    start(client, target, path, connections, seconds, &[])
}

/// [`run`] without keep-alive. It ends with up to `connections` requests under way, which it does not count.
pub fn run_closing(
    client: &Netns,
    target: SocketAddr,
    path: &str,
    connections: usize,
    seconds: u64,
) -> Result<WrkReport, LabError> {
    start(client, target, path, connections, seconds, &["-H", "Connection: close"])
}

fn start(
    client: &Netns,
    target: SocketAddr,
    path: &str,
    connections: usize,
    seconds: u64,
    further: &[&str],
) -> Result<WrkReport, LabError> {
    let (url, connections, duration) =
        (format!("http://{target}{path}"), format!("-c{connections}"), format!("-d{seconds}s"));
    let text = client.run(&[&["wrk", "-t1", &connections, &duration, "--latency"], further, &[&url]].concat())?;
    parse(&text).ok_or_else(|| LabError::Answer { what: format!("wrk {url}"), answer: text.trim().replace('\n', "; ") })
}

/// Reads wrk's text; `None` when it is not what wrk 4 prints.
fn parse(text: &str) -> Option<WrkReport> {
    let mut report = WrkReport { requests: 0, rate: 0.0, failed: 0, p99: Duration::ZERO };
    let mut seen = 0;
    for line in text.lines().map(str::trim) {
        if let Some((count, _)) = line.split_once(" requests in ") {
            report.requests = count.parse().ok()?;
            seen += 1;
        } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
            report.rate = rate.trim().parse().ok()?;
            seen += 1;
        } else if let Some(latency) = line.strip_prefix("99%") {
            report.p99 = duration(latency.trim())?;
        } else if let Some(errors) = line.strip_prefix("Socket errors:") {
            report.failed += errors.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            report.failed += count.trim().parse::<u64>().ok()?;
        }
    }
    (seen == 2).then_some(report)
}

/// wrk's `3.20ms`, `812.00us`, `1.05s`.
fn duration(text: &str) -> Option<Duration> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[number.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 1s test @ http://10.77.0.100:80/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   310.00us  101.00us   3.20ms   80.00%
    Req/Sec    24.10k     1.20k   25.00k    70.00%
  Latency Distribution
     50%  300.00us
     99%    1.25ms
  26400 requests in 1.10s, 5.00MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 4
Requests/sec:  24000.50
";

    #[test]
    fn a_report_is_read() {
        let report = parse(TEXT).unwrap();
        assert_eq!((report.requests, report.failed, report.rate), (26_400, 10, 24_000.5));
        assert_eq!(report.p99, Duration::from_micros(1250));
    }

    #[test]
    fn something_else_is_refused() {
        assert_eq!(parse("unable to connect to 10.77.0.100:80 Connection refused"), None);
    }
}
