//! `--gpus` and devices by name: which driver serves a request, and what it does to the container's spec.
//!
//! As dockerd's: `cdi` gives devices by their qualified names; `nvidia` is there when the vendor's hook is found on
//! the path, and leaves everything else to that hook.

use crate::cdi::Registry;
use crate::config::DeviceRequest;
use crate::error::{Error, Kind, Result};
use oci::runtime as spec;
use std::path::PathBuf;

/// The vendor's program.
const NVIDIA_HOOK: &str = "nvidia-container-runtime-hook";
/// What its driver can be asked for beyond `gpu` and `nvidia`.
const NVIDIA_CAPABILITIES: [&str; 7] =
    ["compute", "compat32", "graphics", "utility", "video", "display", "ngx"];
/// A count beyond that is a mistake: each device has a word in one variable.
const MAX_DEVICES: i64 = 4096;

/// Serves all requests of a container.
pub(crate) fn apply(
    requests: &[DeviceRequest],
    cdi: &dyn Fn() -> Registry,
    spec: &mut spec::Spec,
) -> Result<()> {
    for request in requests {
        if request.driver == "cdi" {
            let names = request.device_ids.as_deref().unwrap_or_default();
            if !names.is_empty() {
                cdi().inject(names, spec)?;
            }
            continue;
        }
        let served = matches!(request.driver.as_str(), "" | "nvidia");
        match nvidia_hook().filter(|_| served).and_then(|hook| Some((hook, matching(request)?))) {
            Some((hook, capabilities)) => nvidia(request, hook, capabilities, spec)?,
            None => return Err(no_driver(request)),
        }
    }
    Ok(())
}

fn no_driver(request: &DeviceRequest) -> Error {
    let sets = request.capabilities.as_deref().unwrap_or_default();
    let sets: Vec<String> = sets.iter().map(|set| format!("[{}]", set.join(" "))).collect();
    let (driver, sets) = (&request.driver, sets.join(" "));
    Error::new(
        Kind::Internal,
        format!("could not select device driver {driver:?} with capabilities: [{sets}]"),
    )
}

/// The first of the sets that the vendor's driver has all of.
fn matching(request: &DeviceRequest) -> Option<&[String]> {
    let has = |word: &String| {
        matches!(word.as_str(), "gpu" | "nvidia") || NVIDIA_CAPABILITIES.contains(&word.as_str())
    };
    request.capabilities.as_deref()?.iter().find(|set| set.iter().all(has)).map(Vec::as_slice)
}

fn nvidia_hook() -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH")?;
    let runs =
        |file: &PathBuf| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).filter(|f| f.is_absolute()).map(|f| f.join(NVIDIA_HOOK)).find(runs)
}

fn nvidia(
    request: &DeviceRequest,
    hook: PathBuf,
    capabilities: &[String],
    spec: &mut spec::Spec,
) -> Result<()> {
    let ids = request.device_ids.as_deref().unwrap_or_default();
    if request.count != 0 && !ids.is_empty() {
        return Err(Error::new(Kind::Internal, "cannot set both Count and DeviceIDs on device request"));
    }
    let devices = match request.count {
        count if count < 0 => Some("all".to_string()),
        0 if ids.is_empty() => None,
        0 => Some(ids.join(",")),
        count => Some((0..count.min(MAX_DEVICES)).map(|n| n.to_string()).collect::<Vec<_>>().join(",")),
    };
    let process = spec.process.get_or_insert_default();
    let mut set = |name: &str, value: String| {
        // Behind the client's own, as dockerd does: the last one counts.
        process.env.push(format!("{name}={value}"));
    };
    if let Some(devices) = devices {
        set("NVIDIA_VISIBLE_DEVICES", devices);
    }
    let asked: Vec<&str> =
        capabilities.iter().map(String::as_str).filter(|c| NVIDIA_CAPABILITIES.contains(c)).collect();
    if !asked.is_empty() {
        set("NVIDIA_DRIVER_CAPABILITIES", asked.join(","));
    }
    // Of the environment only the path, on which the hook finds its own programs: a person's other variables are
    // nobody's business here.
    let path = std::env::var("PATH").map(|path| format!("PATH={path}"));
    spec.hooks.get_or_insert_default().prestart.push(spec::Hook {
        path: hook,
        args: vec![NVIDIA_HOOK.to_string(), "prestart".to_string()],
        env: path.into_iter().collect(),
        timeout: None,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(driver: &str, count: i64, ids: &[&str], sets: &[&[&str]]) -> DeviceRequest {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_string()).collect::<Vec<_>>();
        DeviceRequest {
            driver: driver.to_string(),
            count,
            device_ids: Some(words(ids)),
            capabilities: Some(sets.iter().map(|set| words(set)).collect()),
            options: None,
        }
    }

    #[test]
    fn without_a_driver_the_text_is_dockers() {
        for (asked, text) in [
            (
                request("", -1, &[], &[&["gpu"]]),
                "could not select device driver \"\" with capabilities: [[gpu]]",
            ),
            (request("CDI", 0, &["x"], &[]), "could not select device driver \"CDI\" with capabilities: []"),
            (
                request("foo", 1, &[], &[&["a", "b"], &["c"]]),
                "could not select device driver \"foo\" with capabilities: [[a b] [c]]",
            ),
        ] {
            assert_eq!(
                apply(&[asked], &Registry::default, &mut spec::Spec::default()).unwrap_err().message,
                text
            );
        }
    }

    #[test]
    fn the_vendors_hook_is_told_what_to_show() {
        let hook = || PathBuf::from("/h");
        for (asked, expected) in [
            (request("", -1, &[], &[&["gpu"]]), &["NVIDIA_VISIBLE_DEVICES=all"][..]),
            (request("", 2, &[], &[&["gpu"]]), &["NVIDIA_VISIBLE_DEVICES=0,1"][..]),
            (
                request("nvidia", 0, &["0", "1"], &[&["utility", "gpu"]]),
                &["NVIDIA_VISIBLE_DEVICES=0,1", "NVIDIA_DRIVER_CAPABILITIES=utility"][..],
            ),
        ] {
            let mut spec = spec::Spec::default();
            nvidia(&asked, hook(), matching(&asked).unwrap(), &mut spec).unwrap();
            assert_eq!(spec.process.unwrap().env, expected);
            assert_eq!(spec.hooks.unwrap().prestart[0].args, [NVIDIA_HOOK, "prestart"]);
        }
        assert!(matching(&request("", 0, &[], &[&["foo", "gpu"]])).is_none());
        let both = request("", 1, &["0"], &[&["gpu"]]);
        let refused = nvidia(&both, hook(), &[], &mut spec::Spec::default()).unwrap_err();
        assert_eq!(refused.message, "cannot set both Count and DeviceIDs on device request");
    }
}
