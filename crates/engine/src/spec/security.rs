//! `--security-opt`: what confines a container, read from Docker's words. Pure.

use crate::config::Security;
use crate::error::{Error, Result};

/// The filter of system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// Docker's profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's form, as JSON.
    Profile(String),
}

/// `--security-opt`, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The filter.
    pub seccomp: Seccomp,
    /// AppArmor's profile; `None` = the engine's choice.
    pub apparmor: Option<String>,
    /// No program gives its caller more rights.
    pub no_new_privileges: bool,
    /// The group's files may be written to.
    pub writable_cgroups: bool,
    /// SELinux's label options, `disable` or `user:…`.
    pub labels: Vec<String>,
}

/// Reads `--security-opt` as dockerd does; `:` is the old way to write `=`.
pub fn parse(security: &Security) -> Result<Options> {
    let mut options = Options::default();
    for text in &security.options {
        one(text, &mut options)?;
    }
    Ok(options)
}

fn one(text: &str, options: &mut Options) -> Result<()> {
    if text == "no-new-privileges" {
        options.no_new_privileges = true;
        return Ok(());
    }
    if text == "disable" {
        options.labels.push(text.to_string());
        return Ok(());
    }
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (key, value) = split.ok_or_else(|| Error::invalid(format!("invalid --security-opt 1: {text:?}")))?;
    let second = || Error::invalid(format!("invalid --security-opt 2: {text:?}"));
    let word = |value: &str| match value {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(false),
        _ => Err(second()),
    };
    match key {
        "label" => options.labels.push(value.to_string()),
        "apparmor" => options.apparmor = Some(value.to_string()),
        "seccomp" => {
            options.seccomp = match value {
                "unconfined" => Seccomp::Unconfined,
                "builtin" => Seccomp::Default,
                profile => Seccomp::Profile(profile.to_string()),
            };
        }
        "no-new-privileges" => options.no_new_privileges = word(value)?,
        "writable-cgroups" => options.writable_cgroups = word(value)?,
        _ => return Err(second()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_dockers() {
        let read = |texts: &[&str]| {
            parse(&Security {
                options: texts.iter().map(|t| (*t).to_string()).collect(),
                ..Security::default()
            })
        };
        let options =
            read(&["seccomp=unconfined", "apparmor:mine", "no-new-privileges:true", "label=disable"])
                .unwrap();
        assert_eq!(options.seccomp, Seccomp::Unconfined);
        assert_eq!(options.apparmor.as_deref(), Some("mine"));
        assert!(options.no_new_privileges && !options.writable_cgroups);
        assert_eq!(options.labels, ["disable"]);
        assert!(!read(&["no-new-privileges", "no-new-privileges=false"]).unwrap().no_new_privileges);
        assert_eq!(read(&["seccomp={}"]).unwrap().seccomp, Seccomp::Profile("{}".into()));
        for (bad, number) in [("x", 1), ("x=y", 2), ("no-new-privileges=x", 2)] {
            let expected = format!("invalid --security-opt {number}: \"{bad}\"");
            assert_eq!(read(&[bad]).unwrap_err().message, expected);
        }
    }
}
