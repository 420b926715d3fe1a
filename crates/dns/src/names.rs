//! Who is who: the two texts that the engine writes and a resolver reads.
//!
//! A *network's file* has a line `name address…` for each name on the network; a name may have several lines
//! and an address several names, the first of which is what a reverse query is answered with:
//!
//! ```text
//! web 172.18.0.2 fd00::2
//! db 172.18.0.3
//! cache 172.18.0.2 172.18.0.3
//! ```
//!
//! A *container's file* says which networks its resolver looks in, in which order, and whom it asks else:
//!
//! ```text
//! network 4f1c…64 digits backend     the network's file, and its name
//! link 4f1c…64 digits database db    to this container, `database` is another word for `db` on that network
//! server 10.0.0.53                   asked from the container's namespace
//! host-servers                       those of the host's resolv.conf, asked from the host's namespace
//! local-single-labels                a name without a dot is not asked of others
//! ```
//!
//! Invariants: both are kept as text and searched line by line (a network has at most some thousand names, and
//! a resolver that sleeps shall weigh nothing); lines that are not understood are skipped.
//!
//! It does not know where the files are, nor when they change.

use std::fmt::Write;
use std::net::IpAddr;

/// Addresses that one answer may hold; more names than that on one alias are left out.
const MAX_ADDRESSES: usize = 256;
/// Networks of one container.
const MAX_NETWORKS: usize = 64;
/// And its links.
const MAX_LINKS: usize = 256;
/// Servers that are asked: glibc knows three, and so does Docker.
pub const MAX_SERVERS: usize = 3;

/// A network's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(String);

impl Names {
    /// From the file's bytes.
    pub fn parse(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The addresses of a name in lower case; `None` when there is no such name.
    pub fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut found = None;
        for line in self.0.lines() {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            if !first.eq_ignore_ascii_case(name) || name.is_empty() {
                continue;
            }
            let list: &mut Vec<IpAddr> = found.get_or_insert_default();
            for address in rest.split(' ').filter_map(|text| text.parse().ok()) {
                if list.len() < MAX_ADDRESSES && !list.contains(&address) {
                    list.push(address);
                }
            }
        }
        found
    }

    /// The first name with this address.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (name, rest) = line.split_once(' ')?;
            rest.split(' ').any(|text| text.parse() == Ok(address)).then_some(name)
        })
    }
}

/// A network of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name of its file.
    pub file: String,
    /// What people call it.
    pub name: String,
}

/// A word of a container's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The file of the network where it means something.
    pub file: String,
    /// What the container says.
    pub word: String,
    /// The name it means there.
    pub name: String,
}

/// A container's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Where names are looked for, in this order.
    pub networks: Vec<Place>,
    /// Words of this container's own.
    pub links: Vec<Word>,
    /// Asked from the container's network namespace.
    pub servers: Vec<IpAddr>,
    /// The servers of the host's `resolv.conf` are asked, from the host's network namespace. Never on a
    /// container that has only internal networks.
    pub host_servers: bool,
    /// What has no dot is not forwarded.
    pub local_single_labels: bool,
}

impl View {
    /// From the file's bytes.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut view = Self::default();
        for line in String::from_utf8_lossy(bytes).lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["network", file, name] if is_file_name(file) && view.networks.len() < MAX_NETWORKS => {
                    view.networks.push(Place { file: file.to_owned(), name: name.to_owned() });
                }
                ["link", file, word, name] if view.links.len() < MAX_LINKS => {
                    let [file, word, name] = [file, word, name].map(str::to_owned);
                    view.links.push(Word { file, word, name });
                }
                ["server", address] if view.servers.len() < MAX_SERVERS => {
                    view.servers.extend(address.parse::<IpAddr>());
                }
                ["host-servers"] => view.host_servers = true,
                ["local-single-labels"] => view.local_single_labels = true,
                _ => {}
            }
        }
        view
    }

    /// The file's content. Words that would break a line are left out: nobody could ask for them.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        for place in self.networks.iter().filter(|p| is_word(&p.file) && is_word(&p.name)) {
            let _ = writeln!(out, "network {} {}", place.file, place.name);
        }
        for Word { file, word, name } in &self.links {
            if [file, word, name].into_iter().all(|text| is_word(text)) {
                let _ = writeln!(out, "link {file} {word} {name}");
            }
        }
        for server in &self.servers {
            let _ = writeln!(out, "server {server}");
        }
        for (set, word) in
            [(self.host_servers, "host-servers"), (self.local_single_labels, "local-single-labels")]
        {
            if set {
                let _ = writeln!(out, "{word}");
            }
        }
        out
    }

    /// The addresses of a name in lower case. `tables` are the files of `networks`. A name may end in a dot and
    /// the name of one of the networks, which is then the only one.
    pub fn addresses(&self, tables: &[Names], name: &str) -> Option<Vec<IpAddr>> {
        let places = || self.networks.iter().zip(tables);
        let in_one = |(place, names): (&Place, &Names), name: &str| {
            let is_meant = |link: &&Word| link.file == place.file && link.word.eq_ignore_ascii_case(name);
            let link = self.links.iter().find(is_meant);
            link.and_then(|link| names.addresses(&link.name)).or_else(|| names.addresses(name))
        };
        places().find_map(|place| in_one(place, name)).or_else(|| {
            places().find_map(|place| {
                // A name may hold characters of several bytes: it is only cut where one ends.
                let (rest, end) = name.split_at_checked(name.len().checked_sub(place.0.name.len() + 1)?)?;
                let network = end.strip_prefix('.')?;
                network.eq_ignore_ascii_case(&place.0.name).then(|| in_one(place, rest))?
            })
        })
    }

    /// The name of an address, with its network's behind.
    pub fn name_of(&self, tables: &[Names], address: IpAddr) -> Option<String> {
        self.networks
            .iter()
            .zip(tables)
            .find_map(|(place, names)| names.name_of(address).map(|name| format!("{name}.{}", place.name)))
    }
}

