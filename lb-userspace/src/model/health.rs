//! How a real server is checked, and the JSON shape of a check.
//!
//! In JSON a check is one flat object as in TOML (`"type": "http", "path": "/health", ...`); in Rust the parts
//! that only HTTP has live in [`Probe::Http`], so that no code meets a TCP check with a path.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::word::words;

/// A health check of a service's real servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Flat", into = "Flat")]
pub struct HealthSpec {
    /// Port to check; none means the service's.
    pub port: Option<u16>,
    /// Time from one check to the next, in milliseconds.
    pub interval_ms: u64,
    /// How long a check may take, in milliseconds.
    pub timeout_ms: u64,
    /// Successes in a row that make a real up.
    pub rise: u32,
    /// Failures in a row that make a real down.
    pub fall: u32,
    /// What is asked.
    pub probe: Probe,
}

/// What a health check asks a real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A TCP connection is accepted.
    Tcp,
    /// `GET path` is answered with one of the statuses.
    Http {
        /// Path of the request.
        path: String,
        /// `Host` header; none means the real's address.
        host: Option<String>,
        /// Statuses that count as success.
        status: Vec<RangeInclusive<u16>>,
    },
}

words! {
    /// The word that names a probe.
    ProbeKind, "health check type", later ["udp", "dns", "ping", "script", "https"];
    /// [`Probe::Tcp`].
    Tcp = "tcp",
    /// [`Probe::Http`].
    Http = "http",
}

/// Default of `interval`.
pub const DEFAULT_INTERVAL_MS: u64 = 2000;
/// Default of `timeout`.
pub const DEFAULT_TIMEOUT_MS: u64 = 1000;
/// Default of `rise`.
pub const DEFAULT_RISE: u32 = 2;
/// Default of `fall`.
pub const DEFAULT_FALL: u32 = 3;
/// Default of `path`.
pub const DEFAULT_PATH: &str = "/";

/// Default of `status`: every success.
pub fn default_status() -> Vec<RangeInclusive<u16>> {
    vec![200..=299]
}

impl HealthSpec {
    /// A check of this kind with every default.
    pub fn new(kind: ProbeKind) -> Self {
        let probe = match kind {
            ProbeKind::Tcp => Probe::Tcp,
            ProbeKind::Http => Probe::Http { path: DEFAULT_PATH.to_owned(), host: None, status: default_status() },
        };
        Self {
            port: None,
            interval_ms: DEFAULT_INTERVAL_MS,
            timeout_ms: DEFAULT_TIMEOUT_MS,
            rise: DEFAULT_RISE,
            fall: DEFAULT_FALL,
            probe,
        }
    }

    /// The word for this check's probe.
    pub fn kind(&self) -> ProbeKind {
        match self.probe {
            Probe::Tcp => ProbeKind::Tcp,
            Probe::Http { .. } => ProbeKind::Http,
        }
    }
}

/// Reads a status range: `"200-299"` or `"204"`.
pub fn parse_status(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |part: &str| {
        let digits = part.len() == 3 && part.bytes().all(|digit| digit.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| digits)
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && first >= 100 && last <= 599 => Ok(first..=last),
        _ => Err(format!("{text:?} is not an HTTP status or range of them, such as 204 or 200-299 (100 to 599)")),
    }
}

/// Writes a status range as [`parse_status`] reads it.
pub fn status_text(range: &RangeInclusive<u16>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    }
}

/// The JSON shape.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    #[serde(rename = "type")]
    kind: ProbeKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interval_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rise: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fall: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Vec<String>>,
}

impl From<HealthSpec> for Flat {
    fn from(spec: HealthSpec) -> Self {
        let kind = spec.kind();
        let (path, host, status) = match spec.probe {
            Probe::Tcp => (None, None, None),
            Probe::Http { path, host, status } => (Some(path), host, Some(status.iter().map(status_text).collect())),
        };
        Self {
            kind,
            port: spec.port,
            interval_ms: Some(spec.interval_ms),
            timeout_ms: Some(spec.timeout_ms),
            rise: Some(spec.rise),
            fall: Some(spec.fall),
            path,
            host,
            status,
        }
    }
}

impl TryFrom<Flat> for HealthSpec {
    type Error = String;

    fn try_from(flat: Flat) -> Result<Self, String> {
        let mut spec = Self::new(flat.kind);
        match &mut spec.probe {
            Probe::Tcp if flat.path.is_some() || flat.host.is_some() || flat.status.is_some() => {
                return Err("path, host and status belong to a check of type http".to_owned());
            }
            Probe::Tcp => {}
            Probe::Http { path, host, status } => {
                *path = flat.path.unwrap_or_else(|| DEFAULT_PATH.to_owned());
                *host = flat.host;
                if let Some(ranges) = flat.status {
                    *status = ranges.iter().map(|range| parse_status(range)).collect::<Result<_, _>>()?;
                }
            }
        }
        spec.port = flat.port;
        spec.interval_ms = flat.interval_ms.unwrap_or(spec.interval_ms);
        spec.timeout_ms = flat.timeout_ms.unwrap_or(spec.timeout_ms);
        spec.rise = flat.rise.unwrap_or(spec.rise);
        spec.fall = flat.fall.unwrap_or(spec.fall);
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_flat_and_fills_defaults() {
        let spec: HealthSpec = serde_json::from_str(r#"{"type":"http","path":"/health"}"#).unwrap();
        assert_eq!(spec.interval_ms, DEFAULT_INTERVAL_MS);
        let text = serde_json::to_string(&spec).unwrap();
        assert!(text.contains(r#""status":["200-299"]"#), "{text}");
        assert_eq!(serde_json::from_str::<HealthSpec>(&text).unwrap(), spec);
    }

    #[test]
    fn a_tcp_check_has_no_path() {
        let error = serde_json::from_str::<HealthSpec>(r#"{"type":"tcp","path":"/"}"#).unwrap_err().to_string();
        assert!(error.contains("belong to a check of type http"), "{error}");
    }

    #[test]
    fn a_status_is_three_digits_or_a_range() {
        assert_eq!(parse_status("204"), Ok(204..=204));
        assert_eq!(parse_status("200-399"), Ok(200..=399));
        for wrong in ["", "99", "600", "300-200", "+20", "2xx", "200-", "200-299-301"] {
            assert!(parse_status(wrong).is_err(), "{wrong}");
        }
    }
}
