//! Device access as the v1 kernel keeps it: a default and a list of exceptions to it. Pure.
//!
//! The spec's list of rules (config-linux.md, "Allowed Device list") is played through once; both versions of
//! cgroup are fed from the outcome, so that they agree. A rule that would punch a hole into a wider exception
//! cannot be said in these terms and is refused, as runc does.
//!
//! It does not know files or bpf.

use std::fmt;

use oci::runtime::{DeviceKind, DeviceRule};

use crate::{Error, Result};

/// Bits of an access, as the bpf context has them (BPF_DEVCG_ACC_*).
pub(crate) const MKNOD: u8 = 1;
pub(crate) const READ: u8 = 2;
pub(crate) const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// A default and its exceptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevicePolicy {
    /// What is not an exception is allowed.
    pub default_allow: bool,
    /// What is denied (when the default is to allow), or allowed.
    pub exceptions: Vec<Exception>,
}

/// Some devices and accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// Block, else character.
    pub block: bool,
    /// Major number; none is all.
    pub major: Option<u32>,
    /// Minor number; none is all.
    pub minor: Option<u32>,
    pub(crate) access: u8,
}

impl DevicePolicy {
    /// What the rules add up to, starting from "nothing is allowed".
    pub fn from_rules(rules: &[DeviceRule]) -> Result<Self> {
        let mut policy = Self::default();
        for rule in rules {
            policy.apply(rule)?;
        }
        Ok(policy)
    }

    /// The policy of a container: its rules, and after them the devices that every container has
    /// (config-linux.md, "Default Devices").
    pub fn of_container(rules: &[DeviceRule]) -> Result<Self> {
        let mut policy = Self::from_rules(rules)?;
        for exception in default_devices() {
            policy.change(true, exception)?;
        }
        Ok(policy)
    }

    fn apply(&mut self, rule: &DeviceRule) -> Result<()> {
        let access = parse_access(&rule.access)?;
        let major = parse_number(rule.major)?;
        let minor = parse_number(rule.minor)?;
        let kind = rule.kind.unwrap_or(DeviceKind::All);
        if kind == DeviceKind::All && major.is_none() && minor.is_none() && access == ALL {
            *self = Self { default_allow: rule.allow, exceptions: Vec::new() };
            return Ok(());
        }
        for block in [false, true] {
            if kind == DeviceKind::All || block == (kind == DeviceKind::Block) {
                self.change(rule.allow, Exception { block, major, minor, access })?;
            }
        }
        Ok(())
    }

    fn change(&mut self, allow: bool, change: Exception) -> Result<()> {
        if allow != self.default_allow {
            let same = self.exceptions.iter_mut().find(|e| e.same_devices(&change));
            match same {
                Some(existing) => existing.access |= change.access,
                None => self.exceptions.push(change),
            }
            return Ok(());
        }
        for existing in &mut self.exceptions {
            if existing.access & change.access == 0 || !existing.overlaps(&change) {
                continue;
            }
            if !change.covers(existing) {
                return Err(Error::Unsupported(format!(
                    "a device rule ({change}) that is an exception to another exception ({existing})"
                )));
            }
            existing.access &= !change.access;
        }
        self.exceptions.retain(|e| e.access != 0);
        Ok(())
    }
}

impl Exception {
    const fn char(major: Option<u32>, minor: Option<u32>, access: u8) -> Self {
        Self { block: false, major, minor, access }
    }

    fn same_devices(&self, other: &Self) -> bool {
        (self.block, self.major, self.minor) == (other.block, other.major, other.minor)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.block == other.block && meet(self.major, other.major) && meet(self.minor, other.minor)
    }

    fn covers(&self, other: &Self) -> bool {
        let wider = |a: Option<u32>, b: Option<u32>| a.is_none() || a == b;
        self.block == other.block && wider(self.major, other.major) && wider(self.minor, other.minor)
    }
}

/// As `devices.allow` reads it: `c 1:* rwm`.
impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.block { "b " } else { "c " })?;
        for (number, end) in [(self.major, ":"), (self.minor, " ")] {
            match number {
                Some(n) => write!(f, "{n}{end}")?,
                None => write!(f, "*{end}")?,
            }
        }
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            if self.access & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// What every container may use: making any node, and the nodes that the spec puts into `/dev`.
pub fn default_devices() -> impl Iterator<Item = Exception> {
    let any = Exception::char(None, None, MKNOD);
    // null, zero, full, random, urandom, tty, ptmx, and the terminals of devpts.
    let nodes = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(2)),
        (136, None),
    ];
    [any, Exception { block: true, ..any }]
        .into_iter()
        .chain(nodes.into_iter().map(|(major, minor)| Exception::char(Some(major), minor, ALL)))
}

