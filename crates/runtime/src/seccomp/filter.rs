//! The compiler: system call numbers with actions in, a program of classic BPF out.
//!
//! For each architecture the numbers form ranges of equal action, and the program is a binary search over the
//! ranges' first numbers. Shallow matters twice: the kernel runs the program on calls that depend on arguments, and
//! when it is loaded it runs it once for every number to learn which calls are always allowed (since 5.11).
//!
//! Rules follow libseccomp as runc uses it: a rule whose action is the default is none; a rule without conditions
//! hides those with conditions; of several without conditions the first counts; several conditions on the same
//! argument in one rule are alternatives. Conditional rules are tried in order.
//!
//! Also compiled into the build script, therefore it uses nothing of the crate. It does not know names.

use super::Insn;
use super::emit::{Emitter, Target, Test};

/// SECCOMP_RET_KILL_PROCESS.
pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
/// SECCOMP_RET_KILL_THREAD.
pub(crate) const KILL_THREAD: u32 = 0;
/// SECCOMP_RET_TRAP.
pub(crate) const TRAP: u32 = 0x0003_0000;
/// SECCOMP_RET_ERRNO, with the number in the low half.
pub(crate) const ERRNO: u32 = 0x0005_0000;
/// SECCOMP_RET_USER_NOTIF.
pub(crate) const NOTIFY: u32 = 0x7fc0_0000;
/// SECCOMP_RET_TRACE, with the number in the low half.
pub(crate) const TRACE: u32 = 0x7ff0_0000;
/// SECCOMP_RET_LOG.
pub(crate) const LOG: u32 = 0x7ffc_0000;
/// SECCOMP_RET_ALLOW.
pub(crate) const ALLOW: u32 = 0x7fff_0000;

const ENOSYS: u32 = 38;
/// Longest program that the kernel takes (BPF_MAXINSNS).
const MAX_INSNS: usize = 4096;
/// Columns of the table of numbers, one for each architecture.
pub(crate) const COLUMNS: usize = 5;
/// Set in the numbers of x32 calls.
const X32_BIT: u32 = 0x4000_0000;
/// Numbers of the ARM kernel's own calls begin here (set_tls and others); no newer call lies beyond them.
const ARM_PRIVATE: u32 = 0x000f_0000;
/// struct seccomp_data: the number, the architecture, six arguments of 64 bits (little endian here).
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// An architecture that the compiler has numbers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

/// How an argument is compared: unsigned, 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// Under the mask `value`, equal to `value_two`.
    MaskedEqual,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) arg: u32,
    pub(crate) op: Op,
    pub(crate) value: u64,
    pub(crate) value_two: u64,
}

/// What is to be compiled.
pub(crate) struct Filter {
    default: u32,
    /// Calls newer than all that the rules name get ENOSYS.
    newer_is_enosys: bool,
    arches: Vec<Numbers>,
}

/// The rules of one architecture.
struct Numbers {
    arch: Arch,
    /// By number, once [`Numbers::merge`] was called.
    calls: Vec<(u32, Call)>,
    newest: Option<u32>,
}

/// What happens to one call.
#[derive(Clone, PartialEq, Eq)]
enum Call {
    Always(u32),
    Rules(Vec<(Vec<Condition>, u32)>),
}

impl Arch {
    /// All of them, in the order of the table's columns.
    pub(crate) const ALL: [Self; COLUMNS] = [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm];

    /// The architectures that a kernel of this one runs, itself first.
    pub(crate) fn family(self) -> &'static [Arch] {
        match self {
            Self::X86_64 | Self::X86 | Self::X32 => &[Self::X86_64, Self::X86, Self::X32],
            Self::Aarch64 | Self::Arm => &[Self::Aarch64, Self::Arm],
        }
    }

    /// AUDIT_ARCH_*; x32 is told from x86_64 by a bit of the number.
    pub(crate) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether its arguments have 64 bits. Of the others the low half is compared, as by libseccomp: x32 passes
    /// registers of 64 bits to a kernel that mostly looks at their low halves.
    fn is_wide(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
    }

    /// Its name in the spec.
    pub(crate) fn spec_name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// Its column in the table of numbers.
    pub(crate) fn column(self) -> usize {
        self as usize
    }
}

impl Filter {
    /// A filter for these architectures without rules.
    pub(crate) fn new(default: u32, newer_is_enosys: bool, arches: &[Arch]) -> Self {
        let numbers = |&arch: &Arch| Numbers { arch, calls: Vec::new(), newest: None };
        Self { default, newer_is_enosys, arches: arches.iter().map(numbers).collect() }
    }

