//! Whom a container's process runs as: `user[:group]` against the passwd and group files of the
//! container's own root. Pure over the files' bytes; texts are Docker's.

use crate::error::{Error, Result};

/// Files larger than this are not read whole.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// Numbers for the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// `HOME`.
    pub home: String,
}

impl ResolvedUser {
    /// As the runtime spec has it.
    pub fn to_spec(&self) -> oci::runtime::User {
        oci::runtime::User {
            uid: self.uid,
            gid: self.gid,
            additional_gids: self.groups.clone(),
            ..Default::default()
        }
    }
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `text` (empty = root). Names must be in the files; numbers need not.
pub fn resolve(text: &str, passwd: &str, group: &str) -> Result<ResolvedUser> {
    let (user, wanted_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    in_range(user)?;
    let number = user.parse::<u32>().ok();
    let entry = passwd.lines().filter_map(passwd_entry).find(|e| e.name == user || (number == Some(e.uid)));
    let mut resolved = match (&entry, number) {
        (Some(e), _) => ResolvedUser { uid: e.uid, gid: e.gid, groups: Vec::new(), home: e.home.to_string() },
        (None, Some(uid)) => ResolvedUser { uid, gid: 0, groups: Vec::new(), home: "/".to_string() },
        (None, None) => {
            return Err(Error::invalid(format!(
                "unable to find user {user}: no matching entries in passwd file"
            )));
        }
    };
    if resolved.home.is_empty() {
        resolved.home = "/".to_string();
    }
    match (wanted_group, &entry) {
        (Some(name), _) => resolved.gid = group_id(name, group)?,
        (None, Some(entry)) => resolved.groups = supplementary(entry, group),
        (None, None) => {}
    }
    // The primary group is listed too: dropping it must not be a way around "group may not" modes.
    resolved.groups.insert(0, resolved.gid);
    Ok(resolved)
}

/// The numbers of `--group-add`: names must be in the file; numbers need not.
pub fn resolve_groups(names: &[String], group: &str) -> Result<Vec<u32>> {
    names.iter().map(|name| group_id(name, group)).collect()
}

/// A number must be one that the kernel has; a name may be anything.
fn in_range(text: &str) -> Result<()> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if is_number && !text.parse::<i32>().is_ok_and(|id| id >= 0) {
        return Err(Error::invalid("uids and gids must be in range 0-2147483647"));
    }
    Ok(())
}

fn group_id(name: &str, file: &str) -> Result<u32> {
    in_range(name)?;
    let number = name.parse::<u32>().ok();
    match file.lines().filter_map(group_entry).find(|g| g.name == name || number == Some(g.gid)) {
        Some(found) => Ok(found.gid),
        None => match number {
            Some(gid) => Ok(gid),
            None => {
                Err(Error::invalid(format!("unable to find group {name}: no matching entries in group file")))
            }
        },
    }
}

fn supplementary(user: &Passwd<'_>, file: &str) -> Vec<u32> {
    file.lines()
        .filter_map(group_entry)
        .filter(|g| g.gid != user.gid && g.members.split(',').any(|m| m == user.name))
        .map(|g| g.gid)
        .collect()
}

fn passwd_entry(line: &str) -> Option<Passwd<'_>> {
    let mut f = line.trim().split(':');
    let (name, _, uid, gid) = (f.next()?, f.next()?, f.next()?.parse().ok()?, f.next()?.parse().ok()?);
    Some(Passwd { name, uid, gid, home: f.nth(1).unwrap_or("") })
}

fn group_entry(line: &str) -> Option<Group<'_>> {
    let mut f = line.trim().split(':');
    let (name, _, gid) = (f.next()?, f.next()?, f.next()?.parse().ok()?);
    Some(Group { name, gid, members: f.next().unwrap_or("") })
}
