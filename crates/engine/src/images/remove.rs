//! `rmi`: a name goes, and with its last name the image.
//!
//! What a word means decides (seen on dockerd 28.5.2). The *name* of a row takes that row away; the last one
//! takes the image too (a name by digest beside the last tag does not keep it), unless a container uses it:
//! then the name needs force, and the image stays without it. A *digest with a repository* means all names in that repository, an *id* all names; if these are all
//! there are, the image goes: never from under a running container, from under a stopped one by force.

use super::Engine;
use crate::error::{Error, Result};
use oci::{AnyReference, Digest, Reference};
use store::Image;

/// One line of Docker's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name.
    Untagged(String),
    /// An image, by id.
    Deleted(String),
}

/// A container that uses an image.
struct User {
    id: String,
    running: bool,
}

/// What a word means for an image.
struct Meant {
    /// The names that it means.
    names: Vec<Reference>,
    /// They are all that the image has.
    all: bool,
    /// The word is the name of a row.
    exact: Option<Reference>,
    /// The word is an id, not a name.
    is_id: bool,
}

impl Engine {
    /// Removes what a name, a digest or an id means.
    pub fn remove_image(&self, word: &str, force: bool) -> Result<Vec<Removed>> {
        let store = self.store()?;
        let digest = self.find_image(word)?.target.digest;
        let rows = store.images().by_digest(&digest)?;
        let mut meant = Meant::of(word, &digest, &rows);
        let mut goes = meant.all;
        if meant.all {
            let users = self.containers_of_image(digest.as_str())?.into_iter();
            let users: Vec<User> = users.map(|c| User { running: c.is_active(), id: c.id.clone() }).collect();
            meant.refuse_conflict(&digest, &users, force)?;
            goes = meant.exact.is_none() || users.is_empty();
        }
        if let (false, Some(exact)) = (goes, &meant.exact) {
            meant.names = vec![exact.clone()];
        }
        let mut removed: Vec<Removed> =
            meant.names.iter().map(|name| Removed::Untagged(name.familiar())).collect();
        if goes {
            store.images().delete_target(&digest)?;
            removed.push(Removed::Deleted(digest.to_string()));
        } else {
            store.images().untag(&meant.names)?;
        }
        self.tell_removed(digest.as_str(), &removed);
        store.export_index()?;
        store.gc()?;
        self.empty_trash();
        Ok(removed)
    }

    /// The events of what was removed of an image.
    pub(super) fn tell_removed(&self, id: &str, removed: &[Removed]) {
        for part in removed {
            match part {
                Removed::Untagged(name) => self.tell_image("untag", id, name, None),
                Removed::Deleted(id) => self.tell_image("delete", id, id, None),
            }
        }
    }
}

impl Meant {
    fn of(word: &str, digest: &Digest, rows: &[Image]) -> Meant {
        let names: Vec<&Reference> = rows.iter().filter_map(|row| row.name.as_ref()).collect();
        let named = match AnyReference::parse(word) {
            Ok(AnyReference::Named(name)) if !is_id_of(word, digest) => Some(name.or_latest()),
            _ => None,
        };
        let means = |name: &Reference| match &named {
            None => true,
            Some(wanted) if wanted.digest().is_some() => wanted.name() == name.name(),
            Some(wanted) => wanted == name,
        };
        let exact = named.clone().filter(|wanted| names.contains(&wanted));
        let mut meant: Vec<Reference> =
            names.iter().filter(|name| means(name)).map(|name| (*name).clone()).collect();
        if let Some(wanted) = &named {
            let digests = || names.iter().filter(|n| n.name() == wanted.name() && n.tag().is_none());
            if wanted.digest().is_none()
                && !meant.is_empty()
                && meant.len() + digests().count() == names.len()
            {
                meant.extend(digests().map(|name| (*name).clone()));
            }
        }
        Meant { all: meant.len() == names.len(), names: meant, exact, is_id: named.is_none() }
    }

    /// For the removal of all names of an image.
    fn refuse_conflict(&self, digest: &Digest, users: &[User], force: bool) -> Result<()> {
        let id = short(digest);
        let conflict = |shown: &str, how: &str, why: String| {
            Err(Error::conflict(format!("conflict: unable to delete {shown} ({how}) - {why}")))
        };
        let (soft, hard) = ("must be forced", "cannot be forced");
        let user = users.iter().find(|user| user.running).or(users.first());
        match (&self.exact, user) {
            (Some(name), Some(user)) if !force => {
                let why = format!("container {} is using its referenced image {id}", &user.id[..12]);
                conflict(&name.familiar(), soft, why)
            }
            (None, Some(user)) if user.running => {
                conflict(id, hard, format!("image is being used by running container {}", &user.id[..12]))
            }
            (None, Some(user)) if !force => {
                conflict(id, soft, format!("image is being used by stopped container {}", &user.id[..12]))
            }
            (None, _) if self.is_id && self.names.len() > 1 && !force => {
                conflict(id, soft, "image is referenced in multiple repositories".to_string())
            }
            _ => Ok(()),
        }
    }
}

fn is_id_of(word: &str, digest: &Digest) -> bool {
    digest.as_str() == word
        || (word.len() >= 4 && digest.hex().starts_with(word.strip_prefix("sha256:").unwrap_or(word)))
}

