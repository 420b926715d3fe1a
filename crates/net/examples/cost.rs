//! What the network part of a start costs, in microseconds: `cost [rounds [explain]]`, as root.
//!
//! It runs under `unshare --net --mount`, so that the host's network is not touched. Minimum and
//! median of each step; the steps are those that a start with one published port takes.

use net::{BridgeConfig, EndpointConfig, Netns, Network, PortMap, Protocol};
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode};
use std::time::Instant;

const INSIDE: &str = "TARE_NET_COST_INSIDE";

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_none() {
        let own = std::env::current_exe().expect("own path");
        let status = Command::new("unshare")
            .args(["--net", "--mount"])
            .arg(own)
            .args(std::env::args().skip(1))
            .env(INSIDE, "1")
            .status();
        return if status.is_ok_and(|s| s.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(50);
    if std::env::args().nth(2).is_some()
        && let Ok(sink) = rustix::io::dup(std::io::stdout())
    {
        sys::trace::set_process_sink(sink);
    }
    match measure(rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}: {:?}", std::error::Error::source(&e).map(ToString::to_string));
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: u16) -> net::Result<()> {
    const STEPS: [&str; 6] =
        ["open (all there)", "netns", "attach", "publish 1", "unpublish 1", "publish 100"];
    let mut samples: [Vec<f64>; STEPS.len()] = Default::default();
    let first = Instant::now();
    Network::open(&BridgeConfig::default())?;
    println!("open (nothing there): {:.0} µs", micros(first));
    for round in 0..rounds {
        let [a, b] = (round + 2).to_be_bytes();
        let address = Ipv4Addr::new(172, 17, a, b);
        let map = |host_port| PortMap {
            host_ip: Ipv4Addr::UNSPECIFIED.into(),
            host_port,
            container_ip: address.into(),
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let mut timed = |step: usize, since: Instant| samples[step].push(micros(since));
        let start = Instant::now();
        let network = Network::open(&BridgeConfig::default())?.network;
        timed(0, start);
        let start = Instant::now();
        let netns = Netns::create()?;
        timed(1, start);
        let config = EndpointConfig {
            addresses: vec![address.into()],
            mac: net::MacAddr::from_ip(address),
            name: "eth0".to_owned(),
            publishes: true,
            default_route: [true, false],
            isolated: false,
        };
        let start = Instant::now();
        network.attach(&netns, &config)?;
        timed(2, start);
        let start = Instant::now();
        network.publish(&[map(8080)])?;
        timed(3, start);
        let start = Instant::now();
        network.unpublish(&[map(8080)])?;
        timed(4, start);
        let many: Vec<PortMap> = (9000..9100).map(map).collect();
        let start = Instant::now();
        network.publish(&many)?;
        timed(5, start);
        network.unpublish(&many)?;
    }
    for (name, mut list) in STEPS.into_iter().zip(samples) {
        list.sort_by(f64::total_cmp);
        println!("{name:>20}: min {:6.1}  median {:6.1} µs", list[0], list[list.len() / 2]);
    }
    Ok(())
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
