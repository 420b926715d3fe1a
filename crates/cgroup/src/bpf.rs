//! The device policy as a bpf program for cgroup v2 (BPF_PROG_TYPE_CGROUP_DEVICE). Pure.
//!
//! The context is `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }` where access_type has the
//! kind of device (1 block, 2 character) in its low half and the access bits in its high half. The program returns 1
//! to allow.
//!
//! Its form is made for the kernel's verifier, which follows every path when the program is loaded: exceptions with
//! the same kind and access form a group, a device is one comparison of major and minor number together, and all hits
//! end at one place. Docker's list loads in 90 µs here; a chain of "is it this one, else the next" took 270.
//!
//! It does not know how a program is loaded: `sys::bpf` does.

use sys::bpf::Insn;

use crate::devices::{DevicePolicy, Exception, MKNOD, READ, WRITE};

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// Major and minor number as the kernel's dev_t has them: 12 and 20 bits.
const DEVICE: u8 = 6;
const SCRATCH: u8 = 7;

const MINOR_BITS: u32 = 20;
const MAX_MAJOR: u32 = 0xfff;
const MAX_MINOR: u32 = 0xf_ffff;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_IMM: u8 = 0xb7;
const AND_IMM: u8 = 0x57;
const OR: u8 = 0x4f;
const SHIFT_LEFT_IMM: u8 = 0x67;
const SHIFT_RIGHT_IMM: u8 = 0x77;
/// On the low 32 bits, so that the constant is not extended by its sign.
const JUMP32_EQ_IMM: u8 = 0x16;
const JUMP32_NE_IMM: u8 = 0x56;
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;

