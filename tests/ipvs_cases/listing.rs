//! Compares what `ipvsadm` prints. Most of it byte for byte; three listings hold what no two runs have in common.
//!
//! | listing | what may differ |
//! |---|---|
//! | connections | order; the expire column by [`TOLERANCE`]; whether one is there that is about to go |
//! | `--stats` | packets sent by reals of NAT, by one bare acknowledgement for each connection |
//! | `--rate` | the numbers |
//! | the others, after the last step | inactive connections of a real, by as many as are about to go |

use std::collections::{BTreeMap, BTreeSet};

/// By how many seconds times may differ. Recorded listings were printed one after the other on a slow guest, up to four seconds after the
/// last step; the timeouts of two states are at least ten apart.
const TOLERANCE: u32 = 5;
/// Bytes of a packet that only acknowledges: headers of IPv4 (20) or IPv6 (40), TCP (20) and the timestamp option (12).
const BARE: [u64; 2] = [52, 72];
/// Lines above the first service or connection.
const HEADER: usize = 2;

/// Connections of each real that are about to go.
pub(crate) type Going = BTreeMap<String, u64>;

/// Reads them from our own list of connections. Templates are no connections.
pub(crate) fn going(listing: &str) -> Going {
    let mut going = Going::new();
    for (key, expire) in listing.lines().skip(HEADER).map(connection) {
        let words: Vec<&str> = key.split_whitespace().collect();
        if let [_, _, client, _, real, ..] = words.as_slice()
            && expire <= TOLERANCE
            && !client.ends_with(":0")
        {
            *going.entry((*real).to_owned()).or_default() += 1;
        }
    }
    going
}

/// Compares what a command printed; `None` if it is the same, else the lines that are not.
pub(crate) fn different(arguments: &str, recorded: &str, ours: &str, going: &Going) -> Option<String> {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let is_of = |option: &str, letter: char| {
        let short = |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.contains(letter);
        words.contains(&option) || words.first().is_some_and(short)
    };
    if words.contains(&"--stats") {
        stats(recorded, ours)
    } else if words.contains(&"--rate") {
        rates(recorded, ours)
    } else if is_of("--connection", 'c') || words.contains(&"-c") {
        connections(recorded, ours)
    } else {
        let pairs = || recorded.lines().zip(ours.lines());
        let same = recorded.lines().count() == ours.lines().count()
            && pairs().all(|(recorded, ours)| recorded == ours || same_but_going(recorded, ours, going));
        if same && recorded.ends_with('\n') == ours.ends_with('\n') { None } else { text(recorded, ours) }
    }
}

/// Two lines of a real whose last column, inactive connections, differs by no more than are about to go.
fn same_but_going(recorded: &str, ours: &str, going: &Going) -> bool {
    let parts = |line: &str| {
        let (rest, number) = line.trim_end().rsplit_once(' ')?;
        Some((rest.to_owned(), number.parse::<u64>().ok()?, line.len()))
    };
    let real = recorded.strip_prefix("  -> ").and_then(|rest| rest.split(' ').next());
    let allowed = real.and_then(|real| going.get(real)).copied().unwrap_or(0);
    match (parts(recorded), parts(ours)) {
        (Some(a), Some(b)) => (a.0, a.2) == (b.0, b.2) && a.1.abs_diff(b.1) <= allowed,
        _ => false,
    }
}

/// The arguments that a listing was recorded with, by its name in the case; one of a single service names it itself.
pub(crate) fn arguments(name: &str, recorded: &str) -> Option<String> {
    let (base, rest) = name.split_once('_').unwrap_or((name, ""));
    if !matches!(base, "L" | "Ln" | "Lnc" | "S" | "Sn") {
        return None;
    }
    let rest = rest.replace("persistent_conn", "persistent-conn").replace("tun_info", "tun-info");
    let mut words = vec![format!("-{base}")];
    for word in rest.split('_').filter(|word| !word.is_empty()) {
        match word {
            "names" => {}
            "tun" => words.push("--tun-info".into()),
            "nosort" | "sort" | "stats" | "rate" | "thresholds" | "persistent-conn" | "tun-info" | "exact"
            | "timeout" | "daemon" => words.push(format!("--{word}")),
            "one" => words = vec!["-Ln".into(), only_service(recorded)?],
            _ => {
                let mark = word.strip_prefix('f')?.parse::<u32>().ok()?;
                words = vec!["-Ln".into(), format!("-f {mark}")];
            }
        }
    }
    Some(words.join(" "))
}

