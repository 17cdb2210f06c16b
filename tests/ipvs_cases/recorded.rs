//! Reads the recorded cases. They are no part of this repository: the folder is looked for beside it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;

/// One recorded case.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    /// Its name, that of its file.
    pub(crate) id: String,
    /// False: the scheduler draws lots, so only totals are compared.
    pub(crate) deterministic: bool,
    /// What the hosts were.
    pub(crate) topology: Hosts,
    /// `net.ipv4.vs.NAME=VALUE`, set before anything else.
    pub(crate) sysctl: Vec<String>,
    /// Rules that put marks on packets.
    pub(crate) nft: Vec<String>,
    /// Command lines that made the services.
    pub(crate) setup: Vec<String>,
    /// What each of them answered.
    pub(crate) setup_results: Vec<Answer>,
    /// What was done then.
    pub(crate) steps: Vec<Step>,
    /// First word of the result of every connection and datagram.
    pub(crate) sequence: Vec<String>,
    /// Listings after the last step.
    pub(crate) outputs: BTreeMap<String, String>,
    /// Seconds from the last step to the listings.
    pub(crate) stats_taken_after_s: Option<f64>,
    /// Sequences of other kernels, where they were not the same.
    pub(crate) differing_sequences: BTreeMap<String, Vec<String>>,
}

/// What the hosts were.
#[derive(Debug, Deserialize)]
pub(crate) struct Hosts {
    /// How the real servers are set up.
    pub(crate) mode: Mode,
    /// How many there are.
    pub(crate) real_servers: u8,
    /// Addresses that clients connect to.
    pub(crate) vips: Vec<IpAddr>,
}

/// How the real servers are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Their answers go by the director.
    Nat,
    /// They have the virtual addresses and answer the client themselves.
    Dr,
    /// The same, and they unpack tunnels.
    Tun,
}

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Answer {
    /// Exit code.
    pub(crate) rc: i32,
    /// What it printed.
    pub(crate) stdout: String,
    /// And as errors.
    pub(crate) stderr: String,
}

/// One thing that was done, and what came of it.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Step {
    /// A TCP connection; held open if it has a name.
    Conn {
        #[serde(flatten)]
        ends: Ends,
        hold: Option<String>,
        result: String,
    },
    /// A datagram and its answer.
    Udp {
        #[serde(flatten)]
        ends: Ends,
        result: String,
    },
    /// The client closes a held connection.
    Close { h: String, result: String },
    /// It resets one.
    Rst { h: String, result: String },
    /// It sends a byte.
    Send { h: String, result: String },
    /// Seconds pass.
    Sleep { s: f64 },
    /// As many seconds as IPVS needs to bring its counters up to date.
    Settle,
    /// A command in the director.
    Ipvsadm { args: String, result: Answer },
    /// Its input is this.
    IpvsadmRestore { stdin: String, result: Answer },
}

/// The client's end and where it turns to.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Ends {
    /// The client's address.
    pub(crate) src: IpAddr,
    /// The client's port.
    pub(crate) sport: u16,
    /// Address of the service.
    pub(crate) dst: IpAddr,
    /// Port of the service.
    pub(crate) dport: u16,
}

impl Case {
    /// Whether any packet is sent: else nobody has to be there to take them.
    pub(crate) fn has_traffic(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Conn { .. } | Step::Udp { .. }))
    }
}

/// Names another folder of cases.
const ELSEWHERE: &str = "XVS_IPVS_CASES";

/// Whether the folder is another than the one beside the repository.
pub(crate) fn is_elsewhere() -> bool {
    env::var_os(ELSEWHERE).is_some()
}

/// `XVS_IPVS_CASES`, or a folder beside the repository.
pub(crate) fn path() -> PathBuf {
    env::var_os(ELSEWHERE)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance/ipvs"), PathBuf::from)
}

/// All cases by name, each read or with what keeps it from being read. `None` where there is no such folder.
pub(crate) fn read() -> Option<BTreeMap<String, Result<Case, String>>> {
    let entries = fs::read_dir(path()).ok()?;
    let files = entries.filter_map(Result::ok).map(|entry| entry.path());
    let cases = files.filter(|file| file.extension().is_some_and(|extension| extension == "json"));
    Some(cases.map(|file| (name(&file), one(&file))).collect())
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn one(file: &Path) -> Result<Case, String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

#[test]
fn a_case_is_read() {
    let text = r#"{"id": "x", "deterministic": true, "topology": {"mode": "tun", "real_servers": 2, "vips": ["10.0.1.100"]},
        "sysctl": [], "nft": [], "setup": ["ipvsadm -A"], "setup_results": [{"args": "-A", "rc": 2, "stdout": "", "stderr": "no\n"}],
        "steps": [{"op": "conn", "src": "10.0.1.2", "sport": 1, "dst": "10.0.1.100", "dport": 80, "hold": "h", "result": "REFUSED"},
            {"op": "settle"}, {"op": "sleep", "s": 0.5}, {"op": "ipvsadm_restore", "stdin": "", "result": {"rc": 0, "stdout": "", "stderr": ""}}],
        "sequence": ["REFUSED"], "outputs": {"Ln": ""}, "stats_taken_after_s": null, "differing_sequences": {}}"#;
    let case: Case = serde_json::from_str(text).expect("a case");
    assert!(case.has_traffic());
    assert_eq!((case.topology.mode, case.setup_results[0].rc), (Mode::Tun, 2));
    assert!(matches!(&case.steps[0], Step::Conn { ends, hold: Some(name), .. } if ends.dport == 80 && name == "h"));
    let unknown = text.replace("\"settle\"", "\"dance\"");
    assert!(serde_json::from_str::<Case>(&unknown).is_err_and(|error| error.to_string().contains("dance")));
}
