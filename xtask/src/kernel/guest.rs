//! One guest: boots a kernel, runs the tests in it, hands back their output line by line and their exit codes.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::build::Test;
use super::fetch::Kernel;
use super::{initramfs, program};
use crate::out;

/// A boot takes 5 s and the rows two minutes on two slow cores.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Lines of the console that explain a guest which gave no result.
const TAIL: usize = 25;

/// Runs the tests under a kernel. An error says which failed, or why there is no result.
pub(super) fn run(kernel: &Kernel, tests: &[Test]) -> anyhow::Result<()> {
    // Beside the kernel, and kept: a failed boot is looked into there.
    let files = Files::beside(kernel);
    let archive = initramfs::build(kernel, &script(tests))?;
    std::fs::write(&files.initramfs, archive).with_context(|| format!("cannot write {}", files.initramfs.display()))?;
    let messages =
        std::fs::File::create(&files.messages).with_context(|| format!("cannot write {}", files.messages.display()))?;
    let _ = std::fs::remove_file(&files.results);
    let mut qemu = command(kernel, &files)?;
    let mut guest =
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(messages).spawn().context("cannot run QEMU")?;
    let output = guest.stdout.take().context("QEMU has no output")?;
    let echo = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            out::line(String::from_utf8_lossy(&line).trim_end_matches('\r'));
        }
    });
    let in_time = wait(&mut guest)?;
    let _ = echo.join();
    let results = std::fs::read_to_string(&files.results).unwrap_or_default();
    judge(&results, tests).map_err(|verdict| match verdict {
        Verdict::Failed(names) => anyhow::anyhow!("failed: {}", names.join(", ")),
        Verdict::NoResult(name) => {
            let cause = if in_time { "the guest ended" } else { "the guest was ended after 20 minutes" };
            anyhow::anyhow!("{cause} without a result of {name}; its last words:\n{}", last_words(&files))
        }
    })
}

/// Files of one guest.
struct Files {
    initramfs: PathBuf,
    console: PathBuf,
    messages: PathBuf,
    results: PathBuf,
}

impl Files {
    fn beside(kernel: &Kernel) -> Self {
        let file = |name: &str| kernel.root.join(name);
        Self {
            initramfs: file("initramfs.cpio"),
            console: file("console.log"),
            messages: file("qemu.log"),
            results: file("results"),
        }
    }
}

fn command(kernel: &Kernel, files: &Files) -> anyhow::Result<Command> {
    let mut qemu = Command::new(program("qemu-system-x86_64")?);
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-M", "q35", "-smp", "2", "-m", "2G"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&files.initramfs);
    // A panic resets at once, which ends QEMU. Mitigations only cost time here.
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on audit=0"]);
    qemu.arg("-serial").arg(option("file:", &files.console));
    qemu.args(["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"]);
    qemu.args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host", "-device", "virtio-serial-pci"]);
    // Not `stdio`: at the end of stdin QEMU takes the port for disconnected, and the guest's writes wait for ever.
    qemu.args(["-chardev", "file,id=output,path=/dev/stdout", "-device", "virtserialport,chardev=output,name=output"]);
    qemu.arg("-chardev").arg(option("file,id=results,path=", &files.results));
    qemu.args(["-device", "virtserialport,chardev=results,name=results"]);
    Ok(qemu)
}

fn option(name: &str, path: &Path) -> String {
    // QEMU's options end at a comma; a doubled one stands for itself.
    format!("{name}{}", path.display().to_string().replace(',', ",,"))
}

/// What the guest runs. Each test's exit code goes to descriptor 3 as `NAME CODE`.
fn script(tests: &[Test]) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let directory = lb_lab::paths::workspace().join("tests");
    let mut script =
        format!("export HOME=/root PATH={}\ncd {}\n", quoted(&path), quoted(&directory.display().to_string()));
    for Test { name, path } in tests {
        // Writing to a String cannot fail.
        let _ = writeln!(script, "echo '== {name}'");
        let _ = writeln!(script, "{} --show-output 3>&-", quoted(&path.display().to_string()));
        let _ = writeln!(script, "echo {name} $? >&3");
    }
    script
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Waits for the guest's end; false when it had to be ended.
fn wait(guest: &mut Child) -> anyhow::Result<bool> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if guest.try_wait().context("cannot wait for QEMU")?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    guest.kill().and_then(|()| guest.wait()).context("cannot end QEMU")?;
    Ok(false)
}

/// What the results say, unless all tests passed.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// These tests failed.
    Failed(Vec<String>),
    /// This is the first one without an exit code.
    NoResult(String),
}

fn judge(results: &str, tests: &[Test]) -> Result<(), Verdict> {
    let mut failed = Vec::new();
    for Test { name, .. } in tests {
        let code = results.lines().find_map(|line| line.strip_prefix(name.as_str())?.strip_prefix(' '));
        match code {
            Some("0") => {}
            Some(code) => failed.push(format!("{name} (exit code {code})")),
            None => return Err(Verdict::NoResult(name.clone())),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Verdict::Failed(failed)) }
}

/// The end of QEMU's messages and of the guest's console.
fn last_words(files: &Files) -> String {
    let mut lines: Vec<String> = Vec::new();
    for path in [&files.console, &files.messages] {
        let bytes = std::fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        lines.extend(all[all.len().saturating_sub(TAIL)..].iter().map(|line| (*line).to_owned()));
    }
    if lines.is_empty() { "none".to_owned() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests() -> Vec<Test> {
        ["verifier", "rows"].map(|name| Test { name: name.into(), path: format!("/t/it's {name}").into() }).to_vec()
    }

    #[test]
    fn results_are_all_there_and_all_zero_or_it_failed() {
        assert_eq!(judge("verifier 0\nrows 0\n", &tests()), Ok(()));
        assert_eq!(
            judge("verifier 0\nrows 101\n", &tests()),
            Err(Verdict::Failed(vec!["rows (exit code 101)".into()]))
        );
        assert_eq!(judge("verifier 0\n", &tests()), Err(Verdict::NoResult("rows".into())));
        assert_eq!(judge("", &tests()), Err(Verdict::NoResult("verifier".into())));
    }

    #[test]
    fn the_script_survives_strange_paths() {
        let script = script(&tests());
        assert!(
            script.contains(r"'/t/it'\''s rows' --show-output 3>&-") && script.contains("echo rows $? >&3"),
            "{script}"
        );
    }

    #[test]
    fn commas_in_paths_do_not_end_an_option() {
        assert_eq!(option("file:", Path::new("/a,b")), "file:/a,,b");
    }
}
