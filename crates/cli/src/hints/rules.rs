//! What is advised to which text: a table, the first that fits.

/// A text and the advice for it.
struct Rule {
    /// All of these are in the text.
    says: &'static [&'static str],
    /// What `$1` is: the part of the text between these two.
    part: Option<(&'static str, &'static str)>,
    /// The advice; `$tare` is the program's name.
    advice: &'static str,
}

const fn rule(says: &'static [&'static str], advice: &'static str) -> Rule {
    Rule { says, part: None, advice }
}

impl Rule {
    const fn with(mut self, after: &'static str, until: &'static str) -> Rule {
        self.part = Some((after, until));
        self
    }
}

/// What is not found, by the words in front of its name.
const MISSING: [(&str, &str); 4] = [
    ("No such container: ", "container"),
    ("No such image: ", "image"),
    ("Error response from daemon: network ", "network"),
    ("Error response from daemon: get ", "volume"),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule(&["permission denied while trying to connect to the Docker daemon socket"],
        "root and the members of the group tare may use the socket: `sudo usermod -aG tare $USER`, then log in again"),
    rule(&["Cannot connect to the Docker daemon at"],
        "`tare daemon` starts one; without -H, TARE_HOST and DOCKER_HOST tare needs none"),
    rule(&["Conflict. The container name"],
        "`$tare rm -f $1` removes the other one, `$tare rename $1 OTHER` keeps it; or choose another --name").with("container name \"/", "\""),
    rule(&["No such container: "], "`$tare ps -a` lists all there are, those that have ended too"),
    rule(&["No such image: "], "`$tare pull $1` fetches it; `$tare images` lists what is here").with("No such image: ", "\n"),
    rule(&["volume", "no such volume"], "`$tare volume ls` lists all there are"),
    rule(&["get ", ": no such volume"], "`$tare volume ls` lists all there are"),
    rule(&["Minimum memory limit allowed is 6MB"], "a container needs 6m to start, most programs far more: --memory 64m"),
    rule(&["Minimum memoryswap limit should be larger than memory limit"],
        "--memory-swap is memory and swap together; -1 allows any amount of swap"),
    rule(&["You should always set the Memory limit when using Memoryswap limit"], "set --memory too: --memory-swap is memory and swap together"),
    rule(&["Range of CPUs is from"], "--cpus 1.5 is one and a half processors' time; `nproc` tells how many there are"),
    rule(&["exec format error"],
        "the program is for another processor, or a script without a #! line; `$tare image inspect --format '{{.Os}}/{{.Architecture}}' IMAGE` tells which"),
    rule(&["exec: \"-", "executable file not found"],
        "options stand before the image's name; what follows it is the container's command"),
    rule(&["executable file not found in $PATH"],
        "the image has no program $1; what follows the image's name is the command, and without one the image's own runs").with("exec: \"", "\""),
    rule(&["exec: \"", "permission denied"],
        "$1 may not be executed: `chmod +x` it in the image, or run it by its interpreter, as in sh $1").with("exec: \"", "\""),
    rule(&["exec: \"", "no such file or directory"],
        "the image has no file $1, or not the interpreter or loader that it names").with("exec: \"", "\""),
    rule(&["is paused, unpause the container"], "`$tare unpause $1` lets it go on").with("Container ", " is paused"),
    rule(&["paused container, try unpause"], "`$tare unpause CONTAINER` lets it go on"),
    rule(&["cannot remove container", "paused and must be unpaused"],
        "`$tare unpause $1` first, or `$tare rm -f $1`").with("container \"", "\""),
    rule(&["cannot remove container", "stop the container before removing"],
        "`$tare stop $1` first, or `$tare rm -f $1`").with("container \"", "\""),
    rule(&["is not running"], "`$tare start $1` starts it; `$tare logs $1` shows what it said before it ended").with("ontainer ", " is not running"),
    rule(&["unable to delete", "(must be forced)", "container "],
        "`$tare rm $1` removes the container that uses it; `$tare rmi -f` takes only the name away").with(" container ", " "),
    rule(&["unable to delete", "(cannot be forced)"],
        "`$tare rm -f $1` first: it runs from this image").with("running container ", "\n"),
    rule(&["unable to delete", "must be forced"], "the image has several names: `$tare rmi` each, or `$tare rmi -f` all at once"),
    rule(&["volume is in use - ["], "`$tare rm $1` first: that container uses it").with("volume is in use - [", "]"),
    rule(&["has active endpoints"],
        "`$tare network disconnect -f $1 CONTAINER` takes a container out of it").with("network ", " has active endpoints"),
    rule(&["Pool overlaps with other one on this address space"],
        "another network has some of these addresses: see `$tare network ls` and `ip route`, or leave --subnet away"),
    rule(&["no available IPv4 addresses"], "the network is full: make one with a larger --subnet"),
    rule(&["manifest unknown"], "the registry has the repository, but not this tag: look for a slip, there need not be a `latest`"),
    rule(&["pull access denied"], "look for a slip in the name; for a private image `$tare login` first"),
    rule(&["denied: requested access"], "`$tare login` first, and name the image after your account: `$tare tag IMAGE USER/NAME`"),
    rule(&["unauthorized"], "`$tare login REGISTRY` first"),
    rule(&["toomanyrequests"], "the registry limits how much you may pull: `$tare login` raises the limit, and it passes with time"),
    rule(&["failed to resolve reference", ": not found"],
        "the registry has no such name or tag: look for a slip, there need not be a tag `latest`"),
    rule(&["no match for platform in manifest"], "the image is not made for this machine; --platform asks for another"),
    rule(&["server gave HTTP response to HTTPS client"],
        "the registry speaks plain HTTP, which is trusted on loopback only"),
    rule(&["certificate signed by unknown authority"], "put its authority into /etc/tare/certs.d/HOST:PORT/ca.crt"),
    rule(&["dial tcp: lookup "], "the name has no address: look for a slip, at /etc/resolv.conf, and at HTTPS_PROXY where only a proxy leads out"),
    rule(&["connect: connection refused"], "nothing listens there: is the registry running, and is that its port?"),
    rule(&["repository name", "must be lowercase"], "write the image's name in small letters: capitals are allowed in tags only"),
    rule(&["invalid reference format"], "an image is [REGISTRY/]NAME[:TAG], as in nginx:1.27 or ghcr.io/owner/app"),
    rule(&["bind source path does not exist: "], "`mkdir -p $1` first: -v makes a missing folder, --mount does not").with("does not exist: ", "\n"),
    rule(&["Are you trying to mount a directory onto a file"],
        "both sides must be files, or both folders; a source that was missing at an earlier run is an empty folder now"),
    rule(&["includes invalid characters for a local volume name"], "a folder is mounted by its whole path, as in -v \"$PWD/data:/data\""),
    rule(&["invalid mount path", "must be absolute"], "the place in the container begins with /, as in -v data:/data"),
    rule(&["invalid containerPort"], "a port is published as -p HOST_PORT:CONTAINER_PORT, as in -p 8080:80"),
    rule(&["invalid hostPort"], "a port is published as -p HOST_PORT:CONTAINER_PORT, as in -p 8080:80"),
    rule(&["no space left on device"],
        "`$tare container prune`, `$tare image prune -a` and `$tare volume prune` give space back"),
    rule(&["the input device is not a TTY"], "leave -t away where the input is no terminal; -i alone passes it on"),
    rule(&["unable to find user "], "a name must be in the image's /etc/passwd; numbers always work, as in -u 1000:1000"),
    rule(&["unable to find group "], "a name must be in the image's /etc/group; numbers always work"),
    rule(&["can't create 'AutoRemove' container with restart policy"], "--rm and --restart exclude each other: leave one away"),
    rule(&["configured logging driver does not support reading"], "with --log-driver none nothing is kept; make it with another one to read its log"),
    rule(&["Invalid container name"], "letters, digits, _ . and -, of which the first is a letter or digit"),
    rule(&["Are you sure you want to", "requires a terminal"], "-f answers yes"),
    rule(&["network ", " not found"], "`$tare network create $1` makes it; `$tare network ls` lists all there are").with("network ", " not found"),
    rule(&["no command specified"], "the image has no command of its own: name one after it, as in `$tare run IMAGE sh`"),
    rule(&["invalid signal"], "a signal is a name or a number, as in HUP, SIGHUP or 1; `kill -l` lists them"),
    rule(&["container ID file found"], "`rm` the file when that container is gone"),
];