    /// Adds a rule for a call on each architecture that has it: `numbers` is its row in the table.
    pub(crate) fn add_call(
        &mut self,
        name: &str,
        numbers: &[i32; COLUMNS],
        action: u32,
        conditions: &[Condition],
    ) {
        for arch in Arch::ALL {
            if let Ok(number) = u32::try_from(numbers[arch.column()]) {
                self.add(arch, number, action, conditions);
            }
        }
        // i386 reaches sockets and System V IPC through two calls as well. Their arguments lie in memory, so that a
        // condition cannot be checked there: it forbids for all of them, and allows for none.
        if let Some((number, function)) = multiplexed(name)
            && (conditions.is_empty() || !matches!(action, ALLOW | LOG))
        {
            let condition = Condition { arg: 0, op: Op::Equal, value: function, value_two: 0 };
            self.add(Arch::X86, number, action, &[condition]);
        }
    }

    /// Adds a rule for a call, by its number in the kernel's table (x32 without its bit).
    fn add(&mut self, arch: Arch, number: u32, action: u32, conditions: &[Condition]) {
        let default = self.default;
        let Some(numbers) = self.arches.iter_mut().find(|n| n.arch == arch) else { return };
        if number < ARM_PRIVATE {
            numbers.newest = numbers.newest.max(Some(number));
        }
        if action == default {
            return;
        }
        let narrow: Vec<Condition>;
        let conditions = if arch.is_wide() {
            conditions
        } else {
            narrow = conditions.iter().map(Condition::narrow).collect();
            &narrow
        };
        let call = if conditions.is_empty() {
            Call::Always(action)
        } else if has_repeated_argument(conditions) {
            Call::Rules(conditions.iter().map(|c| (vec![*c], action)).collect())
        } else {
            Call::Rules(vec![(conditions.to_vec(), action)])
        };
        numbers.calls.push((number, call));
    }

    /// The program, or its length if that is too much.
    pub(crate) fn compile(mut self) -> Result<Vec<Insn>, usize> {
        self.arches.iter_mut().for_each(Numbers::merge);
        let mut emitter = Emitter::default();
        // Whoever comes in by an architecture that is not listed is killed, as by libseccomp.
        let mut next = Target::Return(KILL_THREAD);
        let mut blocks = Vec::new();
        // The first architecture is the machine's own: written last, it stands next to the entry.
        for numbers in self.arches.iter().rev().filter(|n| n.arch != Arch::X32) {
            let tree = self.block(&mut emitter, numbers);
            blocks.push((numbers.arch.audit(), emitter.load(OFFSET_NUMBER, tree)));
        }
        for (audit, block) in blocks {
            next = emitter.test(Test::Equal, audit, block, next);
        }
        let start = emitter.load(OFFSET_ARCH, next);
        let program = emitter.finish(start);
        if program.len() > MAX_INSNS { Err(program.len()) } else { Ok(program) }
    }

    fn block(&self, emitter: &mut Emitter, numbers: &Numbers) -> Target {
        let mut ranges = Vec::new();
        self.ranges(emitter, numbers, 0, &mut ranges);
        if numbers.arch == Arch::X86_64 {
            match self.arches.iter().find(|n| n.arch == Arch::X32) {
                Some(x32) => self.ranges(emitter, x32, X32_BIT, &mut ranges),
                // Without the stub, as libseccomp does; with it, they are newer than any.
                None if self.newer_is_enosys && numbers.newest.is_some() => {}
                None => ranges.push((X32_BIT, Target::Return(KILL_THREAD))),
            }
        }
        ranges.dedup_by(|next, previous| next.1 == previous.1);
        tree(emitter, &ranges)
    }

    /// The ranges of one architecture: first number and where to go. `base` is added to the numbers.
    fn ranges(&self, emitter: &mut Emitter, numbers: &Numbers, base: u32, ranges: &mut Vec<(u32, Target)>) {
        let default = Target::Return(self.default);
        let newest = numbers.newest.filter(|_| self.newer_is_enosys).unwrap_or(u32::MAX);
        let gap = |ranges: &mut Vec<(u32, Target)>, first: u32, end: u32| {
            if first < end && first <= newest {
                ranges.push((base + first, default));
            }
            let newer = first.max(newest.saturating_add(1));
            if newer < end {
                ranges.push((base + newer, Target::Return(ERRNO | ENOSYS)));
            }
        };
        let mut next = 0;
        // Calls with the same rules share their code.
        let mut shared: Vec<(&Call, Target)> = Vec::new();
        for &(number, ref call) in &numbers.calls {
            gap(ranges, next, number);
            let known = shared.iter().find(|(c, _)| *c == call).map(|&(_, t)| t);
            let target = known.unwrap_or_else(|| self.call(emitter, call, numbers.arch.is_wide()));
            if known.is_none() {
                shared.push((call, target));
            }
            ranges.push((base + number, target));
            next = number + 1;
        }
        gap(ranges, next, X32_BIT);
    }

