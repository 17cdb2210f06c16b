//! Listings against what ipvsadm 1.31 printed for the same numbers.

use serde_json::{Value, json};

use super::{
    super::{command::Columns, names::FewNames},
    *,
};
use crate::api::types::{ConnectionView, Counters, Rates};

fn service(key: &str, settings: &Value, reals: &[RealView]) -> ServiceView {
    let service: crate::model::ServiceKey = key.parse().unwrap();
    let mut view = json!({
        "service": key, "protocol": service.protocol, "address": service.address, "port": service.port, "scheduler": "rr",
        "flags": [], "method": "direct", "on_real_down": "keep", "counters": numbers([1, 2, 3, 4, 5]), "active": 0, "inactive": 0, "reals": reals,
    });
    view.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let mut view: ServiceView = serde_json::from_value(view).unwrap();
    view.rates = rates([6, 7, 8, 9, 10]);
    view
}

fn real(endpoint: &str, settings: &Value) -> RealView {
    let endpoint: SocketAddr = endpoint.parse().unwrap();
    let mut view = json!({
        "address": endpoint.ip(), "port": endpoint.port(), "method": "nat", "weight": 1, "effective_weight": 1, "state": "up",
        "reason": null, "interface": null, "mac": null, "active": 0, "inactive": 0, "counters": Counters::default(),
    });
    view.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    serde_json::from_value(view).unwrap()
}

/// In the order of the columns.
fn numbers([connections, packets, reply_packets, bytes, reply_bytes]: [u64; 5]) -> Counters {
    Counters { connections, packets, bytes, reply_packets, reply_bytes }
}

fn rates([connections, packets, reply_packets, bytes, reply_bytes]: [u64; 5]) -> Rates {
    Rates { connections, packets, bytes, reply_packets, reply_bytes }
}

fn many() -> Vec<ServiceView> {
    let mut first =
        real("10.0.2.11:80", &json!({"active": 1_234_567_890, "inactive": 3_755_744_309_u64, "lower_threshold": 5}));
    let large = [1_000_000_000, 4_294_967_295, 0, 99_999_999_999, 100_000_000_000];
    (first.counters, first.rates) =
        (numbers(large), rates([99_999_999, 100_000_000, 4_294_967_295, 100_000_000, 4_000_000_000]));
    first.upper_threshold = 2_147_483_647;
    first.templates = 7;
    let other = json!({"weight": 2_147_483_647, "method": "direct", "active": 1, "inactive": 2, "templates": 3});
    let mut tcp = service("tcp://10.0.1.100:80", &json!({}), &[first, real("10.0.2.111:65535", &other)]);
    tcp.counters = numbers([99_999_999, 100_000_000, 999_999_999, 999_999_999_999, 100_000_000_000_000]);
    let tunnels = [
        real("10.0.2.11:0", &json!({"method": "tunnel"})),
        real("10.0.2.12:0", &json!({"method": "tunnel", "is_local": true})),
        real("10.0.2.13:0", &json!({"method": "gue", "tunnel_port": 6080, "tunnel_checksum": false})),
        real("10.0.2.14:0", &json!({"method": "gre", "tunnel_checksum": true})),
        real("10.0.2.15:0", &json!({"method": "fullnat"})),
    ];
    let mask = json!({"timeout": 300, "netmask": "255.255.255.0"});
    vec![
        service("mark6://7", &json!({"persistence": {"timeout": 60, "netmask": "/64"}}), &[]),
        service(
            "mark://3",
            &json!({"scheduler": "sh", "flags": ["sh-port", "sh-fallback"], "persistence": mask, "one_packet": true}),
            &tunnels,
        ),
        service("sctp://10.0.1.1:2905", &json!({"scheduler": "mh"}), &[]),
        service("tcp://[fd00:1::100]:80", &json!({}), &[real("[fd00:2::11]:80", &json!({}))]),
        tcp,
        service("udp://10.0.1.100:53", &json!({"scheduler": "lblcr", "persistence": {"timeout": 300}}), &[]),
    ]
}

fn listed(columns: Columns, exact: bool) -> String {
    let words = Words { numeric: true, names: &FewNames };
    services::all(&many(), &services::Style { columns, exact, nosort: false }, &words)
}

/// Lines that the sources indent, with a bar where the line ends, as blanks count.
#[track_caller]
fn same(text: &str, expected: &str) {
    let barred: String = text.lines().map(|line| format!("{line}|\n")).collect();
    let expected: String =
        expected.lines().skip(1).map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    assert_eq!(barred, expected.trim_end_matches(' '), "\n{barred}");
}