/// The advice for a text.
pub(super) fn hint(text: &str, program: &str) -> Option<String> {
    let rule = RULES.iter().find(|rule| rule.says.iter().all(|words| text.contains(words)))?;
    let part = match rule.part {
        Some((after, until)) => between(text, after, until)?,
        None => "",
    };
    Some(rule.advice.replace("$tare", program).replace("$1", short(part)))
}

/// `container`, `image`, `network` or `volume`: what a text says there is not.
pub(super) fn missing_kind(text: &str) -> Option<&'static str> {
    missing(text).map(|(kind, _)| kind)
}

/// And its name.
pub(super) fn missing_name(text: &str) -> Option<&str> {
    missing(text).map(|(_, name)| name)
}

fn missing(text: &str) -> Option<(&'static str, &str)> {
    MISSING.iter().find_map(|(before, kind)| {
        let rest = &text[text.find(before)? + before.len()..];
        let line = rest.lines().next()?;
        let name = match *kind {
            "network" => line.strip_suffix(" not found")?,
            "volume" => line.strip_suffix(": no such volume")?,
            _ => line,
        };
        Some((*kind, name)).filter(|(_, name)| !name.is_empty() && !name.contains(' '))
    })
}

fn between<'a>(text: &'a str, after: &str, until: &str) -> Option<&'a str> {
    let rest = &text[text.find(after)? + after.len()..];
    let end = rest.find(until).unwrap_or(rest.len());
    Some(rest[..end].trim_end()).filter(|part| !part.is_empty())
}

