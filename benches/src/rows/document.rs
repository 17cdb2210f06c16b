//! What a run leaves in the documentation: tables between markers in performance.md, plots and the run itself beside it. Prose outside
//! of the markers stays as it is.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::case::MILLION;
use super::plot;
use super::results::Results;
use super::targets::{self, Judged};

/// The run that the documentation shows.
const RUN: &str = "performance/rows.json";

/// Writes everything below `docs`.
pub(crate) fn write(docs: &Path, results: &Results) -> anyhow::Result<()> {
    let page = docs.join("performance.md");
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let text = page_with(&text, results)?;
    let files = [("performance.md".to_owned(), text)].into_iter().chain(plots(results)?);
    fs::create_dir_all(docs.join("performance"))?;
    for (name, text) in files {
        let path = docs.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    results.write(&docs.join(RUN))
}

/// Names and texts of the plots.
fn plots(results: &Results) -> anyhow::Result<Vec<(String, String)>> {
    Ok(vec![
        ("performance/flows.svg".to_owned(), plot::flows(&results.rows)?),
        ("performance/schedulers.svg".to_owned(), plot::schedulers(&results.openings)?),
    ])
}

/// The page with this run's tables.
fn page_with(text: &str, results: &Results) -> anyhow::Result<String> {
    let judged = targets::judge(&results.rows);
    let (asked, beside): (Vec<_>, Vec<_>) = judged.iter().partition(|judged| judged.limit.is_some());
    let mut text = text.to_owned();
    for (name, content) in [
        ("run", about(results)),
        ("targets", judgements(&asked)),
        ("beside", judgements(&beside)),
        ("rows", rows(results)),
        ("openings", openings(results)),
        ("programs", programs(results)),
    ] {
        text = between(&text, name, &content)?;
    }
    Ok(text)
}

/// `text` with what stands between the markers `<!-- NAME -->` and `<!-- /NAME -->` replaced.
pub(crate) fn between(text: &str, name: &str, content: &str) -> anyhow::Result<String> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&open).with_context(|| format!("there is no {open}"))?;
    let (_, after) = rest.split_once(&close).with_context(|| format!("there is no {close} behind {open}"))?;
    anyhow::ensure!(!after.contains(&open), "{open} is there twice");
    Ok(format!("{before}{open}\n\n{}\n\n{close}{after}", content.trim()))
}

fn about(results: &Results) -> String {
    let machine = &results.machine;
    format!(
        "Seen on {} at revision {}: {}, {} cores, L2 {} a core, L3 {}, {} GB, kernel {}. Medians of {} repetitions, the least and the \
         most beside them. Again, as root, on a machine that does nothing else:\n\n    cargo xtask bench --write\n",
        machine.date,
        machine.revision,
        machine.cpu,
        machine.cores,
        machine.l2,
        machine.l3,
        machine.memory_gb,
        machine.kernel,
        results.repetitions
    )
}

/// Numbers of flows as people say them.
pub(crate) fn spoken(flows: u32) -> String {
    match flows {
        8192 => "8 k".to_owned(),
        _ if flows >= MILLION && flows.is_multiple_of(MILLION) => format!("{} M", flows / MILLION),
        _ => flows.to_string(),
    }
}

fn judgements(all: &[&Judged]) -> String {
    let mut text = String::from(
        "| what | beside | flows | ns | beside, ns | ratio | least..most | wanted | |\n|---|---|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for judged in all {
        let Judged { what, value, .. } = judged;
        let than = judged.than.unwrap_or("");
        let other = judged.other.map(|other| format!("{other:.1}")).unwrap_or_default();
        let (digits, ratio) = match judged.other {
            Some(_) => (3, format!("{:.3}", value.median)),
            None => (1, String::new()),
        };
        let unit = if judged.other.is_some() { "" } else { " ns" };
        let limit = judged.limit.map(|limit| format!("{limit}{unit}")).unwrap_or_default();
        let verdict = match judged.is_met() {
            Some(false) => "**missed**",
            _ => judged.verdict(),
        };
        let _ = writeln!(
            text,
            "| {what} | {than} | {} | {:.1} | {other} | {ratio} | {:.digits$}..{:.digits$} | {limit} | {verdict} |",
            spoken(judged.flows),
            judged.ours,
            value.min,
            value.max
        );
    }
    text
}

fn rows(results: &Results) -> String {
    let mut text = String::from(
        "| case | method | family | flows | ns | least..most | instructions | stack |\n|---|---|---|---:|---:|---:|---:|---:|\n",
    );
    for row in &results.rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.1} | {:.1}..{:.1} | {} | {} |",
            row.name,
            row.method,
            row.family,
            spoken(row.flows),
            row.ns,
            row.min,
            row.max,
            row.insns,
            row.stack
        );
    }
    text
}

fn openings(results: &Results) -> String {
    let openings = &results.openings;
    let Some(first) = openings.first() else { return String::new() };
    let columns = openings.iter().take_while(|opening| opening.scheduler == first.scheduler).count();
    let mut text = String::from("| scheduler |");
    for opening in &openings[..columns] {
        let _ = write!(text, " {} reals |", opening.reals);
    }
    let _ = write!(text, "\n|---|{}", "---:|".repeat(columns));
    for line in openings.chunks(columns) {
        let _ = write!(text, "\n| `{}` |", line[0].scheduler);
        for opening in line {
            let _ = write!(text, " {:.0} ({:.0}..{:.0}) |", opening.ns, opening.min, opening.max);
        }
    }
    text
}

fn programs(results: &Results) -> String {
    let mut text = String::from(
        "| program | walked by the verifier | instructions | machine code, bytes | stack, bytes |\n|---|---:|---:|---:|---:|\n",
    );
    for program in &results.programs {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            program.name, program.verified, program.translated, program.machine, program.stack
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "by hand\n<!-- rows -->\nold\n<!-- /rows -->\nby hand, too\n";
        let new = between(text, "rows", "\nnew\n").unwrap();
        assert_eq!(new, "by hand\n<!-- rows -->\n\nnew\n\n<!-- /rows -->\nby hand, too\n");
        assert_eq!(between(&new, "rows", "new").unwrap(), new);
    }

    #[test]
    fn missing_and_doubled_markers_are_named() {
        let error = |text| between(text, "rows", "new").unwrap_err().to_string();
        assert_eq!(error("nothing"), "there is no <!-- rows -->");
        assert_eq!(error("<!-- /rows --><!-- rows -->"), "there is no <!-- /rows --> behind <!-- rows -->");
        assert_eq!(error("<!-- rows --><!-- /rows --><!-- rows -->"), "<!-- rows --> is there twice");
    }

    #[test]
    fn flows_are_spoken() {
        assert_eq!([1, 8192, 1 << 20, 1 << 23, 100].map(spoken), ["1", "8 k", "1 M", "8 M", "100"]);
    }

    /// What the documentation shows is what its run says: nobody changed a figure by hand, nobody forgot a plot.
    #[test]
    fn tables_and_plots_in_the_documentation_are_of_its_run() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let results = Results::read(&docs.join(RUN)).unwrap();
        let read = |name: &str| fs::read_to_string(docs.join(name)).unwrap();
        let page = read("performance.md");
        let hint = "is not what performance/rows.json says; run `cargo xtask bench write docs/performance/rows.json`";
        assert!(page_with(&page, &results).unwrap() == page, "performance.md {hint}");
        for (name, text) in plots(&results).unwrap() {
            assert!(read(&name) == text, "{name} {hint}");
        }
    }
}