fn short(digest: &Digest) -> &str {
    &digest.hex()[..12]
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Descriptor;

    const HEX: &str = "7bc5920d841aef0968ee1cc84a8843e296a8de465e9a2fed18c5fe3abe54c177";
    const USER: &str = "8c7b37e51079aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn row(name: &str) -> Image {
        let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
        Image {
            name: Some(Reference::parse(name).unwrap().or_latest()),
            target: Descriptor::new(oci::media_type::OCI_MANIFEST, digest, 1),
            labels: store::Labels::new(),
            created: sys::clock::Time(0),
            updated: sys::clock::Time(0),
        }
    }

    /// What goes for a word: `name,name` with `!` when it is all names.
    fn meant(word: &str, names: &[&str]) -> String {
        let rows: Vec<Image> = names.iter().map(|name| row(name)).collect();
        let meant = Meant::of(word, &rows[0].target.digest.clone(), &rows);
        let list: Vec<String> = meant.names.iter().map(Reference::familiar).collect();
        format!("{}{}", list.join(","), if meant.all { "!" } else { "" })
    }

    #[test]
    fn what_a_word_means() {
        let at = |name: &str| format!("{name}@sha256:{HEX}");
        let (id, r_at) = (format!("sha256:{HEX}"), at("r/a"));
        let two = ["r/a:1", "r/a:2"];
        let cases: Vec<(&str, Vec<&str>, String)> = vec![
            ("r/a", vec!["r/a"], "r/a:latest!".into()),
            ("r/a:1", two.into(), "r/a:1".into()),
            (&r_at, two.into(), "r/a:1,r/a:2!".into()),
            (&r_at, vec!["r/a:1", "r/b:1"], "r/a:1".into()),
            (&r_at, vec!["r/a:1", &r_at], format!("r/a:1,{r_at}!")),
            (&r_at, vec!["r/b:1"], String::new()),
            ("r/a:1", vec!["r/a:1", &r_at], format!("r/a:1,{r_at}!")),
            ("r/a:1", vec!["r/a:1", "r/a:2", &r_at], "r/a:1".into()),
            ("r/a:1", vec!["r/a:1", &r_at, "r/b:1"], "r/a:1".into()),
            (&r_at, vec![&r_at], format!("{r_at}!")),
            (&id, vec!["r/a:1", "r/b:1"], "r/a:1,r/b:1!".into()),
            ("7bc5", vec!["r/a:1", "r/b:1"], "r/a:1,r/b:1!".into()),
            ("7bc5920d841a", vec![&r_at], format!("{r_at}!")),
        ];
        for (word, names, expected) in cases {
            assert_eq!(meant(word, &names), expected, "{word} {names:?}");
        }
    }

    #[test]
    fn conflicts_are_dockers() {
        const REFERENCED: &str =
            "(must be forced) - container 8c7b37e51079 is using its referenced image 7bc5920d841a";
        let by_name = format!("conflict: unable to delete 127.0.0.1:5000/empty:latest {REFERENCED}");
        let by_digest = format!("conflict: unable to delete r/a@sha256:{HEX} {REFERENCED}");
        let running = "conflict: unable to delete 7bc5920d841a (cannot be forced) - image is being used by running container 8c7b37e51079";
        let stopped = "conflict: unable to delete 7bc5920d841a (must be forced) - image is being used by stopped container 8c7b37e51079";
        let several = "conflict: unable to delete 7bc5920d841a (must be forced) - image is referenced in multiple repositories";
        let r_at = format!("r/a@sha256:{HEX}");
        let empty = "127.0.0.1:5000/empty";
        // A word, the names, whether a user runs, forced, the conflict.
        type Case<'a> = (&'a str, Vec<&'a str>, Option<bool>, bool, &'a str);
        let cases: Vec<Case<'_>> = vec![
            (empty, vec![empty], Some(true), false, &by_name),
            (empty, vec![empty], Some(false), false, &by_name),
            (empty, vec![empty], Some(true), true, ""),
            (empty, vec![empty], None, false, ""),
            (&r_at, vec![&r_at], Some(false), false, &by_digest),
            (&r_at, vec!["r/a:1"], Some(false), false, stopped),
            (&r_at, vec!["r/a:1"], Some(true), true, running),
            (&r_at, vec!["r/a:1", "r/a:2"], None, false, ""),
            ("7bc5", vec![empty], Some(true), false, running),
            ("7bc5", vec![empty], Some(true), true, running),
            ("7bc5", vec![empty], Some(false), false, stopped),
            ("7bc5", vec![empty], Some(false), true, ""),
            ("7bc5", vec!["r/a:1", "r/b:1"], Some(false), false, stopped),
            ("7bc5", vec!["r/a:1", "r/a:2"], None, false, several),
            ("7bc5", vec!["r/a:1", "r/a:2"], None, true, ""),
        ];
        for (word, names, user, force, expected) in cases {
            let rows: Vec<Image> = names.iter().map(|name| row(name)).collect();
            let digest = rows[0].target.digest.clone();
            let users: Vec<User> =
                user.map(|running| User { id: USER.into(), running }).into_iter().collect();
            let refused = Meant::of(word, &digest, &rows).refuse_conflict(&digest, &users, force);
            let text = refused.err().map(|e| e.message).unwrap_or_default();
            assert_eq!(text, expected, "{word} {names:?} {user:?} {force}");
        }
    }
}
