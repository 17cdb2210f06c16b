//! A real server joins and leaves: what it changes, and that nothing stays behind.

mod net_support;
mod net_wait;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use lb_userspace::realserver::{
    AttachedLink, DecapAttacher, DecapError, JoinArgs, Paths, RealServerError, join, leave, status,
};
use lb_userspace::signal::neighbour::{NextHop, Target, spawn};
use net_support::Netns;
use net_wait::wait_for;
use tokio::sync::watch;

const VIP: &str = "192.0.2.1";
const VIP6: &str = "2001:db8::1";

/// A decapsulator that is only written down, and refuses one interface.
#[derive(Debug, Default)]
struct FakeDecap {
    attached: Mutex<BTreeSet<String>>,
    refuses: Option<&'static str>,
}

impl DecapAttacher for FakeDecap {
    fn attach(&self, interface: &str) -> Result<AttachedLink, DecapError> {
        if self.refuses == Some(interface) {
            return Err(DecapError("refused by the test".into()));
        }
        assert!(self.attached.lock().expect("lock").insert(interface.to_owned()), "attached twice");
        Ok(AttachedLink { interface: interface.to_owned(), ifindex: 1, pin: PathBuf::from("/nowhere") })
    }

    fn detach(&self, interface: &str) -> Result<(), DecapError> {
        self.attached.lock().expect("lock").remove(interface);
        Ok(())
    }

    fn is_attached(&self, interface: &str) -> Result<bool, DecapError> {
        Ok(self.attached.lock().expect("lock").contains(interface))
    }
}

/// A director and a real server on one segment, and a folder for the record that goes with them.
struct Lab {
    director: Netns,
    real: Netns,
    folder: PathBuf,
    decap: FakeDecap,
}

impl Lab {
    fn new() -> Option<Self> {
        let (director, real) = (Netns::new("dir")?, Netns::new("real")?);
        director.veth("eth0", &real, "eth0");
        real.veth("eth1", &director, "eth1");
        director.ip("addr add 10.0.0.1/24 dev eth0");
        real.ip("addr add 10.0.0.2/24 dev eth0");
        director.ip("addr add fd00::1/64 dev eth0 nodad");
        real.ip("addr add fd00::2/64 dev eth0 nodad");
        // The addresses that links give themselves must not appear in the middle of a comparison.
        for interface in ["eth0", "eth1"] {
            real.ip(&format!("link set {interface} addrgenmode none"));
            real.ip(&format!("addr flush dev {interface} scope link"));
        }
        let folder = std::env::temp_dir().join(format!("{}-state", real.name));
        Some(Self { director, real, folder, decap: FakeDecap::default() })
    }

