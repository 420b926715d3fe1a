//! A seccomp profile in Docker's form (conditions on capabilities, architecture, kernel) becomes the runtime
//! spec's for one container. Pure.

use crate::error::{Error, Result};
use oci::runtime::{self as spec, Action, Arg};
use serde::Deserialize;

/// A profile is a file of a user's: larger ones are refused.
const MAX_PROFILE_BYTES: usize = 1 << 20;

/// What a profile's conditions are held against.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The container's bounding set.
    pub capabilities: &'a [String],
    /// The machine in Go's words (`amd64`).
    pub arch: &'a str,
    /// Major and minor number.
    pub kernel: (u32, u32),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: Action,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<String>>,
    #[serde(default)]
    listener_path: std::path::PathBuf,
    #[serde(default)]
    listener_metadata: String,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    names: Option<Vec<String>>,
    action: Action,
    errno_ret: Option<u32>,
    args: Option<Vec<Arg>>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// The filter for a container.
pub fn for_container(profile: &str, facts: Facts<'_>) -> Result<spec::Seccomp> {
    let failed = |why: String| Error::invalid(format!("Decoding seccomp profile failed: {why}"));
    if profile.len() > MAX_PROFILE_BYTES {
        return Err(failed(format!("it has more than {MAX_PROFILE_BYTES} bytes")));
    }
    let profile: Profile = serde_json::from_str(profile).map_err(|e| {
        failed(if e.is_eof() { "unexpected end of JSON input".to_string() } else { e.to_string() })
    })?;
    let mut syscalls = Vec::new();
    for rule in profile.syscalls.unwrap_or_default() {
        if rule.applies(facts).map_err(failed)? {
            syscalls.push(rule.into_spec().map_err(failed)?);
        }
    }
    let maps = profile.arch_map.unwrap_or_default();
    let architectures = profile.architectures.unwrap_or_default();
    if !maps.is_empty() && !architectures.is_empty() {
        let text = "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'";
        return Err(Error::invalid(text));
    }
    Ok(spec::Seccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures: if architectures.is_empty() { mapped(maps, facts.arch) } else { architectures },
        flags: profile.flags.unwrap_or_default(),
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls,
    })
}

impl Rule {
    fn applies(&self, facts: Facts<'_>) -> std::result::Result<bool, String> {
        let has = |cap: &String| facts.capabilities.contains(cap);
        let none = Filter::default();
        let (with, without) =
            (self.includes.as_ref().unwrap_or(&none), self.excludes.as_ref().unwrap_or(&none));
        let here = |list: &Option<Vec<String>>| list.iter().flatten().any(|arch| arch == facts.arch);
        let excluded = here(&without.arches)
            || without.caps.iter().flatten().any(has)
            || new_enough(without.min_kernel.as_deref(), facts.kernel)?.unwrap_or(false);
        let wanted_arch = with.arches.as_ref().is_none_or(Vec::is_empty) || here(&with.arches);
        Ok(!excluded
            && wanted_arch
            && with.caps.iter().flatten().all(has)
            && new_enough(with.min_kernel.as_deref(), facts.kernel)?.unwrap_or(true))
    }

    fn into_spec(self) -> std::result::Result<spec::Syscall, String> {
        let names = self.names.unwrap_or_default();
        let names = match (self.name.is_empty(), names.is_empty()) {
            (false, false) => {
                return Err("both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'".into());
            }
            (false, true) => vec![self.name],
            (true, _) => names,
        };
        let args = self.args.unwrap_or_default();
        Ok(spec::Syscall { names, action: self.action, errno_ret: self.errno_ret, args })
    }
}

/// `None`: nothing was asked.
fn new_enough(wanted: Option<&str>, kernel: (u32, u32)) -> std::result::Result<Option<bool>, String> {
    let Some(text) = wanted.filter(|text| !text.is_empty()) else { return Ok(None) };
    let numbers = text.split_once('.').and_then(|(major, minor)| {
        let minor = minor.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let wanted = numbers.ok_or_else(|| format!("invalid kernel version: {text:?}"))?;
    Ok(Some(kernel >= wanted))
}

/// The architectures of the map's entry for this machine.
fn mapped(maps: Vec<ArchMap>, arch: &str) -> Vec<String> {
    let own = match arch {
        "amd64" => "SCMP_ARCH_X86_64",
        "arm64" => "SCMP_ARCH_AARCH64",
        _ => return Vec::new(),
    };
    let found = maps.into_iter().find(|map| map.architecture == own);
    found
        .map(|map| {
            std::iter::once(map.architecture).chain(map.sub_architectures.unwrap_or_default()).collect()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
                   {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":null}],
        "syscalls":[
            {"names":["read","write"],"action":"SCMP_ACT_ALLOW"},
            {"name":"mount","action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"name":"clone3","action":"SCMP_ACT_ERRNO","errnoRet":38,"excludes":{"caps":["CAP_SYS_ADMIN"]}},
            {"name":"arm","action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
            {"name":"new","action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.5"}},
            {"name":"old","action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"4.8"}},
            {"name":"personality","action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}]}"#;

    fn names(capabilities: &[&str], arch: &str, kernel: (u32, u32)) -> (Vec<String>, Vec<String>) {
        let capabilities: Vec<String> = capabilities.iter().map(|c| (*c).to_string()).collect();
        let facts = Facts { capabilities: &capabilities, arch, kernel };
        let filter = for_container(PROFILE, facts).unwrap();
        (filter.architectures, filter.syscalls.into_iter().flat_map(|s| s.names).collect())
    }

    #[test]
    fn conditions_hold() {
        let (architectures, calls) = names(&[], "amd64", (6, 18));
        assert_eq!(architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        assert_eq!(calls, ["read", "write", "clone3", "new", "personality"]);
        let (architectures, calls) = names(&["CAP_SYS_ADMIN"], "arm64", (4, 4));
        assert_eq!(architectures, ["SCMP_ARCH_AARCH64"]);
        assert_eq!(calls, ["read", "write", "mount", "arm", "old", "personality"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let facts = Facts { capabilities: &[], arch: "amd64", kernel: (6, 1) };
        let error = |profile: &str| for_container(profile, facts).unwrap_err().message;
        assert_eq!(error("{"), "Decoding seccomp profile failed: unexpected end of JSON input");
        assert!(error("{}").contains("defaultAction"));
        assert!(
            error(r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_LOG"}]}"#)
                .contains("both 'name' and 'names'")
        );
        assert!(
            error(r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_LOG","includes":{"minKernel":"x"}}]}"#)
                .contains("invalid kernel version")
        );
    }
}
