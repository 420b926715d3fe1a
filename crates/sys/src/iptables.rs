//! The legacy iptables, read only (linux/netfilter_ipv4/ip_tables.h): its rules live beside nf_tables,
//! which can neither see nor change them.
//!
//! The table of the calling thread's network namespace comes by getsockopt(2). What is read here is
//! only what tells whether packets are dropped at the end of a chain and which interfaces rules name.

use crate::{Error, Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

const IPT_SO_GET_INFO: libc::c_int = 64;
const IPT_SO_GET_ENTRIES: libc::c_int = 65;
/// The hook of packets that pass through (NF_INET_FORWARD).
const FORWARD: usize = 2;
/// struct ipt_getinfo: name, valid_hooks, hook_entry[5], underflow[5], num_entries, size.
const INFO_LEN: usize = 32 + 4 + 20 + 20 + 4 + 4;
/// struct ipt_get_entries: name, size, then the entries aligned to eight bytes.
const ENTRIES_HEADER: usize = 40;
/// struct ipt_entry without its matches: the addresses, names and masks are its first 84 bytes.
const ENTRY_LEN: usize = 112;
const NAME_LEN: usize = 16;
/// A table larger than this is not read.
const MAX_TABLE: usize = 16 * 1024 * 1024;
/// The standard target's verdict for a drop (−NF_DROP − 1).
const VERDICT_DROP: i32 = -1;

/// What the `filter` table does with packets that pass through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// Whether the chain's policy is DROP.
    pub drops: bool,
    /// The incoming and outgoing interfaces that rules of the whole table name, where they name one.
    pub interfaces: Vec<(String, String)>,
}

/// Reads the `filter` table, `None` when the legacy iptables is not in use here.
pub fn forwarding() -> Result<Option<Forwarding>> {
    // Asking the kernel for a table that does not exist yet would make it.
    match std::fs::read_to_string("/proc/thread-self/net/ip_tables_names") {
        Ok(names) if names.lines().any(|n| n == "filter") => {}
        _ => return Ok(None),
    }
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(ipproto::RAW),
    )
    .map_err(|e| Error::new("socket(AF_INET, SOCK_RAW)", e))?;
    let mut info = [0; INFO_LEN];
    info[..6].copy_from_slice(b"filter");
    get(socket.as_fd(), IPT_SO_GET_INFO, &mut info)?;
    let size = word(&info, 80) as usize;
    if size > MAX_TABLE {
        return Err(Error::new("getsockopt(IPT_SO_GET_ENTRIES)", rustix::io::Errno::TOOBIG));
    }
    let mut table = vec![0; ENTRIES_HEADER + size];
    table[..6].copy_from_slice(b"filter");
    table[32..36].copy_from_slice(&word(&info, 80).to_ne_bytes());
    // EAGAIN: the table changed in between; the next call sees it.
    get(socket.as_fd(), IPT_SO_GET_ENTRIES, &mut table)?;
    let underflow = word(&info, 56 + 4 * FORWARD) as usize;
    Ok(Some(parse(&table[ENTRIES_HEADER..], underflow)))
}

/// Reads entries; `underflow` is where the policy of the chain stands.
fn parse(entries: &[u8], underflow: usize) -> Forwarding {
    let mut found = Forwarding::default();
    let mut at = 0;
    while let Some(entry) = entries.get(at..).filter(|e| e.len() >= ENTRY_LEN) {
        // iniface and outiface follow four addresses.
        let (input, output) = (name(&entry[16..16 + NAME_LEN]), name(&entry[32..32 + NAME_LEN]));
        if !input.is_empty() || !output.is_empty() {
            found.interfaces.push((input, output));
        }
        let target = usize::from(u16::from_ne_bytes([entry[88], entry[89]]));
        let next = usize::from(u16::from_ne_bytes([entry[90], entry[91]]));
        if at == underflow && entry.len() >= target + 36 {
            // struct xt_standard_target: size, name[29], revision, verdict.
            found.drops = word(entry, target + 32).cast_signed() == VERDICT_DROP;
        }
        if next < ENTRY_LEN {
            break;
        }
        at += next;
    }
    found
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn get(socket: BorrowedFd<'_>, option: libc::c_int, value: &mut [u8]) -> Result<()> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of the live buffer, and the
    // length back into a live socklen_t.
    let ret = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    crate::check(ret.into(), || format!("getsockopt(IPPROTO_IP, {option})")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(input: &str, verdict: i32) -> Vec<u8> {
        let mut out = vec![0; ENTRY_LEN + 40];
        out[16..16 + input.len()].copy_from_slice(input.as_bytes());
        out[88..90].copy_from_slice(&(ENTRY_LEN as u16).to_ne_bytes());
        out[90..92].copy_from_slice(&((ENTRY_LEN + 40) as u16).to_ne_bytes());
        out[ENTRY_LEN + 32..ENTRY_LEN + 36].copy_from_slice(&verdict.to_ne_bytes());
        out
    }

    #[test]
    fn policy_and_interfaces() {
        let mut table = entry("tare", -2);
        let underflow = table.len();
        table.extend(entry("", -1));
        table.extend(entry("", -2));
        let want = Forwarding { drops: true, interfaces: vec![("tare".to_owned(), String::new())] };
        assert_eq!(parse(&table, underflow), want);
        assert!(!parse(&table, 0).drops && !parse(&table, underflow * 2).drops);
        for cut in 0..table.len() {
            let _ = parse(&table[..cut], underflow);
        }
    }
}
