//! The device policy as a bpf program for cgroup v2 (BPF_PROG_TYPE_CGROUP_DEVICE). Pure.
//!
//! The context is `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }` where access_type has the
//! kind of device (1 block, 2 character) in its low half and the access bits in its high half. The program returns 1
//! to allow. It is linear: device rules are few, and opening a device is rare.
//!
//! It does not know how a program is loaded: `sys::bpf` does.

use sys::bpf::Insn;

use crate::devices::{DevicePolicy, Exception, MKNOD, READ, WRITE};

const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;
const CONTEXT: u8 = 1;
const RESULT: u8 = 0;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_IMM: u8 = 0xb7;
const AND_IMM: u8 = 0x57;
const SHIFT_RIGHT_IMM: u8 = 0x77;
const JUMP_NE_IMM: u8 = 0x55;
const JUMP_EQ_IMM: u8 = 0x15;
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
    ];
    for exception in &policy.exceptions {
        block(&mut program, exception, policy.default_allow);
    }
    verdict(&mut program, policy.default_allow);
    program
}

/// "If it is this device and this access, the opposite of the default."
fn block(program: &mut Vec<Insn>, exception: &Exception, default_allow: bool) {
    let start = program.len();
    program.push(insn(JUMP_NE_IMM, KIND, 0, 0, if exception.block { 1 } else { 2 }));
    let access = i32::from(exception.access);
    if default_allow {
        // Denied when any of the wanted accesses is denied.
        program.push(insn(MOVE, SCRATCH, ACCESS, 0, 0));
        program.push(insn(AND_IMM, SCRATCH, 0, 0, access));
        program.push(insn(JUMP_EQ_IMM, SCRATCH, 0, 0, 0));
    } else if exception.access != MKNOD | READ | WRITE {
        // Allowed when all of them are.
        program.push(insn(MOVE, SCRATCH, ACCESS, 0, 0));
        program.push(insn(AND_IMM, SCRATCH, 0, 0, i32::from(MKNOD | READ | WRITE) & !access));
        program.push(insn(JUMP_NE_IMM, SCRATCH, 0, 0, 0));
    }
    for (register, number) in [(MAJOR, exception.major), (MINOR, exception.minor)] {
        if let Some(number) = number {
            // Numbers are at most i32::MAX: DevicePolicy has checked.
            program.push(insn(JUMP_NE_IMM, register, 0, 0, number as i32));
        }
    }
    verdict(program, !default_allow);
    let end = program.len();
    for (at, insn) in program.iter_mut().enumerate().skip(start) {
        if matches!(insn.code, JUMP_NE_IMM | JUMP_EQ_IMM) {
            // A block has at most nine instructions.
            insn.off = (end - at - 1) as i16;
        }
    }
}

fn verdict(program: &mut Vec<Insn>, allow: bool) {
    program.push(insn(MOVE_IMM, RESULT, 0, 0, i32::from(allow)));
    program.push(insn(EXIT, 0, 0, 0, 0));
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
                JUMP_NE_IMM if registers[destination] != imm => at += i.off as usize,
                JUMP_EQ_IMM if registers[destination] == imm => at += i.off as usize,
                JUMP_NE_IMM | JUMP_EQ_IMM => {}
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
        ];
        for rules in lists {
            let policy = DevicePolicy::of_container(&rules).unwrap();
            let program = device_program(&policy);
            for kind in [1, 2] {
                for access in 1..8 {
                    for (major, minor) in [(1, 3), (1, 4), (8, 0), (8, 1), (10, 200), (136, 7), (5, 2)] {
                        let got = run(&program, kind, access, major, minor);
                        let want = u64::from(expected(&policy, kind, access, major, minor));
                        assert_eq!(got, want, "{kind} {access} {major}:{minor} {policy:?}");
                    }
                }
            }
        }
    }
}
