//! Rows of `ps`.

use std::cell::Cell;
use std::rc::Rc;

use api::container::{ContainerSummary, Port};
use oci::Reference;

use super::short_id;
use crate::grammar::numbers::quote;
use crate::table::ellipsis;
use crate::template::{Object, Value, plain};
use crate::time::{Zone, go_string};
use crate::units::{human_duration, human_size};

/// Docker's default columns.
pub const TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

/// What `--format raw` stands for.
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n\
    state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\n\
    ports: {{- pad .Ports 1 0}}\n";

/// The header's cells.
pub const HEADERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

const MAX_COMMAND_WIDTH: usize = 20;
const MAX_MOUNT_WIDTH: usize = 15;

/// The format that options stand for.
pub fn format(given: &str, quiet: bool, size: bool) -> String {
    match (given, quiet) {
        ("raw", true) => "container_id: {{.ID}}".to_owned(),
        (_, true) => "{{.ID}}".to_owned(),
        ("" | "table", false) => format!("{TABLE}{}", if size { "\t{{.Size}}" } else { "" }),
        ("raw", false) => format!("{RAW}{}", if size { "size: {{.Size}}\n" } else { "" }),
        (given, false) => given.to_owned(),
    }
}

/// How rows are shown.
#[derive(Debug, Clone)]
pub struct View {
    /// Cut long fields.
    pub truncate: bool,
    /// The Unix time.
    pub now: f64,
    /// The local zone.
    pub zone: Zone,
}

/// One row.
pub struct Row {
    container: ContainerSummary,
    view: View,
    /// Whether a template asked for the size.
    pub size_used: Rc<Cell<bool>>,
}

impl Row {
    /// A container's row.
    pub fn new(container: ContainerSummary, view: View) -> Row {
        Row { container, view, size_used: Rc::default() }
    }

    fn names(&self) -> String {
        let mut names: Vec<&str> =
            self.container.names.iter().map(|n| n.strip_prefix('/').unwrap_or(n)).collect();
        if self.view.truncate
            && let Some(own) = names.iter().find(|n| !n.contains('/')).copied()
        {
            names = vec![own];
        }
        names.join(",")
    }

    fn image(&self) -> String {
        let image = &self.container.image;
        if image.is_empty() {
            return "<no image>".to_owned();
        }
        if !self.view.truncate {
            return image.clone();
        }
        let id = short_id(&self.container.image_id);
        if id == short_id(image) {
            return id;
        }
        match Reference::parse(image) {
            Ok(reference) => match reference.tag() {
                Some(tag) => format!("{}:{tag}", reference.familiar_name()),
                None => reference.familiar_name(),
            },
            Err(_) => image.clone(),
        }
    }

    fn size(&self) -> String {
        self.size_used.set(true);
        let own = human_size(self.container.size_rw, 3);
        match self.container.size_root_fs {
            all if all > 0 => format!("{own} (virtual {})", human_size(all, 3)),
            _ => own,
        }
    }

    fn mounts(&self) -> String {
        let name = |m: &api::container::MountPoint| {
            let name = if m.name.is_empty() { &m.source } else { &m.name };
            if self.view.truncate { ellipsis(name, MAX_MOUNT_WIDTH) } else { name.clone() }
        };
        self.container.mounts.iter().map(name).collect::<Vec<_>>().join(",")
    }

    fn platform(&self) -> Value {
        let platform = self.container.image_manifest_descriptor.as_ref().and_then(|d| d.platform.as_ref());
        platform.map_or(Value::Nil, |p| Value::Object(Rc::new(RowPlatform(p.clone()))))
    }

    fn text(&self, name: &str) -> Option<String> {
        let c = &self.container;
        Some(match name {
            "ID" if self.view.truncate => short_id(&c.id),
            "ID" => c.id.clone(),
            "Names" => self.names(),
            "Image" => self.image(),
            "Command" if self.view.truncate => quote(&ellipsis(&c.command, MAX_COMMAND_WIDTH)),
            "Command" => quote(&c.command),
            "CreatedAt" => go_string(c.created, &self.view.zone),
            "RunningFor" => format!("{} ago", human_duration(self.view.now - c.created as f64)),
            "Ports" => ports(&c.ports),
            "State" => c.state.clone(),
            "Status" => c.status.clone(),
            "Size" => self.size(),
            "Labels" => {
                let pairs = c.labels.iter().flatten().map(|(k, v)| format!("{k}={v}"));
                pairs.collect::<Vec<_>>().join(",")
            }
            "Mounts" => self.mounts(),
            "LocalVolumes" => c.mounts.iter().filter(|m| m.driver == "local").count().to_string(),
            "Networks" => {
                let networks = c.network_settings.as_ref().and_then(|n| n.networks.as_ref());
                networks.iter().flat_map(|n| n.keys().cloned()).collect::<Vec<_>>().join(",")
            }
            _ => return None,
        })
    }
}