    fn paths(&self) -> Paths {
        Paths::new(&self.folder)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn args(vips: &[&str], tunnel: bool, interfaces: &[&str]) -> JoinArgs {
    JoinArgs {
        vips: vips.iter().map(|vip| vip.parse().expect("address")).collect(),
        tunnel,
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn sysctl(key: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{key}")).expect(key).trim().to_owned()
}

fn set_sysctl(key: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{key}"), value).expect(key);
}

/// Every setting of every interface and every address of this namespace.
fn snapshot(netns: &Netns) -> BTreeMap<String, String> {
    fn walk(folder: &Path, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, into);
            } else if let Ok(value) = fs::read_to_string(&path) {
                into.insert(path.display().to_string(), value);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(Path::new("/proc/sys/net/ipv4/conf"), &mut all);
    walk(Path::new("/proc/sys/net/ipv6/conf"), &mut all);
    all.insert("addresses".into(), netns.ip("-o addr show"));
    all.insert("routes".into(), netns.ip("route show table all"));
    all.insert("routes 6".into(), netns.ip("-6 route show table all"));
    all
}

#[test]
fn leave_restores_everything_that_join_changed() {
    let Some(lab) = Lab::new() else { return };
    lab.real.run(|| async {
        set_sysctl("ipv4/conf/all/rp_filter", "2");
        set_sysctl("ipv4/conf/eth0/rp_filter", "1");
        set_sysctl("ipv4/conf/eth0/arp_announce", "1");
        let before = snapshot(&lab.real);
        let wished = args(&[VIP, VIP6], true, &["eth0", "eth1"]);
        let joined = join(&wished, &lab.paths(), &lab.decap).await.expect("joins");
        assert_eq!(joined.warnings, Vec::<String>::new());

        for key in ["all", "lo", "eth0", "eth1"] {
            assert_eq!(sysctl(&format!("ipv4/conf/{key}/arp_ignore")), "1", "{key}");
            assert_eq!(sysctl(&format!("ipv4/conf/{key}/arp_announce")), "2", "{key}");
        }
        for key in ["all", "eth0", "eth1"] {
            assert_eq!(sysctl(&format!("ipv4/conf/{key}/rp_filter")), "0", "{key}");
        }
        let addresses = lab.real.ip("-o addr show dev lo");
        assert!(addresses.contains("192.0.2.1/32 scope host lo"), "{addresses}");
        assert!(addresses.contains("2001:db8::1/128 scope global nodad deprecated"), "{addresses}");
        assert!(!addresses.contains("tentative"), "{addresses}");
        assert_eq!(lab.decap.attached.lock().expect("lock").len(), 2);
        let now = status(&lab.paths(), &lab.decap).await.expect("status");
        assert!(now.joined && now.problems.is_empty(), "{now:?}");

        let left = leave(&lab.paths(), &lab.decap).await.expect("leaves");
        assert_eq!((left.undone.len(), left.warnings.len()), (joined.changes.len(), 0));
        assert_eq!(snapshot(&lab.real), before);
        assert!(lab.decap.attached.lock().expect("lock").is_empty());
        assert!(!lab.paths().state_file.exists());
        assert_eq!(leave(&lab.paths(), &lab.decap).await.expect("again").undone, Vec::<String>::new());
    });
}

#[test]
fn joining_again_changes_nothing_and_can_add() {
    let Some(lab) = Lab::new() else { return };
    lab.real.run(|| async {
        let before = snapshot(&lab.real);
        join(&args(&[VIP], false, &["eth0"]), &lab.paths(), &lab.decap).await.expect("joins");
        let once = snapshot(&lab.real);
        let again = join(&args(&[VIP], false, &["eth0"]), &lab.paths(), &lab.decap).await.expect("joins");
        assert_eq!((again.changes, again.warnings), (vec![], vec![]));
        assert_eq!(snapshot(&lab.real), once);
        let more = join(&args(&["192.0.2.2", VIP6], false, &[]), &lab.paths(), &lab.decap).await.expect("joins");
        assert_eq!(more.changes, ["address 192.0.2.2 on lo", "address 2001:db8::1 on lo"]);
        leave(&lab.paths(), &lab.decap).await.expect("leaves");
        assert_eq!(snapshot(&lab.real), before);
    });
}

#[test]
fn what_others_set_or_had_before_is_left_alone() {
    let Some(lab) = Lab::new() else { return };
    lab.real.run(|| async {
        lab.real.ip("addr add 192.0.2.1/32 dev lo");
        set_sysctl("ipv4/conf/all/arp_ignore", "1");
        let wished = args(&[VIP, "192.0.2.2", "192.0.2.3"], false, &["eth0"]);
        let joined = join(&wished, &lab.paths(), &lab.decap).await.expect("joins");
        assert_eq!(joined.warnings, ["192.0.2.1 is on lo already: `leave` will not remove it"]);

        set_sysctl("ipv4/conf/eth0/arp_announce", "1");
        lab.real.ip("addr del 192.0.2.3/32 dev lo");
        let now = status(&lab.paths(), &lab.decap).await.expect("status");
        let problems = ["address 192.0.2.3 is no longer on lo", "net/ipv4/conf/eth0/arp_announce is 1, not 2"];
        assert_eq!(now.problems, problems);

        let left = leave(&lab.paths(), &lab.decap).await.expect("leaves");
        assert_eq!(left.warnings.len(), 2, "{left:?}");
        assert_eq!(sysctl("ipv4/conf/eth0/arp_announce"), "1");
        assert_eq!(sysctl("ipv4/conf/all/arp_ignore"), "1");
        assert_eq!(sysctl("ipv4/conf/all/arp_announce"), "0");
        let addresses = lab.real.ip("-o addr show dev lo");
        assert!(addresses.contains("192.0.2.1/32") && !addresses.contains("192.0.2.2/32"), "{addresses}");
    });
}

#[test]
fn joining_again_repairs_what_others_undid() {
    let Some(lab) = Lab::new() else { return };
    lab.real.run(|| async {
        let before = snapshot(&lab.real);
        let wished = args(&[VIP, VIP6], false, &["eth0"]);
        join(&wished, &lab.paths(), &lab.decap).await.expect("joins");
        set_sysctl("ipv4/conf/all/arp_ignore", "0");
        lab.real.ip("addr del 192.0.2.1/32 dev lo");
        join(&wished, &lab.paths(), &lab.decap).await.expect("repairs");
        assert_eq!(sysctl("ipv4/conf/all/arp_ignore"), "1");
        assert!(status(&lab.paths(), &lab.decap).await.expect("status").problems.is_empty());
        leave(&lab.paths(), &lab.decap).await.expect("leaves");
        assert_eq!(snapshot(&lab.real), before);
    });
}

#[test]
fn a_join_that_fails_half_way_leaves_no_trace() {
    let Some(mut lab) = Lab::new() else { return };
    lab.decap.refuses = Some("eth1");
    lab.real.run(|| async {
        let before = snapshot(&lab.real);
        let wished = args(&[VIP], true, &["eth0", "eth1"]);
        let error = join(&wished, &lab.paths(), &lab.decap).await.expect_err("refused");
        assert_eq!(error.to_string(), "decapsulator on eth1: refused by the test");
        assert_eq!(snapshot(&lab.real), before);
        assert!(lab.decap.attached.lock().expect("lock").is_empty());
        assert!(!lab.paths().state_file.exists());

        // The same after a join that succeeded: only the second one is taken back.
        join(&args(&[VIP], false, &[]), &lab.paths(), &lab.decap).await.expect("joins");
        let joined = snapshot(&lab.real);
        let record = fs::read_to_string(lab.paths().state_file).expect("a record");
        join(&wished, &lab.paths(), &lab.decap).await.expect_err("refused");
        assert_eq!(snapshot(&lab.real), joined);
        assert_eq!(fs::read_to_string(lab.paths().state_file).expect("a record"), record);
        leave(&lab.paths(), &lab.decap).await.expect("leaves");
        assert_eq!(snapshot(&lab.real), before);
    });
}

#[test]
fn wishes_that_cannot_work_are_refused_before_any_change() {
    let Some(lab) = Lab::new() else { return };
    lab.real.run(|| async {
        let before = snapshot(&lab.real);
        for (wished, part) in [
            (args(&["10.0.0.2"], false, &[]), "is an address of eth0"),
            (args(&[VIP], true, &[]), "a tunnel needs the interface"),
            (args(&[VIP], false, &["eth7"]), "there is no interface eth7"),
            (args(&[VIP], true, &["lo"]), "lo is not an interface"),
        ] {
            let error = join(&wished, &lab.paths(), &lab.decap).await.expect_err(part);
            assert!(matches!(error, RealServerError::Refused(_)) && error.to_string().contains(part), "{error}");
        }
        fs::write(lab.paths().state_file, "{\"version\": 99, \"namespaces\": {}}").expect("write");
        let error = join(&args(&[VIP], false, &[]), &lab.paths(), &lab.decap).await.expect_err("refused");
        assert!(matches!(error, RealServerError::Record { .. }), "{error}");
        assert_eq!(snapshot(&lab.real), before);
    });
}

#[test]
fn namespaces_of_one_host_do_not_mix() {
    let Some(lab) = Lab::new() else { return };
    let in_director = lab.director.run(|| async {
        join(&args(&["192.0.2.9"], false, &[]), &lab.paths(), &lab.decap).await.expect("joins");
        snapshot(&lab.director)
    });
    lab.real.run(|| async {
        assert!(!status(&lab.paths(), &lab.decap).await.expect("status").joined);
        join(&args(&[VIP], false, &[]), &lab.paths(), &lab.decap).await.expect("joins");
        let left = leave(&lab.paths(), &lab.decap).await.expect("leaves");
        assert!(left.undone.contains(&"address 192.0.2.1 on lo".to_owned()));
    });
    lab.director.run(|| async {
        assert_eq!(snapshot(&lab.director), in_director);
        let left = leave(&lab.paths(), &lab.decap).await.expect("leaves");
        assert!(left.undone.contains(&"address 192.0.2.9 on lo".to_owned()));
    });
    assert!(!lab.paths().state_file.exists());
}

#[test]
fn a_record_of_another_boot_is_void() {
    let Some(lab) = Lab::new() else { return };
    lab.real.run(|| async {
        join(&args(&[VIP], false, &[]), &lab.paths(), &lab.decap).await.expect("joins");
        let file = lab.paths().state_file;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot id");
        let record = fs::read_to_string(&file).expect("a record");
        fs::write(&file, record.replace(boot_id.trim(), "another")).expect("write");
        let left = leave(&lab.paths(), &lab.decap).await.expect("leaves");
        assert_eq!((left.undone, left.warnings), (vec![], vec![]));
        assert_eq!(sysctl("ipv4/conf/all/arp_ignore"), "1");
    });
}

/// Whether the director, asking by ARP or ND, gets an answer for an address.
fn answers(lab: &Lab, address: &str) -> bool {
    let address: IpAddr = address.parse().expect("address");
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    lab.director.ip(&format!("route replace {address}/{prefix} dev eth0"));
    lab.director.ip("neigh flush dev eth0");
    lab.director.run(|| async {
        let target = Target { address, on_link: true };
        let (_targets, receiver) = watch::channel(std::sync::Arc::new(BTreeSet::from([target])));
        let mut next_hops = spawn(receiver).next_hops;
        let found = wait_for("answer or none", Duration::from_secs(8), &mut next_hops, |map| match map.get(&target) {
            Some(NextHop::Resolved(_)) => Some(true),
            Some(NextHop::Unresolved { reason }) if reason.starts_with("no answer") => Some(false),
            _ => None,
        });
        found.await.0
    })
}

#[test]
fn the_network_gets_no_answer_for_virtual_addresses() {
    let Some(lab) = Lab::new() else { return };
    lab.real.run(|| async {
        // As a router, too: a router is the one that might answer for others.
        set_sysctl("ipv4/conf/all/forwarding", "1");
        set_sysctl("ipv6/conf/all/forwarding", "1");
        lab.real.ip("addr add 192.0.2.7/32 dev lo");
    });
    assert!(answers(&lab, "192.0.2.7"), "without arp_ignore Linux answers for what is on lo");
    lab.real.run(|| async {
        join(&args(&[VIP, VIP6], false, &[]), &lab.paths(), &lab.decap).await.expect("joins");
    });
    assert!(answers(&lab, "10.0.0.2") && answers(&lab, "fd00::2"), "the real server's own addresses answer");
    assert!(!answers(&lab, VIP), "ARP for the virtual address is answered");
    assert!(!answers(&lab, VIP6), "ND for the virtual address is answered");
}

#[test]
fn packets_for_virtual_addresses_are_accepted_and_answered_from_them() {
    let Some(lab) = Lab::new() else { return };
    let listener = lab.real.run(|| async {
        join(&args(&[VIP, VIP6], false, &[]), &lab.paths(), &lab.decap).await.expect("joins");
        std::net::TcpListener::bind("[::]:8080").expect("bind")
    });
    // A gateway route delivers the packet as direct routing does: the real's MAC, the virtual address inside.
    lab.director.ip("route add 192.0.2.1/32 via 10.0.0.2");
    lab.director.ip("-6 route add 2001:db8::1/128 via fd00::2");
    for vip in [VIP, VIP6] {
        let target = std::net::SocketAddr::new(vip.parse().expect("address"), 8080);
        lab.director.run(|| async move {
            let connect = tokio::net::TcpStream::connect(target);
            let stream = tokio::time::timeout(Duration::from_secs(3), connect).await.expect("in time");
            assert_eq!(stream.expect("connects").peer_addr().expect("address").ip(), target.ip());
        });
    }
    drop(listener);
    // The host does not use the addresses of its own accord.
    for (family, to) in [("-4", "10.0.0.1"), ("-6", "fd00::1")] {
        let route = lab.real.ip(&format!("{family} route get {to}"));
        assert!(!route.contains(VIP) && !route.contains(VIP6), "{route}");
    }
}
