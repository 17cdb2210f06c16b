//! Files that go to a real's nginx and back, compared by SHA-256.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use lb_lab::{Netns, run};

use crate::stage::Stage;

/// Bytes of a file that is transferred.
pub(crate) const SIZE: usize = 10_000_000;

/// A file of noise at the client.
pub(crate) struct Body {
    path: PathBuf,
    digest: String,
}

impl Body {
    /// Other noise for each seed: what an earlier transfer left cannot pass for it.
    pub(crate) fn new(stage: &Stage, seed: u64) -> Self {
        let path = stage.cluster.topology().directory().join("body");
        std::fs::write(&path, noise(seed, SIZE)).unwrap();
        let digest = sha256(&path);
        Self { path, digest }
    }

    /// Puts it to the service, and sees that the real has all of it.
    pub(crate) fn upload(&self, stage: &mut Stage, target: SocketAddr, name: &str) {
        let file = self.path.to_string_lossy();
        let code = curl(stage.cluster.client().unwrap(), &["-T", &file, "-o", "/dev/null", &url(target, name)]);
        assert_eq!(code, "201", "an upload is answered with Created");
        let (real, _) = stage.cluster.real_mut("real1").unwrap();
        assert_eq!(sha256(&real.stored(name)), self.digest, "what real1 has stored");
    }

    /// Puts it on the real without any network.
    pub(crate) fn lay_down(&self, stage: &mut Stage, name: &str) {
        let (real, _) = stage.cluster.real_mut("real1").unwrap();
        std::fs::copy(&self.path, real.stored(name)).unwrap();
    }

    /// Gets it from the service.
    pub(crate) fn download(&self, stage: &Stage, target: SocketAddr, name: &str) {
        let path = stage.cluster.topology().directory().join("downloaded");
        let file = path.to_string_lossy();
        let code = curl(stage.cluster.client().unwrap(), &["-o", &file, &url(target, name)]);
        assert_eq!(code, "200");
        assert_eq!(sha256(&path), self.digest, "what the client got");
        std::fs::remove_file(path).unwrap();
    }
}

fn url(target: SocketAddr, name: &str) -> String {
    format!("http://{target}/store/{name}")
}

/// The status of the answer. The limit only ends what would never end.
fn curl(client: &Netns, arguments: &[&str]) -> String {
    let fixed = ["curl", "-sSg", "--max-time", "60", "-w", "%{http_code}"];
    client.run(&[&fixed, arguments].concat()).unwrap()
}

/// Xorshift: neither compressible nor periodic within any file. A multiple of eight bytes.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = words.take(size / 8).flatten().collect();
    assert_eq!(noise.len(), size);
    noise
}

pub(crate) fn sha256(path: &Path) -> String {
    let printed = run::succeed(Command::new("sha256sum").arg(path)).unwrap();
    printed.split_whitespace().next().unwrap().to_owned()
}