impl Object for Row {
    fn type_name(&self) -> &'static str {
        "*formatter.ContainerContext"
    }
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match (name, args) {
            ("Label", [Value::Text(label)]) => {
                let value = self.container.labels.as_ref().and_then(|l| l.get(label));
                Some(Ok(value.cloned().unwrap_or_default().into()))
            }
            ("Label", _) => Some(Err(format!("wrong number of args for Label: want 1 got {}", args.len()))),
            ("Platform", []) => Some(Ok(self.platform())),
            (name, args) => plain(name, self.text(name)?, args),
        }
    }
    fn names(&self) -> &'static [&'static str] {
        &[
            "Command",
            "CreatedAt",
            "ID",
            "Image",
            "Labels",
            "LocalVolumes",
            "Mounts",
            "Names",
            "Networks",
            "Platform",
            "Ports",
            "RunningFor",
            "Size",
            "State",
            "Status",
        ]
    }
}

/// A platform in a row: one word as text, its parts as JSON.
struct RowPlatform(api::image::Platform);

impl Object for RowPlatform {
    fn type_name(&self) -> &'static str {
        "*formatter.Platform"
    }
    fn get(&self, name: &str, _: &[Value]) -> Option<Result<Value, String>> {
        let text = match name {
            "architecture" => &self.0.architecture,
            "os" => &self.0.os,
            "os.version" => &self.0.os_version,
            "variant" => &self.0.variant,
            _ => return None,
        };
        // What is empty is left out.
        (!text.is_empty()).then(|| Ok(text.as_str().into()))
    }
    fn names(&self) -> &'static [&'static str] {
        &["architecture", "os", "os.version", "variant"]
    }
    fn print(&self) -> String {
        let parts = [&self.0.os, &self.0.architecture, &self.0.variant];
        let parts: Vec<&str> =
            parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        parts.join("/")
    }
}

/// Ports as `ps` shows them: neighbours are drawn together.
fn ports(given: &[Port]) -> String {
    let mut sorted: Vec<&Port> = given.iter().collect();
    sorted.sort_by(|a, b| {
        let key = |p: &Port| (p.private_port, p.ip.clone(), p.public_port, p.protocol.clone());
        key(a).cmp(&key(b))
    });
    let mut groups: Vec<(String, u16, u16)> = Vec::new();
    let mut finished = Vec::new();
    let mut mapped = Vec::new();
    for port in sorted {
        let private = port.private_port;
        let mut key = port.protocol.clone();
        if !port.ip.is_empty() {
            if port.public_port != private {
                let host = join(&port.ip, &port.public_port.to_string());
                mapped.push(format!("{host}->{private}/{}", port.protocol));
                continue;
            }
            key = format!("{}/{}", port.ip, port.protocol);
        }
        match groups.iter_mut().find(|(k, ..)| *k == key) {
            None => groups.push((key, private, private)),
            Some((_, _, last)) if private.checked_sub(1) == Some(*last) => *last = private,
            Some((_, first, last)) => {
                finished.push(group(&key, *first, *last));
                (*first, *last) = (private, private);
            }
        }
    }
    finished.extend(groups.iter().map(|(key, first, last)| group(key, *first, *last)));
    finished.extend(mapped);
    finished.join(", ")
}

fn group(key: &str, first: u16, last: u16) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match key.split_once('/') {
        Some((ip, protocol)) => format!("{}->{range}/{protocol}", join(ip, &range)),
        None => format!("{range}/{key}"),
    }
}