/// `-t 10.0.1.100:80` of the first service that is listed.
fn only_service(listing: &str) -> Option<String> {
    let line =
        listing.lines().find(|line| ["TCP ", "UDP ", "SCTP", "FWM "].iter().any(|start| line.starts_with(start)))?;
    let mut words = line.split_whitespace();
    let option = match words.next()? {
        "TCP" => "-t",
        "UDP" => "-u",
        "SCTP" => "--sctp-service",
        _ => "-f",
    };
    Some(format!("{option} {}", words.next()?))
}

/// Byte for byte. The lines in which they part are shown, order and number of them, too.
pub(crate) fn text(recorded: &str, ours: &str) -> Option<String> {
    if recorded == ours {
        return None;
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (recorded.split('\n').collect(), ours.split('\n').collect());
    let same_start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let most = a.len().min(b.len()) - same_start;
    let same_end = a.iter().rev().zip(b.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let shown = |sign: char, lines: &[&str]| -> String {
        lines[same_start..lines.len() - same_end].iter().map(|line| format!("{sign}{line}\n")).collect()
    };
    Some(shown('-', &a) + &shown('+', &b))
}

/// Services with their reals in any order, each as it is.
pub(crate) fn services_sorted(listing: &str) -> String {
    let mut blocks: Vec<String> = Vec::new();
    let (header, rest): (Vec<&str>, Vec<&str>) = listing.lines().partition(|line| {
        line.starts_with("IP Virtual")
            || line.starts_with("Prot ")
            || line.ends_with("RemoteAddress:Port")
            || line.starts_with("  -> RemoteAddress")
    });
    for line in rest {
        match blocks.last_mut() {
            Some(block) if line.starts_with("  ->") => *block += &format!("{line}\n"),
            _ => blocks.push(format!("{line}\n")),
        }
    }
    blocks.sort();
    header.iter().map(|line| format!("{line}\n")).chain(blocks).collect()
}

/// A connection without its expire column, and that column in seconds.
fn connection(line: &str) -> (String, u32) {
    let whole = || (line.to_owned(), 0);
    let Some((start, rest)) = line.split_at_checked(4) else { return whole() };
    let Some((time, rest)) = rest.split_once(' ') else { return whole() };
    let Some((minutes, seconds)) = time.split_once(':') else { return whole() };
    let (Ok(minutes), Ok(seconds)) = (minutes.parse::<u32>(), seconds.parse::<u32>()) else { return whole() };
    (format!("{start}{}", rest.trim_start()), minutes * 60 + seconds)
}

fn connections(recorded: &str, ours: &str) -> Option<String> {
    let header = |text: &str| text.lines().take(HEADER).collect::<Vec<_>>().join("\n");
    if header(recorded) != header(ours) {
        return text(recorded, ours);
    }
    let group = |text: &str| {
        let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (key, expire) in text.lines().skip(HEADER).map(connection) {
            groups.entry(key).or_default().push(expire);
        }
        groups
    };
    let (recorded, ours) = (group(recorded), group(ours));
    let keys: BTreeSet<&String> = recorded.keys().chain(ours.keys()).collect();
    let mut lines = String::new();
    for key in keys {
        // Those that last come first, so that two of the same ends meet.
        let of = |groups: &BTreeMap<String, Vec<u32>>| {
            let mut times = groups.get(key).cloned().unwrap_or_default();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times
        };
        let (a, b) = (of(&recorded), of(&ours));
        let both = a.len().min(b.len());
        let near = a.iter().zip(&b).all(|(a, b)| a.abs_diff(*b) <= TOLERANCE);
        let going = a[both..].iter().chain(&b[both..]).all(|expire| *expire <= TOLERANCE);
        if !near || !going {
            let shown = |sign: char, times: &[u32]| -> String {
                times.iter().map(|expire| format!("{sign}{key} in {expire} s\n")).collect()
            };
            lines += &(shown('-', &a) + &shown('+', &b));
        }
    }
    if lines.is_empty() { None } else { Some(lines) }
}

/// A line of counters: what it is about, its five numbers, and their columns as printed.
fn counters(line: &str) -> Option<(&str, [u64; 5])> {
    let mut rest = line;
    let mut numbers = [0; 5];
    for number in numbers.iter_mut().rev() {
        let (before, word) = rest.rsplit_once(' ')?;
        *number = word.parse().ok()?;
        rest = before.trim_end();
    }
    Some((rest, numbers))
}

fn stats(recorded: &str, ours: &str) -> Option<String> {
    let pairs = || recorded.lines().zip(ours.lines());
    let same = recorded.lines().count() == ours.lines().count()
        && pairs().all(|(recorded, ours)| recorded == ours || same_counters(recorded, ours));
    if same { None } else { text(recorded, ours) }
}

fn same_counters(recorded: &str, ours: &str) -> bool {
    let (Some((name, a)), Some((our_name, b))) = (counters(recorded), counters(ours)) else { return false };
    let [connections, packets_in, packets_out, bytes_in, bytes_out] = a;
    let further = packets_out.abs_diff(b[2]);
    (name, connections, packets_in, bytes_in) == (our_name, b[0], b[1], b[3])
        && recorded.len() == ours.len()
        && further <= connections
        && BARE.iter().any(|bare| bytes_out.abs_diff(b[4]) == further * bare)
        && (packets_out < b[2]) == (bytes_out < b[4])
        // Direct routing and tunnels have none.
        && (packets_out == 0) == (b[2] == 0)
}

fn rates(recorded: &str, ours: &str) -> Option<String> {
    let form = |line: &str| match counters(line) {
        Some((name, _)) => format!("{name} and five numbers in {} columns", line.len()),
        None => line.to_owned(),
    };
    let forms = |text: &str| text.lines().map(form).collect::<Vec<_>>().join("\n");
    text(&forms(recorded), &forms(ours))
}

/// For a scheduler that draws lots: names and weights of reals stay, their last two columns are added up over all reals.
pub(crate) fn totals(listing: &str) -> String {
    let mut sums = [0u64; 2];
    let mut lines = String::new();
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["->", rest @ .., active, inactive] => {
                let numbers = [active, inactive].map(|word| word.parse::<u64>());
                let [Ok(active), Ok(inactive)] = numbers else {
                    lines += &format!("{line}\n");
                    continue;
                };
                sums = [sums[0] + active, sums[1] + inactive];
                lines += &format!("{}\n", rest.join(" "));
            }
            _ => lines += &format!("{line}\n"),
        }
    }
    format!("{lines}{} active, {} inactive\n", sums[0], sums[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTIONS: &str =
        "IPVS connection entries\npro expire state       source             virtual            destination\n";

    fn differs(arguments: &str, recorded: &str, ours: &str) -> Option<String> {
        different(arguments, recorded, ours, &Going::new())
    }

    #[test]
    fn a_count_may_lack_what_is_about_to_go() {
        let list = |real: &str, inactive: u64| {
            format!("UDP  a rr\n  -> {real:<28} Masq    1      0          {inactive:<10}\n")
        };
        let row = |time: &str, port: u16| {
            format!("UDP {time:<6} UDP         10.0.1.2:{port:<9} 10.0.1.100:53      10.0.2.12:53\n")
        };
        let ours = CONNECTIONS.to_owned() + &row("00:01", 30001) + &row("04:59", 30002) + &row("00:02", 0);
        let going = going(&ours);
        assert_eq!(going, Going::from([("10.0.2.12:53".to_owned(), 1)]));
        let recorded = list("10.0.2.12:53", 2);
        let with = |ours: &str| different("-Ln --nosort", &recorded, ours, &going);
        assert_eq!(with(&list("10.0.2.12:53", 1)), None);
        assert_eq!(with(&list("10.0.2.12:53", 3)), None);
        assert!(with(&list("10.0.2.12:53", 0)).is_some());
        assert!(with(&list("10.0.2.12:53", 1).replace("Masq    1", "Masq    2")).is_some());
        assert!(with(&list("10.0.2.12:53", 1).replace(" \n", "\n")).is_some());
        let other = different("-Ln", &list("10.0.2.11:53", 2), &list("10.0.2.11:53", 1), &going);
        assert!(other.is_some(), "another real's count");
    }

    #[test]
    fn names_of_listings_are_arguments() {
        let one = "Prot ...\n  -> Remote\nTCP  10.0.1.100:80 wlc persistent 60\n";
        for (name, expected) in [
            ("Ln", "-Ln"),
            ("Ln_nosort", "-Ln --nosort"),
            ("Ln_stats_exact", "-Ln --stats --exact"),
            ("Ln_persistent_conn", "-Ln --persistent-conn"),
            ("Ln_tun", "-Ln --tun-info"),
            ("Lnc", "-Lnc"),
            ("L_names", "-L"),
            ("S_names", "-S"),
            ("L_timeout", "-L --timeout"),
            ("L_f7", "-Ln -f 7"),
            ("L_one", "-Ln -t 10.0.1.100:80"),
        ] {
            assert_eq!(arguments(name, one).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(arguments("Ln_moon", one), None);
        assert_eq!(arguments("proc", one), None);
    }

    #[test]
    fn text_is_compared_to_the_last_blank() {
        assert_eq!(differs("-Ln", "a\nb \nc\n", "a\nb \nc\n"), None);
        assert_eq!(differs("-Ln", "a\nb \nc\n", "a\nb\nc\n").unwrap(), "-b \n+b\n");
        assert_eq!(differs("-Sn", "a\nb\n", "a\n").unwrap(), "-b\n");
        assert_eq!(differs("-Sn", "a\nb\n", "b\na\n").unwrap(), "-a\n-b\n+b\n+a\n");
    }

    #[test]
    fn connections_in_any_order_and_a_little_later() {
        let row = |time: &str, port: u16| {
            format!("TCP {time:<6} TIME_WAIT   10.0.1.2:{port}     10.0.1.100:80      10.0.2.13:80\n")
        };
        let list = |rows: &[(&str, u16)]| {
            rows.iter().fold(CONNECTIONS.to_owned(), |text, (time, port)| text + &row(time, *port))
        };
        let recorded = list(&[("01:52", 20001), ("14:59", 20002)]);
        assert_eq!(differs("-Lnc", &recorded, &list(&[("15:04", 20002), ("01:47", 20001)])), None);
        assert!(differs("-Lnc", &recorded, &list(&[("15:05", 20002), ("01:52", 20001)])).unwrap().contains("905 s"));
        assert!(differs("-Lnc", &recorded, &list(&[("01:52", 20001)])).unwrap().starts_with("-TCP"));
        assert!(differs("-Lnc", &recorded, &recorded.replace("TIME_WAIT  ", "CLOSE_WAIT ")).is_some());
        assert!(differs("-Lnc", &recorded, &recorded.replace("pro expire", "pro expires")).is_some());
        // About to go.
        assert_eq!(differs("-Lnc", &recorded, &(recorded.clone() + &row("00:05", 20003))), None);
        assert!(differs("-Lnc", &recorded, &(recorded.clone() + &row("00:06", 20003))).is_some());
    }

    #[test]
    fn counters_may_differ_by_an_acknowledgement() {
        let row = |numbers: [u64; 5]| {
            let [a, b, c, d, e] = numbers;
            format!("head\n  -> 10.0.2.11:80            {a:>9}{b:>9}{c:>9}{d:>9}{e:>9}\n")
        };
        let recorded = row([4, 20, 12, 1072, 720]);
        let with = |numbers| differs("-Ln --stats", &recorded, &row(numbers));
        assert_eq!(with([4, 20, 12, 1072, 720]), None);
        assert_eq!(with([4, 20, 13, 1072, 772]), None);
        assert_eq!(with([4, 20, 8, 1072, 512]), None);
        for wrong in [
            [5, 20, 12, 1072, 720],
            [4, 21, 12, 1124, 720],
            [4, 20, 13, 1072, 720],
            [4, 20, 13, 1072, 668],
            [4, 20, 17, 1072, 980],
        ] {
            assert!(with(wrong).is_some(), "{wrong:?}");
        }
        let none = row([4, 20, 0, 1072, 0]);
        assert!(differs("-Ln --stats", &none, &row([4, 20, 1, 1072, 52])).is_some(), "direct routing has no answers");
        let wider = recorded.replace("  -> 10.0.2.11:80 ", "  -> 10.0.2.11:80  ");
        assert!(differs("-Ln --stats", &recorded, &wider).is_some());
    }

    #[test]
    fn of_rates_the_form_counts() {
        let recorded = "TCP  10.0.1.100:80                       1        4        2      207      146\n";
        assert_eq!(differs("-Ln --rate", recorded, &recorded.replace("207", "  8")), None);
        assert!(differs("-Ln --rate", recorded, &recorded.replace(" 207", "207")).is_some());
    }

    #[test]
    fn order_of_services_and_totals() {
        let listing = "IP Virtual Server\nProt x\n  -> RemoteAddress:Port  y\nUDP  a rr\n  -> r2 1 0 4\nTCP  b rr\n  -> r1 1 1 2 \n";
        assert_eq!(
            services_sorted(listing),
            "IP Virtual Server\nProt x\n  -> RemoteAddress:Port  y\nTCP  b rr\n  -> r1 1 1 2 \nUDP  a rr\n  -> r2 1 0 4\n"
        );
        assert!(totals(listing).ends_with("UDP  a rr\nr2 1\nTCP  b rr\nr1 1\n1 active, 6 inactive\n"));
    }
}