fn parse_access(access: &str) -> Result<u8> {
    let mut bits = 0;
    for letter in access.chars() {
        bits |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => return Err(Error::Invalid(format!("invalid device access {access:?}"))),
        };
    }
    Ok(if bits == 0 { ALL } else { bits })
}

fn parse_number(number: Option<i64>) -> Result<Option<u32>> {
    match number {
        None | Some(-1) => Ok(None),
        // The bpf program compares with signed immediates; real numbers have 12 and 20 bits.
        Some(n) => match i32::try_from(n) {
            Ok(n) if n >= 0 => Ok(Some(n.unsigned_abs())),
            _ => Err(Error::Invalid(format!("invalid device number {n}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> DeviceRule {
        // "+c 1:3 rwm", "-a *:* rwm"
        let (allow, rest) = (text.starts_with('+'), &text[1..]);
        let fields: Vec<&str> = rest.split([' ', ':']).collect();
        let kind = match fields[0] {
            "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            _ => DeviceKind::Char,
        };
        let number = |s: &str| s.parse().ok();
        DeviceRule {
            allow,
            kind: Some(kind),
            major: number(fields[1]),
            minor: number(fields[2]),
            access: fields[3].into(),
        }
    }

    #[test]
    fn rules_add_up() {
        let cases: &[(&[&str], bool, &[&str])] = &[
            (&[], false, &[]),
            (&["+a *:* rwm"], true, &[]),
            (&["-a *:* rwm", "+c 1:3 r", "+c 1:3 w"], false, &["c 1:3 rw"]),
            (&["+a *:* rwm", "-b 8:* w"], true, &["b 8:* w"]),
            (&["+a *:* rwm", "-b 8:0 w", "+b *:* rwm"], true, &[]),
            (&["-a *:* rwm", "+c 1:3 rwm", "-c 10:229 rwm"], false, &["c 1:3 rwm"]),
            (&["-a *:* rwm", "+c 1:3 rwm", "-c 1:3 w"], false, &["c 1:3 rm"]),
            (&["+c 1:3 rwm", "+b 8:0 r", "-c *:* rwm"], false, &["b 8:0 r"]),
            (&["-a *:* rwm", "+a 7:1 r"], false, &["c 7:1 r", "b 7:1 r"]),
            (&["+a *:* rwm", "-a *:* w"], true, &["c *:* w", "b *:* w"]),
            (&["+c 1:3 rwm", "+a *:* rwm"], true, &[]),
        ];
        for (rules, default_allow, exceptions) in cases {
            let rules: Vec<_> = rules.iter().map(|r| rule(r)).collect();
            let policy = DevicePolicy::from_rules(&rules).unwrap();
            let shown: Vec<_> = policy.exceptions.iter().map(ToString::to_string).collect();
            assert_eq!(
                (policy.default_allow, shown),
                (*default_allow, exceptions.iter().map(|s| (*s).to_owned()).collect()),
                "{rules:?}"
            );
        }
    }

    #[test]
    fn refused_by_name() {
        let cases: &[&[&str]] =
            &[&["+c *:* m", "-c 10:229 rwm"], &["+c 1:3 x"], &["+c -2:3 r"], &["+c 99999999999:3 r"]];
        for rules in cases {
            let rules: Vec<_> = rules.iter().map(|r| rule(r)).collect();
            assert!(DevicePolicy::from_rules(&rules).is_err(), "{rules:?}");
        }
    }

    #[test]
    fn a_container_has_the_default_devices() {
        let denied = DevicePolicy::of_container(&[rule("-a *:* rwm")]).unwrap();
        assert!(!denied.default_allow);
        assert_eq!(denied.exceptions.len(), default_devices().count());
        assert!(denied.exceptions.iter().any(|e| e.to_string() == "c 136:* rwm"));
        assert_eq!(DevicePolicy::of_container(&[]).unwrap(), denied);
        let all = DevicePolicy::of_container(&[rule("+a *:* rwm")]).unwrap();
        assert_eq!(all, DevicePolicy { default_allow: true, exceptions: Vec::new() });
    }
}
