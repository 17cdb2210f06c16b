use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use lb_common::abi::names::*;
use lb_common::abi::settings::*;
use lb_tests::director::*;
use lb_tests::packet::*;
use lb_userspace::dataplane::{loader::*, objects, pins::Geometry, tables::*};
fn main() {
    let geometry = Geometry { buckets_v4: 1024, buckets_v6: 1024, reals: 64, cpus: possible_cpus() };
    let settings = Settings {
        layout_version: 1,
        tick_shift: 8,
        timeouts: DEFAULT_TIMEOUTS,
        hash_key: [123456789, 987654321],
        ..Default::default()
    };
    let mut o = Loaded::load_unpinned(&geometry, &settings).unwrap();
    let p: &mut Xdp = o.program_mut(PROGRAM_DIRECTOR).unwrap().try_into().unwrap();
    p.load().unwrap();
    let maps = Maps::of(|n| map_of(&o, n)).unwrap();
    let mut t = Tables::adopt(maps, geometry).unwrap();
    t.set_settings(&settings);
    for k in ["tcp://10.0.0.100:80", "tcp://[fd00::100]:80"] {
        let k = k.parse().unwrap();
        t.add_service(k).unwrap();
        let r = direct("10.0.1.1:80", 1);
        t.set_real(&k, endpoint(&r).unwrap(), &r).unwrap();
        t.set_pool(
            &k,
            Pool { scheduler: 0, flags: 0, members: vec![(endpoint(&r).unwrap(), 1)], ring: vec![], weight_start: 1 },
        )
        .unwrap();
    }
    let mut rs = aya::Ebpf::load(objects::REALSERVER).unwrap();
    let e: &mut Xdp = rs.program_mut(PROGRAM_PASS).unwrap().try_into().unwrap();
    e.load().unwrap();
    let p: &mut Xdp = o.program_mut(PROGRAM_DIRECTOR).unwrap().try_into().unwrap();
    let run = |p: &Xdp, f: &[u8], n| {
        p.test_run(TestRunOptions { data_in: Some(f), repeat: n, ..Default::default() }).unwrap().duration.as_nanos()
    };
    let v4 = |fl| Packet::v4("10.8.0.1", "10.0.0.100").tcp(4000, 80, fl).build();
    let v6 = |fl| Packet::v6("fd00::1", "fd00::100").tcp(4000, 80, fl).build();
    for f in [v4(SYN), v4(ACK), v6(SYN), v6(ACK)] {
        run(p, &f, 1);
    }
    let mut arp = v4(SYN);
    arp[12] = 8;
    arp[13] = 6;
    let other = Packet::v4("10.8.0.1", "10.0.0.101").tcp(4000, 80, ACK).build();
    let cut = other[..30].to_vec();
    for _ in 0..3 {
        for (n, f) in [
            ("arp", arp.clone()),
            ("cut ip", cut.clone()),
            ("no service", other.clone()),
            ("dr v4", v4(ACK)),
            ("dr v6", v6(ACK)),
        ] {
            println!("{n}: {} (empty {})", run(p, &f, 1 << 20), run(e, &f, 1 << 20));
        }
    }
    println!("id {}", p.info().unwrap().id());
    if std::env::args().nth(1).is_some() {
        let id = p.info().unwrap().id().to_string();
        let out = std::process::Command::new("bpftool").args(["prog", "dump", "xlated", "id", &id]).output().unwrap();
        std::fs::write("/tmp/rows-k61/xlated.txt", out.stdout).unwrap();
        let out = std::process::Command::new("bpftool").args(["prog", "dump", "jited", "id", &id]).output().unwrap();
        std::fs::write("/tmp/rows-k61/jited.txt", [out.stdout, out.stderr].concat()).unwrap();
    }
}