/// The program that enforces the policy.
pub fn device_program(policy: &DevicePolicy) -> Vec<Insn> {
    let mut program = vec![
        insn(LOAD_WORD, KIND, CONTEXT, 0, 0),
        insn(MOVE, ACCESS, KIND, 0, 0),
        insn(AND_IMM, KIND, 0, 0, 0xffff),
        insn(SHIFT_RIGHT_IMM, ACCESS, 0, 0, 16),
        insn(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        insn(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        insn(MOVE, DEVICE, MAJOR, 0, 0),
        insn(SHIFT_LEFT_IMM, DEVICE, 0, 0, MINOR_BITS as i32),
        insn(OR, DEVICE, MINOR, 0, 0),
    ];
    let mut hits = Vec::new();
    let mut groups: Vec<Vec<&Exception>> = Vec::new();
    for exception in policy.exceptions.iter().filter(|e| exists(e)) {
        match groups.iter_mut().find(|g| (g[0].block, g[0].access) == (exception.block, exception.access)) {
            Some(group) => group.push(exception),
            None => groups.push(vec![exception]),
        }
    }
    for group in groups {
        push_group(&mut program, &group, policy.default_allow, &mut hits);
    }
    push_verdict(&mut program, policy.default_allow);
    land(&mut program, &hits);
    push_verdict(&mut program, !policy.default_allow);
    program
}

/// "If it is this kind and access, and one of these devices: a hit."
fn push_group(program: &mut Vec<Insn>, group: &[&Exception], default_allow: bool, hits: &mut Vec<usize>) {
    let all = i32::from(MKNOD | READ | WRITE);
    let access = i32::from(group[0].access);
    let mut misses = vec![push(program, JUMP32_NE_IMM, KIND, if group[0].block { 1 } else { 2 })];
    if default_allow {
        // Denied when any of the wanted accesses is denied.
        program.push(insn(MOVE, SCRATCH, ACCESS, 0, 0));
        program.push(insn(AND_IMM, SCRATCH, 0, 0, access));
        misses.push(push(program, JUMP32_EQ_IMM, SCRATCH, 0));
    } else if access != all {
        // Allowed when all of them are.
        program.push(insn(MOVE, SCRATCH, ACCESS, 0, 0));
        program.push(insn(AND_IMM, SCRATCH, 0, 0, all & !access));
        misses.push(push(program, JUMP32_NE_IMM, SCRATCH, 0));
    }
    // A wildcard covers the group's others, and the verifier takes no code that is never reached.
    let wildcard = group.iter().position(|e| e.major.is_none() && e.minor.is_none());
    for exception in wildcard.map_or(group, |at| &group[at..=at]) {
        let hit = match (exception.major, exception.minor) {
            // The bits of an unsigned number in the instruction's signed field.
            (Some(major), Some(minor)) => {
                push(program, JUMP32_EQ_IMM, DEVICE, (major << MINOR_BITS | minor).cast_signed())
            }
            (Some(major), None) => push(program, JUMP32_EQ_IMM, MAJOR, major.cast_signed()),
            (None, Some(minor)) => push(program, JUMP32_EQ_IMM, MINOR, minor.cast_signed()),
            (None, None) => push(program, JUMP, 0, 0),
        };
        hits.push(hit);
    }
    land(program, &misses);
}

/// A number beyond what a dev_t holds is no device's.
fn exists(exception: &Exception) -> bool {
    exception.major.is_none_or(|m| m <= MAX_MAJOR) && exception.minor.is_none_or(|m| m <= MAX_MINOR)
}

fn push_verdict(program: &mut Vec<Insn>, allow: bool) {
    program.push(insn(MOVE_IMM, RESULT, 0, 0, i32::from(allow)));
    program.push(insn(EXIT, 0, 0, 0, 0));
}

/// Adds a jump whose distance is not known yet; returns its place.
fn push(program: &mut Vec<Insn>, code: u8, register: u8, imm: i32) -> usize {
    program.push(insn(code, register, 0, 0, imm));
    program.len() - 1
}

/// Lets the jumps lead to what comes next.
fn land(program: &mut [Insn], jumps: &[usize]) {
    let end = program.len();
    for &at in jumps {
        // Lists of thousands of rules would be needed to exceed it; the kernel would refuse the jump.
        program[at].off = i16::try_from(end - at - 1).unwrap_or(i16::MAX);
    }
}

fn insn(code: u8, destination: u8, source: u8, off: i16, imm: i32) -> Insn {
    Insn { code, registers: destination | source << 4, off, imm }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::{DeviceKind, DeviceRule};

    /// What the kernel would do with the program.
    fn run(program: &[Insn], kind: u32, access: u8, major: u32, minor: u32) -> u64 {
        let context = [kind | u32::from(access) << 16, major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0;
        loop {
            let i = program[at];
            let (destination, source) = ((i.registers & 15) as usize, (i.registers >> 4) as usize);
            let imm = i64::from(i.imm) as u64;
            at += 1;
            match i.code {
                LOAD_WORD => registers[destination] = u64::from(context[i.off as usize / 4]),
                MOVE => registers[destination] = registers[source],
                MOVE_IMM => registers[destination] = imm,
                AND_IMM => registers[destination] &= imm,
                SHIFT_RIGHT_IMM => registers[destination] >>= imm,
                SHIFT_LEFT_IMM => registers[destination] <<= imm,
                OR => registers[destination] |= registers[source],
                JUMP => at += i.off as usize,
                JUMP32_NE_IMM if registers[destination] as u32 != imm as u32 => at += i.off as usize,
                JUMP32_EQ_IMM if registers[destination] as u32 == imm as u32 => at += i.off as usize,
                JUMP32_NE_IMM | JUMP32_EQ_IMM => {}
                EXIT => return registers[0],
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn expected(policy: &DevicePolicy, kind: u32, access: u8, major: u32, minor: u32) -> bool {
        let hit = policy.exceptions.iter().any(|e| {
            (kind == 1) == e.block
                && e.major.is_none_or(|m| m == major)
                && e.minor.is_none_or(|m| m == minor)
                && if policy.default_allow { e.access & access != 0 } else { access & !e.access == 0 }
        });
        hit != policy.default_allow
    }

    #[test]
    fn the_program_says_what_the_policy_says() {
        let rule = |allow, kind, major, minor, access: &str| DeviceRule {
            allow,
            kind: Some(kind),
            major,
            minor,
            access: access.into(),
        };
        let lists = [
            vec![],
            vec![rule(true, DeviceKind::All, None, None, "rwm")],
            vec![
                rule(true, DeviceKind::All, None, None, ""),
                rule(false, DeviceKind::Block, Some(8), None, "w"),
            ],
            vec![rule(true, DeviceKind::Char, Some(10), Some(200), "rw")],
            vec![
                rule(true, DeviceKind::Char, None, Some(4), "r"),
                rule(true, DeviceKind::Block, Some(4095), Some(1_048_575), "w"),
            ],
            vec![
                rule(true, DeviceKind::Char, Some(4096), Some(3), "rwm"),
                rule(true, DeviceKind::Block, Some(1), Some(1 << 20), "rwm"),
            ],
        ];
        for rules in lists {
            let policy = DevicePolicy::of_container(&rules).unwrap();
            let program = device_program(&policy);
            for kind in [1, 2] {
                for access in 0..8 {
                    for (major, minor) in [
                        (1, 3),
                        (1, 4),
                        (8, 0),
                        (8, 1),
                        (10, 200),
                        (136, 7),
                        (5, 2),
                        (4095, 1_048_575),
                        (2, 0),
                    ] {
                        let got = run(&program, kind, access, major, minor);
                        let want = u64::from(expected(&policy, kind, access, major, minor));
                        assert_eq!(got, want, "{kind} {access} {major}:{minor} {policy:?}");
                    }
                }
            }
        }
    }
}