    fn call(&self, emitter: &mut Emitter, call: &Call, wide: bool) -> Target {
        let default = Target::Return(self.default);
        let rules = match call {
            Call::Always(action) => return Target::Return(*action),
            Call::Rules(rules) => rules,
        };
        if let Some(argument) = one_argument(rules, self.default) {
            let offset = OFFSET_ARGS + 8 * argument.arg;
            let low = tree(emitter, &argument.low);
            let low = emitter.load(offset, low);
            if !wide {
                return low;
            }
            let high = emitter.test(Test::Equal, 0, low, argument.above);
            return emitter.load(offset + 4, high);
        }
        rules.iter().rev().fold(default, |next, (conditions, action)| {
            let met = Target::Return(*action);
            conditions.iter().rev().fold(met, |met, c| condition(emitter, c, wide, met, next))
        })
    }
}

fn has_repeated_argument(conditions: &[Condition]) -> bool {
    conditions.iter().enumerate().any(|(at, c)| conditions[..at].iter().any(|d| d.arg == c.arg))
}

/// i386's socketcall(2) and ipc(2): the number of the call, and its first argument (linux/net.h, linux/ipc.h).
fn multiplexed(name: &str) -> Option<(u32, u64)> {
    const SOCKETCALL: u32 = 102;
    const IPC: u32 = 117;
    Some(match name {
        "socket" => (SOCKETCALL, 1),
        "bind" => (SOCKETCALL, 2),
        "connect" => (SOCKETCALL, 3),
        "listen" => (SOCKETCALL, 4),
        "accept" => (SOCKETCALL, 5),
        "getsockname" => (SOCKETCALL, 6),
        "getpeername" => (SOCKETCALL, 7),
        "socketpair" => (SOCKETCALL, 8),
        "send" => (SOCKETCALL, 9),
        "recv" => (SOCKETCALL, 10),
        "sendto" => (SOCKETCALL, 11),
        "recvfrom" => (SOCKETCALL, 12),
        "shutdown" => (SOCKETCALL, 13),
        "setsockopt" => (SOCKETCALL, 14),
        "getsockopt" => (SOCKETCALL, 15),
        "sendmsg" => (SOCKETCALL, 16),
        "recvmsg" => (SOCKETCALL, 17),
        "accept4" => (SOCKETCALL, 18),
        "recvmmsg" => (SOCKETCALL, 19),
        "sendmmsg" => (SOCKETCALL, 20),
        "semop" => (IPC, 1),
        "semget" => (IPC, 2),
        "semctl" => (IPC, 3),
        "semtimedop" => (IPC, 4),
        "msgsnd" => (IPC, 11),
        "msgrcv" => (IPC, 12),
        "msgget" => (IPC, 13),
        "msgctl" => (IPC, 14),
        "shmat" => (IPC, 21),
        "shmdt" => (IPC, 22),
        "shmget" => (IPC, 23),
        "shmctl" => (IPC, 24),
        _ => return None,
    })
}

/// Code for one condition: `met` or `not`; without `wide`, on the argument's low half only.
fn condition(emitter: &mut Emitter, c: &Condition, wide: bool, met: Target, not: Target) -> Target {
    let (high, low) = ((c.value >> 32) as u32, c.value as u32);
    let offset = OFFSET_ARGS + 8 * c.arg;
    // "Less" is "not greater or equal".
    let (met, not) = match c.op {
        Op::Less | Op::LessOrEqual | Op::NotEqual => (not, met),
        Op::Equal | Op::GreaterOrEqual | Op::Greater | Op::MaskedEqual => (met, not),
    };
    match c.op {
        Op::Equal | Op::NotEqual => {
            let test = emitter.test(Test::Equal, low, met, not);
            let load = emitter.load(offset, test);
            if !wide {
                return load;
            }
            let test = emitter.test(Test::Equal, high, load, not);
            emitter.load(offset + 4, test)
        }
        Op::MaskedEqual => {
            let test = emitter.test(Test::Equal, c.value_two as u32, met, not);
            let mask = emitter.and(low, test);
            let load = emitter.load(offset, mask);
            if !wide || (high == 0 && c.value_two >> 32 == 0) {
                return load;
            }
            let test = emitter.test(Test::Equal, (c.value_two >> 32) as u32, load, not);
            let mask = emitter.and(high, test);
            emitter.load(offset + 4, mask)
        }
        Op::Less | Op::GreaterOrEqual | Op::LessOrEqual | Op::Greater => {
            let low_test = match c.op {
                Op::Less | Op::GreaterOrEqual => Test::GreaterOrEqual,
                _ => Test::Greater,
            };
            let test = emitter.test(low_test, low, met, not);
            let load = emitter.load(offset, test);
            if !wide {
                return load;
            }
            let test = emitter.test(Test::Equal, high, load, not);
            let test = emitter.test(Test::Greater, high, met, test);
            emitter.load(offset + 4, test)
        }
    }
}