/// A network's file from its lines; the first line with an address is its reverse.
pub fn to_text<'a>(lines: impl IntoIterator<Item = (&'a str, &'a [IpAddr])>) -> String {
    let mut out = String::new();
    for (name, addresses) in lines.into_iter().filter(|(name, _)| is_word(name)) {
        out.push_str(name);
        for address in addresses {
            let _ = write!(out, " {address}");
        }
        out.push('\n');
    }
    out
}

/// The addresses of the servers in a `resolv.conf` (resolv.conf(5)), with their zones.
pub fn servers_of(resolv_conf: &[u8]) -> Vec<(IpAddr, Option<String>)> {
    let text = String::from_utf8_lossy(resolv_conf);
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|w| *w == "nameserver").and_then(|_| words.next())?;
        let (address, zone) = address.split_once('%').map_or((address, None), |(a, z)| (a, Some(z)));
        Some((address.parse().ok()?, zone.map(str::to_owned)))
    });
    servers.take(MAX_SERVERS).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Nothing that leads out of the folder.
fn is_file_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn world() -> (View, Vec<Names>) {
        let view = View::parse(
            b"network aa n1\nnetwork bb n2.example\nlink aa database db\nlink aa web db\nlink bb db web\nserver 10.0.0.1\nhost-servers\nwhatever 1\nnetwork ../etc/passwd x\n",
        );
        let first = Names::parse(b"web 172.18.0.2 fd00::2\ndb 172.18.0.3\nshared 172.18.0.2 172.18.0.3\nShared 172.18.0.4 172.18.0.2\n\n broken\nempty\n");
        let second = Names::parse(b"web 172.19.0.2\nonly 172.19.0.5\n");
        (view, vec![first, second])
    }

    #[test]
    fn names_and_addresses() {
        let (view, tables) = world();
        assert_eq!(view.networks.len(), 2);
        let cases: [(&str, Option<&[&str]>); 16] = [
            ("db", Some(&["172.18.0.3"])),
            ("db.n2.example", Some(&["172.19.0.2"])),
            ("only", Some(&["172.19.0.5"])),
            ("shared", Some(&["172.18.0.2", "172.18.0.3", "172.18.0.4"])),
            ("database", Some(&["172.18.0.3"])),
            // The container's own word goes before the network's, but only where it leads somewhere.
            ("web", Some(&["172.18.0.3"])),
            ("web.n1", Some(&["172.18.0.3"])),
            ("web.n2.example", Some(&["172.19.0.2"])),
            ("only.n2.example", Some(&["172.19.0.5"])),
            ("only.n1", None),
            ("onlyn1", None),
            ("n1", None),
            (".n1", None),
            ("", None),
            ("empty", Some(&[])),
            ("nobody", None),
        ];
        for (name, expected) in cases {
            let expected = expected.map(|list| list.iter().map(|a| ip(a)).collect::<Vec<_>>());
            assert_eq!(view.addresses(&tables, name), expected, "{name}");
        }
    }

    #[test]
    fn names_of_addresses() {
        let (view, tables) = world();
        for (address, name) in [
            ("172.18.0.2", Some("web.n1")),
            ("fd00::2", Some("web.n1")),
            ("172.19.0.5", Some("only.n2.example")),
            ("172.18.0.9", None),
        ] {
            assert_eq!(view.name_of(&tables, ip(address)).as_deref(), name, "{address}");
        }
    }

    #[test]
    fn there_and_back() {
        let (view, _) = world();
        assert_eq!(View::parse(view.to_text().as_bytes()), view);
        let text = to_text([("web", &[ip("10.0.0.1"), ip("::1")][..]), ("a b", &[]), ("x", &[])]);
        assert_eq!(text, "web 10.0.0.1 ::1\nx\n");
        let link = Word { file: "aa".into(), word: "a\nhost-servers".into(), name: "b".into() };
        let hostile = View { links: vec![link], ..View::default() };
        assert_eq!(hostile.to_text(), "");
    }

    #[test]
    fn servers() {
        let text = b"# nameserver 1.1.1.1\nnameserver 10.0.0.1\n nameserver fe80::1%eth0 x\nnameserver bad\nnameserver ::1\nnameserver 10.0.0.4\nsearch nameserver\n";
        let expected = [(ip("10.0.0.1"), None), (ip("fe80::1"), Some("eth0".to_owned())), (ip("::1"), None)];
        assert_eq!(servers_of(text), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(any::<u8>(), 0..300), name in ".{0,20}") {
            let view = View::parse(&bytes);
            prop_assert_eq!(&View::parse(view.to_text().as_bytes()).servers, &view.servers);
            let names = Names::parse(&bytes);
            let view = View { networks: vec![Place { file: "a".into(), name: "é".into() }], ..view };
            let _ = view.addresses(std::slice::from_ref(&names), &name);
            let _ = names.name_of(ip("10.0.0.1"));
            let _ = servers_of(&bytes);
        }
    }
}
