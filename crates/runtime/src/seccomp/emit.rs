//! A program of classic BPF, written from its end to its beginning.
//!
//! Jumps go forward only and, when conditional, over at most 255 instructions. Written backwards, the target of a
//! jump is always there already: when it is too far away, a copy of a return or an unconditional jump (32 bits) is
//! put in between. Also compiled into the build script, therefore it uses nothing of the crate.
//!
//! It does not know system calls.

use super::Insn;

const LOAD_ABSOLUTE: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;
/// Farthest target of a conditional jump.
const MAX_JUMP: usize = 255;

/// How a conditional jump compares the accumulator with a constant.
#[derive(Clone, Copy)]
pub(crate) enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// End with this value.
    Return(u32),
    /// An instruction, counted from the program's end.
    At(usize),
}

/// The program so far, last instruction first.
#[derive(Default)]
pub(crate) struct Emitter {
    reversed: Vec<Insn>,
    /// The latest return of each value.
    returns: Vec<(u32, usize)>,
}

impl Emitter {
    /// Loads a word of the data, then goes to `next`.
    pub(crate) fn load(&mut self, offset: u32, next: Target) -> Target {
        self.straight(LOAD_ABSOLUTE, offset, next)
    }

    /// Masks the accumulator, then goes to `next`.
    pub(crate) fn and(&mut self, mask: u32, next: Target) -> Target {
        self.straight(AND, mask, next)
    }

    /// Compares the accumulator.
    pub(crate) fn test(&mut self, test: Test, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let code = match test {
            Test::Equal => JUMP_EQUAL,
            Test::Greater => JUMP_GREATER,
            Test::GreaterOrEqual => JUMP_GREATER_OR_EQUAL,
        };
        // Bringing the second near may take one instruction, by which the first gets farther away.
        let yes = self.near(yes, MAX_JUMP - 1);
        let no = self.near(no, MAX_JUMP);
        let distance = |at: usize| (self.reversed.len() - at - 1) as u8;
        let insn = Insn { code, jt: distance(yes), jf: distance(no), k };
        self.push(insn)
    }

    /// The finished program, which begins at `start`.
    pub(crate) fn finish(mut self, start: Target) -> Vec<Insn> {
        self.on_top(start);
        self.reversed.reverse();
        self.reversed
    }

    fn straight(&mut self, code: u16, k: u32, next: Target) -> Target {
        if let Target::Return(_) = next {
            return next;
        }
        self.on_top(next);
        self.push(Insn { code, jt: 0, jf: 0, k })
    }

    fn push(&mut self, insn: Insn) -> Target {
        self.reversed.push(insn);
        Target::At(self.reversed.len() - 1)
    }

    /// Makes the target the next instruction to be executed.
    fn on_top(&mut self, target: Target) {
        match target {
            Target::Return(value) => {
                self.push_return(value);
            }
            Target::At(at) if at + 1 == self.reversed.len() => {}
            Target::At(at) => {
                self.push_jump(at);
            }
        }
    }

    /// An instruction not farther than `limit` that leads to the target.
    fn near(&mut self, target: Target, limit: usize) -> usize {
        let reach = |at: usize| self.reversed.len() - at - 1 <= limit;
        match target {
            Target::Return(value) => {
                let known = self.returns.iter().find(|(v, _)| *v == value).map(|&(_, at)| at);
                known.filter(|&at| reach(at)).unwrap_or_else(|| self.push_return(value))
            }
            Target::At(at) if reach(at) => at,
            Target::At(at) => self.push_jump(at),
        }
    }

    fn push_return(&mut self, value: u32) -> usize {
        self.reversed.push(Insn { code: RETURN, jt: 0, jf: 0, k: value });
        let at = self.reversed.len() - 1;
        self.returns.retain(|(v, _)| *v != value);
        self.returns.push((value, at));
        at
    }

    fn push_jump(&mut self, at: usize) -> usize {
        let k = (self.reversed.len() - at - 1) as u32;
        self.reversed.push(Insn { code: JUMP, jt: 0, jf: 0, k });
        self.reversed.len() - 1
    }
}