/// Nobody types the whole of a container's id.
fn short(word: &str) -> &str {
    let is_id = word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id { &word[..12] } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_can_be_reached_and_speaks_plainly() {
        for rule in RULES {
            assert!(!rule.advice.is_empty() && !rule.advice.contains('\n'), "{}", rule.advice);
            assert_eq!(rule.advice.contains("$1"), rule.part.is_some(), "{}", rule.advice);
            assert!(rule.advice.len() < 170, "{}", rule.advice);
        }
        assert!(RULES.len() >= 20);
    }

    #[test]
    fn advice_names_what_the_text_names() {
        let id = "0123456789abcdef".repeat(4);
        for (text, expected) in [
            (
                "Error response from daemon: Conflict. The container name \"/web\" is already in use by container \"x\". You have to".to_owned(),
                "`tare rm -f web` removes the other one, `tare rename web OTHER` keeps it; or choose another --name",
            ),
            (
                format!("Error response from daemon: container {id} is not running"),
                "`tare start 0123456789ab` starts it; `tare logs 0123456789ab` shows what it said before it ended",
            ),
            (
                "Error response from daemon: No such image: nosuch:latest\nmore".to_owned(),
                "`tare pull nosuch:latest` fetches it; `tare images` lists what is here",
            ),
            (
                format!("Error response from daemon: remove v: volume is in use - [{id}]"),
                "`tare rm 0123456789ab` first: that container uses it",
            ),
            (
                "docker: Error response from daemon: exec: \"--rm\": executable file not found in $PATH".to_owned(),
                "options stand before the image's name; what follows it is the container's command",
            ),
        ] {
            assert_eq!(hint(&text, "tare").as_deref(), Some(expected), "{text}");
        }
        assert_eq!(hint("Error response from daemon: page not found", "tare"), None);
    }

    #[test]
    fn what_is_missing_is_recognised() {
        for (text, expected) in [
            ("Error response from daemon: No such container: wbe", Some(("container", "wbe"))),
            ("x: No such image: nginx:latest\n\nRun", Some(("image", "nginx:latest"))),
            ("Error response from daemon: network mien not found", Some(("network", "mien"))),
            ("Error response from daemon: get dta: no such volume", Some(("volume", "dta"))),
            ("Error response from daemon: get something else", None),
            ("Error response from daemon: No such container: ", None),
        ] {
            assert_eq!(missing(text), expected, "{text}");
        }
    }
}