fn join(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::print;

    fn row(text: &str, truncate: bool) -> Value {
        let container = api::go::decode(text.as_bytes()).unwrap();
        let view = View { truncate, now: 1_700_000_100.0, zone: Zone::default() };
        Value::Object(Rc::new(Row::new(container, view)))
    }

    const WEB: &str = r#"{"Id":"0123456789abcdef0123","Names":["/web","/other/alias"],"Image":"nginx:1.22","ImageID":"sha256:ff",
        "Command":"/docker-entrypoint.sh nginx -g 'daemon off;'","Created":1700000000,"Ports":[
        {"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
        {"PrivatePort":443,"Type":"tcp"}],"Labels":{"b":"2","a":"1"},"State":"running","Status":"Up 2 seconds",
        "SizeRw":1090,"SizeRootFs":142000000,"Mounts":[{"Name":"a-very-long-volume-name","Driver":"local"}],
        "NetworkSettings":{"Networks":{"bridge":{}}}}"#;

    #[test]
    fn tables() {
        let rows = [row(WEB, true)];
        assert_eq!(
            print(&format("", false, false), HEADERS, &rows).unwrap(),
            "CONTAINER ID   IMAGE        COMMAND                  CREATED              STATUS         PORTS                                              NAMES\n\
             0123456789ab   nginx:1.22   \"/docker-entrypoint.…\"   About a minute ago   Up 2 seconds   443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp   web\n"
        );
        assert_eq!(
            print(&format("", false, false), HEADERS, &[]).unwrap(),
            "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
        );
        assert_eq!(print(&format("", true, false), HEADERS, &rows).unwrap(), "0123456789ab\n");
    }

    #[test]
    fn formats() {
        for (template, want) in [
            ("{{.ID}}: {{.Names}}", "0123456789ab: web\n"),
            ("table {{.ID}}\\t{{.Size}}", "CONTAINER ID   SIZE\n0123456789ab   1.09kB (virtual 142MB)\n"),
            ("table {{.Names}}\t{{.Label \"com.x.my-key\"}}", "NAMES     my key\nweb       \n"),
            (
                "{{.Label \"a\"}} {{.Labels}} {{.Networks}} {{.LocalVolumes}} {{.Mounts}}",
                "1 a=1,b=2 bridge 1 a-very-long-vo…\n",
            ),
            ("{{.CreatedAt}} {{.Platform}}", "2023-11-14 22:13:20 +0000 UTC <nil>\n"),
            ("table {{upper .Names}}", "NAMES\nWEB\n"),
            ("{{json .Names}}", "\"web\"\n"),
        ] {
            assert_eq!(print(template, HEADERS, &[row(WEB, true)]).unwrap(), want, "{template}");
        }
        let on = r#"{"ImageManifestDescriptor":{"mediaType":"m","digest":"d","size":1,
            "platform":{"architecture":"arm","os":"linux","variant":"v7"}}}"#;
        for (template, want) in [
            ("{{.Platform}} {{printf \"%v\" .Platform}}", "linux/arm/v7 linux/arm/v7\n"),
            ("{{json .Platform}}", "{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v7\"}\n"),
        ] {
            assert_eq!(print(template, HEADERS, &[row(on, true)]).unwrap(), want, "{template}");
        }
        let json = print("json", HEADERS, &[row(WEB, true)]).unwrap();
        assert!(json.contains("\"Ports\":\"443/tcp, 0.0.0.0:8080-\\u003e80/tcp"), "{json}");
        assert!(json.starts_with("{\"Command\":\"\\\"/docker-entrypoint.…\\\"\",\"CreatedAt\":"), "{json}");
        assert_eq!(
            print("{{.Foo}}", HEADERS, &[row(WEB, true)]).unwrap_err(),
            "template parsing error: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext"
        );
    }

    #[test]
    fn ports_are_drawn_together() {
        let port = |ip: &str, private: u16, public: u16, protocol: &str| Port {
            ip: ip.to_owned(),
            private_port: private,
            public_port: public,
            protocol: protocol.to_owned(),
        };
        for (given, want) in [
            (vec![], ""),
            (vec![port("", 9988, 0, "tcp")], "9988/tcp"),
            (vec![port("", 9988, 0, "udp"), port("", 9989, 0, "udp")], "9988-9989/udp"),
            (vec![port("1.2.3.4", 9988, 8899, "tcp")], "1.2.3.4:8899->9988/tcp"),
            (
                vec![port("4.3.2.1", 3322, 3322, "tcp"), port("4.3.2.1", 3323, 3323, "tcp")],
                "4.3.2.1:3322-3323->3322-3323/tcp",
            ),
            (
                vec![port("", 80, 0, "tcp"), port("", 1024, 0, "tcp"), port("", 80, 0, "udp")],
                "80/tcp, 1024/tcp, 80/udp",
            ),
            (vec![port("::", 80, 80, "tcp")], "[::]:80->80/tcp"),
        ] {
            assert_eq!(ports(&given), want);
        }
    }
}
