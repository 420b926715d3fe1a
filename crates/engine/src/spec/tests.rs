//! Tests of the module above: what it promises, as cases.

use super::*;
use crate::config::HostConfig;

#[test]
fn users_as_docker_resolves_them() {
    let passwd =
        "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/false\nbroken\nnohome:x:7:8:::\n";
    let group = "root:x:0:\nwww:x:33:\naudio:x:29:www,root\nvideo:x:44:other,www\n";
    for (text, expected) in [
        ("", Ok((0, 0, vec![0, 29], "/root"))),
        ("www", Ok((33, 33, vec![33, 29, 44], "/var/www"))),
        ("33", Ok((33, 33, vec![33, 29, 44], "/var/www"))),
        ("www:audio", Ok((33, 29, vec![29], "/var/www"))),
        ("1000", Ok((1000, 0, vec![0], "/"))),
        ("1000:2000", Ok((1000, 2000, vec![2000], "/"))),
        ("nohome", Ok((7, 8, vec![8], "/"))),
        ("ghost", Err("unable to find user ghost: no matching entries in passwd file")),
        ("www:ghosts", Err("unable to find group ghosts: no matching entries in group file")),
        ("4294967295", Err("uids and gids must be in range 0-2147483647")),
    ] {
        match (users::resolve(text, passwd, group), expected) {
            (Ok(u), Ok((uid, gid, groups, home))) => {
                assert_eq!((u.uid, u.gid, u.groups, u.home.as_str()), (uid, gid, groups, home), "{text}");
            }
            (Err(e), Err(message)) => assert_eq!(e.message, message),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
}

#[test]
fn environment_is_replaced_in_place() {
    let mut env: Vec<String> = ["PATH=/bin", "A=1", "B=2"].map(String::from).into();
    merge_env(&mut env, &["A=3".to_string(), "C".to_string(), "B".to_string(), "D=".to_string()]);
    assert_eq!(env, ["PATH=/bin", "A=3", "D="]);
}

#[test]
fn capabilities_are_clamped() {
    let every = defaults::names(u64::MAX);
    let words = |list: &[&str]| list.iter().map(|s| (*s).to_string()).collect::<Vec<_>>();
    let got = |add: &[&str], drop: &[&str], bounding: &[String]| {
        defaults::capabilities(&words(add), &words(drop), bounding)
    };
    assert_eq!(got(&[], &[], &every).unwrap().len(), 14);
    assert_eq!(got(&["all"], &[], &every).unwrap().len(), 41);
    assert_eq!(got(&[], &["ALL"], &every).unwrap().len(), 0);
    assert_eq!(got(&["net_admin"], &["all"], &every).unwrap(), ["CAP_NET_ADMIN"]);
    assert!(!got(&["ALL"], &["CAP_SYS_ADMIN"], &every).unwrap().contains(&"CAP_SYS_ADMIN".to_string()));
    assert_eq!(got(&["ALL"], &[], &words(&["CAP_KILL"])).unwrap(), ["CAP_KILL"]);
    assert_eq!(got(&["nope"], &[], &every).unwrap_err().message, "unknown capability: \"CAP_NOPE\"");
}

#[test]
fn limits() {
    let with = |memory, memory_swap, nano_cpus| HostConfig {
        memory,
        memory_swap,
        nano_cpus,
        ..HostConfig::default()
    };
    for (mut host, expected) in [
        (with(0, 0, 0), Ok(0)),
        (with(256 << 20, 0, 0), Ok(512 << 20)),
        (with(256 << 20, -1, 0), Ok(-1)),
        (with(256 << 20, 256 << 20, 0), Ok(256 << 20)),
        (with(4 << 20, 0, 0), Err("Minimum memory limit allowed is 6MB")),
        (
            with(256 << 20, 1 << 20, 0),
            Err("Minimum memoryswap limit should be larger than memory limit, see usage"),
        ),
        (
            with(0, 1 << 30, 0),
            Err("You should always set the Memory limit when using Memoryswap limit, see usage"),
        ),
        (
            with(0, 0, 9_000_000_000),
            Err("range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        ),
    ] {
        match validate(&mut host, &Machine { cpus: 2, ..Machine::default() }) {
            Ok(_) => assert_eq!(Ok(host.memory_swap), expected),
            Err(e) => assert_eq!(Err(e.message.as_str()), expected),
        }
    }
}