#[test]
fn services_and_reals() {
    same(
        &listed(Columns::Plain, false),
        "
    IP Virtual Server version 1.2.1 (size=4096)|
    Prot LocalAddress:Port Scheduler Flags|
      -> RemoteAddress:Port           Forward Weight ActiveConn InActConn|
    TCP  10.0.1.100:80 rr|
      -> 10.0.2.11:80                 Masq    1      1234567890 3755744309|
      -> 10.0.2.111:65535             Route   2147483647 1          2         |
    UDP  10.0.1.100:53 lblcr persistent 300|
    SCTP 10.0.1.1:2905 mh|
    TCP  [fd00:1::100]:80 rr|
      -> [fd00:2::11]:80              Masq    1      0          0         |
    FWM  3 sh (sh-fallback,sh-port) persistent 300 mask 255.255.255.0 ops|
      -> 10.0.2.11:0                  Tunnel  1      0          0         |
      -> 10.0.2.12:0                  Local   1      0          0         |
      -> 10.0.2.13:0                  Tunnel  1      0          0         |
      -> 10.0.2.14:0                  Tunnel  1      0          0         |
      -> 10.0.2.15:0                  Masq    1      0          0         |
    FWM  7 IPv6 rr persistent 60 mask 64|
",
    );
}

#[test]
fn counters_in_nine_columns() {
    let text = listed(Columns::Stats, false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1..6],
        [
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes",
            "  -> RemoteAddress:Port",
            "TCP  10.0.1.100:80                99999999  100000K  999999K     999G     100T",
            "  -> 10.0.2.11:80                    1000M    4294M        0   99999M     100G",
            "  -> 10.0.2.111:65535                    0        0        0        0        0",
        ]
    );
    let text = listed(Columns::Stats, true);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[3..5],
        [
            "TCP  10.0.1.100:80                99999999 100000000 999999999 999999999999 100000000000000",
            "  -> 10.0.2.11:80                 1000000000 4294967295        0 99999999999 100000000000",
        ]
    );
}

#[test]
fn rates_of_reals_are_shortened_in_bytes_only() {
    let text = listed(Columns::Rate, false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1..5],
        [
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS",
            "  -> RemoteAddress:Port",
            "TCP  10.0.1.100:80                       6        7        8        9       10",
            "  -> 10.0.2.11:80                 99999999 100000000 4294967295  100000K    4000M",
        ]
    );
}

#[test]
fn thresholds_persistence_and_tunnels() {
    let three =
        |columns| listed(columns, false).lines().skip(1).take(5).map(|line| format!("{line}|")).collect::<Vec<_>>();
    assert_eq!(
        three(Columns::Thresholds),
        [
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn |",
            "  -> RemoteAddress:Port|",
            "TCP  10.0.1.100:80 rr|",
            "  -> 10.0.2.11:80                 2147483647 5          1234567890 3755744309|",
            "  -> 10.0.2.111:65535             0          0          1          2         |",
        ]
    );
    assert_eq!(
        three(Columns::PersistentConn),
        [
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn |",
            "  -> RemoteAddress:Port|",
            "TCP  10.0.1.100:80 rr|",
            "  -> 10.0.2.11:80                 1         7           1234567890 3755744309|",
            "  -> 10.0.2.111:65535             2147483647 3           1          2         |",
        ]
    );
    let text = listed(Columns::TunInfo, false);
    let tunnels: Vec<&str> = text.lines().filter(|line| line.contains(":0 ") || line.contains("Forward")).collect();
    assert_eq!(
        tunnels,
        [
            "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn",
            "  -> 10.0.2.11:0                  Tunnel  ipip          1      0          0         ",
            "  -> 10.0.2.12:0                  Local   n/a           1      0          0         ",
            "  -> 10.0.2.13:0                  Tunnel  gue:6080:-c   1      0          0         ",
            "  -> 10.0.2.14:0                  Tunnel  gre:+c        1      0          0         ",
            "  -> 10.0.2.15:0                  Masq    n/a           1      0          0         ",
        ]
    );
}

#[test]
fn unsorted_the_newest_real_is_the_first() {
    let words = Words { numeric: true, names: &FewNames };
    let style = services::Style { columns: Columns::Plain, exact: false, nosort: true };
    let text = services::all(&many(), &style, &words);
    let ends = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
    let shown: Vec<String> = text.lines().skip(3).map(ends).collect();
    assert_eq!(
        shown,
        [
            "10.0.1.1:2905",
            "[fd00:1::100]:80",
            "[fd00:2::11]:80",
            "10.0.1.100:80",
            "10.0.2.111:65535",
            "10.0.2.11:80",
            "10.0.1.100:53",
            // Marks last.
            "7",
            "3",
            "10.0.2.15:0",
            "10.0.2.14:0",
            "10.0.2.13:0",
            "10.0.2.12:0",
            "10.0.2.11:0",
        ]
    );
}

