//! What an engine could leave behind in a virtual machine, taken before and after and compared; see `crate::state`,
//! which does the same for test hosts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Vm;

/// Prints a line for everything that may not be left: processes and their network namespaces, mounts, veths, nft
/// elements, cgroups, folders of containers. Kernel threads and what belongs to this look itself do not count, nor do
/// databases and the lock of a daemon's socket, which stays.
const LOOK: &str = r#"
processes=$(ps --ppid 2 -p 2 --deselect -o pid=,args=)
echo "$processes" | grep -v -e /run/vm/script -e /etc/vm/ -e ' ps --ppid' | sed 's/^ */process /'
readlink /proc/[0-9]*/ns/net | sort -u | sed 's/^/netns /'
cut -d' ' -f2,3 /proc/mounts | sed 's/^/mount /'
ip -o link show type veth | cut -d: -f2 | sed 's/^/veth/'
nft list ruleset 2>/dev/null | tr -d '\n' | grep -o 'elements = {[^}]*}' | sed 's/^/nft /'
find /sys/fs/cgroup -mindepth 2 -type d | sed 's/^/cgroup /'
find /var/lib/tare /run/tare -maxdepth 3 2>/dev/null | grep -v -e '\.db' -e '/socket-[^/]*\.lock$' | sed 's/^/file /'
"#;

/// One look at a machine.
#[derive(Debug, Clone, Default)]
pub struct State(BTreeSet<String>);

impl State {
    /// Looks at `vm` now.
    #[track_caller]
    pub fn of(vm: &mut Vm) -> State {
        State(vm.sh(LOOK).stdout.lines().map(str::to_string).collect())
    }

    /// Asserts that within a few seconds nothing is left in `vm` that was not there at this look.
    #[track_caller]
    pub fn is_restored(&self, vm: &mut Vm) {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            let now = State::of(vm);
            let left: Vec<&String> = now.0.difference(&self.0).collect();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left behind: {left:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