/// What depends on one argument only, and on no value of more than 32 bits.
struct OneArgument {
    arg: u32,
    /// Ranges of its low half.
    low: Vec<(u32, Target)>,
    /// When its high half is not zero.
    above: Target,
}

/// The rules in that form, if each is one condition on the same argument.
fn one_argument(rules: &[(Vec<Condition>, u32)], default: u32) -> Option<OneArgument> {
    let first = rules.first()?.0.first()?;
    let mut bounds = vec![0, 1 << 32];
    for (conditions, _) in rules {
        let [c] = conditions.as_slice() else { return None };
        if c.arg != first.arg || c.op == Op::MaskedEqual || c.value >= 1 << 32 {
            return None;
        }
        match c.op {
            Op::Less | Op::GreaterOrEqual => bounds.push(c.value),
            Op::LessOrEqual | Op::Greater => bounds.push(c.value + 1),
            _ => bounds.extend([c.value, c.value + 1]),
        }
    }
    bounds.sort_unstable();
    bounds.dedup();
    let action = |value| {
        let rule = rules.iter().find(|(conditions, _)| conditions.iter().all(|c| c.holds(value)));
        Target::Return(rule.map_or(default, |r| r.1))
    };
    let mut low: Vec<_> = bounds.iter().filter_map(|&b| Some((u32::try_from(b).ok()?, action(b)))).collect();
    low.dedup_by(|next, previous| next.1 == previous.1);
    Some(OneArgument { arg: first.arg, low, above: action(1 << 32) })
}

impl Numbers {
    /// Sorts the rules by number and makes one of those for the same call. Names come in an order far from that of
    /// the numbers: sorting at the end is twice as fast as keeping a map.
    fn merge(&mut self) {
        self.calls.sort_by_key(|(number, _)| *number);
        self.calls.dedup_by(|(number, next), (previous_number, previous)| {
            let same = number == previous_number;
            if same && let Call::Rules(rules) = previous {
                match next {
                    Call::Always(_) => *previous = next.clone(),
                    Call::Rules(more) => rules.append(more),
                }
            }
            same
        });
    }
}

impl Condition {
    fn narrow(&self) -> Self {
        let low = u64::from(u32::MAX);
        Self { value: self.value & low, value_two: self.value_two & low, ..*self }
    }

    /// Whether the condition is met by this value of its argument.
    pub(crate) fn holds(&self, value: u64) -> bool {
        match self.op {
            Op::NotEqual => value != self.value,
            Op::Less => value < self.value,
            Op::LessOrEqual => value <= self.value,
            Op::Equal => value == self.value,
            Op::GreaterOrEqual => value >= self.value,
            Op::Greater => value > self.value,
            Op::MaskedEqual => value & self.value == self.value_two,
        }
    }
}

/// Binary search over ranges, of which the first begins at the lowest possible value.
fn tree(emitter: &mut Emitter, ranges: &[(u32, Target)]) -> Target {
    match ranges {
        [] => Target::Return(KILL_THREAD),
        [only] => only.1,
        [below, one, above] if is_hole(ranges, 1) => {
            debug_assert_eq!(below.1, above.1);
            emitter.test(Test::Equal, one.0, one.1, below.1)
        }
        _ => {
            let pivot = pivot(ranges);
            let above = tree(emitter, &ranges[pivot..]);
            let below = tree(emitter, &ranges[..pivot]);
            emitter.test(Test::GreaterOrEqual, ranges[pivot].0, above, below)
        }
    }
}

/// A single value between two ranges that go the same way: one comparison tells it, if it is not cut off from them.
fn is_hole(ranges: &[(u32, Target)], at: usize) -> bool {
    match ranges.get(at.wrapping_sub(1)..=at + 1) {
        Some([below, one, above]) => below.1 == above.1 && above.0 == one.0 + 1,
        _ => false,
    }
}

/// The range at which to divide: near the middle, and not beside a hole if that can be had nearby.
fn pivot(ranges: &[(u32, Target)]) -> usize {
    let middle = ranges.len() / 2;
    let cuts = |at: usize| usize::from(is_hole(ranges, at)) + usize::from(is_hole(ranges, at - 1));
    let slack = (ranges.len() / 8).max(1);
    let candidates = middle.saturating_sub(slack).max(1)..=(middle + slack).min(ranges.len() - 1);
    candidates.min_by_key(|&at| (cuts(at), at.abs_diff(middle))).unwrap_or(middle)
}