#[test]
fn names_and_what_is_left_of_long_ones() {
    let words = Words { numeric: false, names: &FewNames };
    let view = service(
        "tcp://192.0.2.1:80",
        &json!({}),
        &[real("192.0.2.1:443", &json!({})), real("10.0.2.11:8080", &json!({})), real("[fd00::1]:80", &json!({}))],
    );
    let style = services::Style { columns: Columns::Plain, exact: false, nosort: false };
    same(
        &services::one(&view, &style, &words),
        "
    Prot LocalAddress:Port Scheduler Flags|
      -> RemoteAddress:Port           Forward Weight ActiveConn InActConn|
    TCP  www.a-long-name-of-a-host.ex rr|
      -> www.a-long-name-of-a-host.ex Masq    1      0          0         |
      -> 10.0.2.11:8080               Masq    1      0          0         |
      -> [fd00::1]:http               Masq    1      0          0         |
",
    );
    let saved = save::save(&[view], &words);
    assert!(saved.starts_with("-A -t www.a-long-name-of-a-host.example.org:http -s rr\n"), "in full: {saved}");
}

#[test]
fn saved_lines() {
    let words = Words { numeric: true, names: &FewNames };
    assert_eq!(
        save::save(&many(), &words),
        "\
-A -t 10.0.1.100:80 -s rr
-a -t 10.0.1.100:80 -r 10.0.2.11:80 -m -w 1
-a -t 10.0.1.100:80 -r 10.0.2.111:65535 -g -w 2147483647
-A -u 10.0.1.100:53 -s lblcr -p 300
-A --sctp-service 10.0.1.1:2905 -s mh
-A -t [fd00:1::100]:80 -s rr
-a -t [fd00:1::100]:80 -r [fd00:2::11]:80 -m -w 1
-A -f 3 -s sh -p 300 -M 255.255.255.0 -o -b sh-fallback,sh-port
-a -f 3 -r 10.0.2.11:0 -i -w 1 --tun-type ipip
-a -f 3 -r 10.0.2.12:0 -g -w 1
-a -f 3 -r 10.0.2.13:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -f 3 -r 10.0.2.14:0 -i -w 1 --tun-type gre --tun-csum
-a -f 3 -r 10.0.2.15:0 -m -w 1
-A -f 7 -6 -s rr -p 60 -M 64
"
    );
}

#[test]
fn a_large_mark_is_negative_in_listings_as_ipvsadm_prints_it() {
    let words = Words { numeric: true, names: &FewNames };
    let views = [service("mark://4294967295", &json!({}), &[])];
    let style = services::Style { columns: Columns::Plain, exact: false, nosort: false };
    assert!(services::all(&views, &style, &words).ends_with("FWM  -1 rr\n"));
    assert_eq!(save::save(&views, &words), "-A -f 4294967295 -s rr\n", "this one is read back");
}

#[test]
fn connections_and_templates() {
    let view = |protocol: &str, state: &str, [client, virtual_, real]: [&str; 3], expires: u64| -> ConnectionView {
        serde_json::from_value(json!({
            "protocol": protocol, "client": client, "virtual": virtual_, "real": real, "state": state,
            "idle_seconds": 0, "expires_seconds": expires,
        }))
        .unwrap()
    };
    let views = [
        view("tcp", "ESTABLISHED", ["10.0.1.2:20001", "10.0.1.100:80", "10.0.2.11:80"], 892),
        view("udp", "UDP", ["10.0.1.2:30001", "10.0.1.100:53", "10.0.2.11:53"], 292),
        view("mark", "ASSURED", ["10.0.1.11:0", "0.0.0.1:0", "10.0.2.12:0"], 8000),
        view("sctp", "ESTABLISHED", ["10.0.1.2:80", "10.0.1.100:2905", "10.0.2.11:2905"], 3),
        view("tcp", "TIME_WAIT", ["[fd00:1::2]:80", "[fd00:1::100]:80", "[fd00:2::11]:80"], 12),
    ];
    let text = |numeric| connections::head(false) + &connections::lines(&views, &Words { numeric, names: &FewNames });
    assert_eq!(
        text(true),
        "\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:52  ESTABLISHED 10.0.1.2:20001     10.0.1.100:80      10.0.2.11:80
UDP 04:52  UDP         10.0.1.2:30001     10.0.1.100:53      10.0.2.11:53
IP  133:20 ASSURED     10.0.1.11:0        0.0.0.1:0          10.0.2.12:0
SCTP 00:03  ESTABLISHED 10.0.1.2:80        10.0.1.100:2905    10.0.2.11:2905
TCP 00:12  TIME_WAIT   [fd00:1::2]:80     [fd00:1::100]:80   [fd00:2::11]:80
"
    );
    assert!(text(false).contains("UDP 04:52  UDP         10.0.1.2:30001     10.0.1.100:domain  10.0.2.11:domain\n"));
    assert!(text(false).contains("[fd00:1::2]:http   [fd00:1::100]:http [fd00:2::11]:http\n"));
    assert!(connections::head(true).ends_with("destination        pe name          pe_data\n"));
}
