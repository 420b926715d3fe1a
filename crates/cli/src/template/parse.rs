//! From tokens to a tree, with Go's rules for scopes and its error texts.

use std::collections::HashMap;
use std::fmt;

use super::lex::{Placed, Token, error_at, lex};
use super::{MAX_DEPTH, TemplateError, funcs};

/// One node of a template.
#[derive(Debug, Clone)]
pub enum Node {
    /// Literal text.
    Text(String),
    /// A pipeline; printed unless it sets a variable.
    Action(Pipe),
    /// `if` or `with`: condition, body, else; true for `with`.
    Branch(Pipe, Vec<Node>, Vec<Node>, bool),
    /// `range`: what, body, else.
    Range(Pipe, Vec<Node>, Vec<Node>),
    /// `template`: name, argument, position.
    Call(String, Option<Pipe>, usize),
    /// `break`
    Break,
    /// `continue`
    Continue,
}

/// Commands joined by `|`, with the variables they set.
#[derive(Debug, Clone)]
pub struct Pipe {
    /// Variables set or declared.
    pub variables: Vec<String>,
    /// `=` rather than `:=`.
    pub assign: bool,
    /// The commands.
    pub commands: Vec<Cmd>,
    /// Where it starts.
    pub at: usize,
}

/// One command of a pipeline.
#[derive(Debug, Clone)]
pub struct Cmd {
    /// Operands; the first may be a function.
    pub args: Vec<Arg>,
    /// Where it starts.
    pub at: usize,
}

/// An operand and where it starts.
#[derive(Debug, Clone)]
pub struct Arg {
    /// What it is.
    pub kind: ArgKind,
    /// Position in the source.
    pub at: usize,
}

/// What an operand is.
#[derive(Debug, Clone)]
pub enum ArgKind {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// A whole number, and how it was written.
    Int(i64, String),
    /// A number with a fraction, and how it was written.
    Float(f64, String),
    /// A text constant, and how it was written.
    Text(String, String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A`
    Variable(Vec<String>),
    /// A function's name.
    Function(String),
    /// `(pipeline).A`
    Chain(Box<Arg>, Vec<String>),
    /// `(pipeline)`
    Pipe(Pipe),
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ArgKind::Dot => f.write_str("."),
            ArgKind::Nil => f.write_str("nil"),
            ArgKind::Bool(b) => write!(f, "{b}"),
            ArgKind::Int(_, raw) | ArgKind::Float(_, raw) | ArgKind::Text(_, raw) => f.write_str(raw),
            ArgKind::Field(names) => names.iter().try_for_each(|n| write!(f, ".{n}")),
            ArgKind::Variable(names) => f.write_str(&names.join(".")),
            ArgKind::Function(name) => f.write_str(name),
            ArgKind::Chain(arg, names) => {
                match arg.kind {
                    ArgKind::Pipe(_) => write!(f, "({arg})")?,
                    _ => write!(f, "{arg}")?,
                }
                names.iter().try_for_each(|n| write!(f, ".{n}"))
            }
            ArgKind::Pipe(pipe) => write!(f, "{pipe}"),
        }
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, arg) in self.args.iter().enumerate() {
            let space = if at > 0 { " " } else { "" };
            match arg.kind {
                ArgKind::Pipe(_) => write!(f, "{space}({arg})")?,
                _ => write!(f, "{space}{arg}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assign { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (at, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if at > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

type Defined = HashMap<String, Vec<Node>>;

/// Parses a template and the templates it defines.
pub fn parse(name: &str, source: &str) -> Result<(Vec<Node>, Defined), TemplateError> {
    let tokens = lex(name, source)?;
    let mut parser = Parser {
        name,
        source,
        tokens: &tokens,
        at: 0,
        variables: vec!["$".to_owned()],
        defined: HashMap::new(),
        loops: 0,
        depth: 0,
    };
    let (nodes, end) = parser.list()?;
    match end {
        Stop::Eof => Ok((nodes, parser.defined)),
        Stop::End => Err(parser.fail("unexpected {{end}}")),
        Stop::Else(_) => Err(parser.fail("unexpected {{else}}")),
    }
}

struct Parser<'a> {
    name: &'a str,
    source: &'a str,
    tokens: &'a [Placed],
    at: usize,
    variables: Vec<String>,
    defined: Defined,
    loops: usize,
    depth: usize,
}

/// What ended a list of nodes.
enum Stop {
    Eof,
    End,
    /// `else`, and the word after it (`if`, `with`).
    Else(Option<String>),
}

type Parse<T> = Result<T, TemplateError>;

impl Parser<'_> {
    /// Nodes up to `end`, `else` or the end of the text.
    fn list(&mut self) -> Parse<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        loop {
            match self.next() {
                None => return Ok((nodes, Stop::Eof)),
                Some((Token::Text(text), _)) => nodes.push(Node::Text(text)),
                Some((Token::Open, _)) => match self.action()? {
                    Step::Node(node) => nodes.push(node),
                    Step::Nothing => {}
                    Step::End(end) => return Ok((nodes, end)),
                },
                Some(_) => return Err(self.fail("unexpected token outside an action")),
            }
        }
    }

    fn action(&mut self) -> Parse<Step> {
        self.skip_space();
        let at = self.place();
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "if" => self.control(|p| p.branch("if", false)),
            "with" => self.control(|p| p.branch("with", true)),
            "range" => self.control(Self::range),
            "end" => {
                self.next();
                self.close("end")?;
                Ok(Step::End(Stop::End))
            }
            "else" => {
                self.next();
                self.skip_space();
                let next = match self.peek() {
                    Some(Token::Word(w)) if w == "if" || w == "with" => Some(w.clone()),
                    _ => None,
                };
                if next.is_none() {
                    self.close("else")?;
                }
                Ok(Step::End(Stop::Else(next)))
            }
            "define" => self.define(),
            "block" => self.block(at),
            "template" => self.call(),
            "break" | "continue" => {
                self.next();
                self.close(&word)?;
                if self.loops == 0 {
                    return Err(self.fail(&format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                Ok(Step::Node(if word == "break" { Node::Break } else { Node::Continue }))
            }
            _ => Ok(Step::Node(Node::Action(self.pipeline("command", Until::Close)?))),
        }
    }

    /// A control structure: its variables end with it.
    fn control(&mut self, body: impl FnOnce(&mut Self) -> Parse<Node>) -> Parse<Step> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fail("template nested too deeply"));
        }
        self.next();
        let scope = self.variables.len();
        let node = body(self)?;
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Step::Node(node))
    }

    fn branch(&mut self, context: &str, with: bool) -> Parse<Node> {
        let pipe = self.pipeline(context, Until::Close)?;
        let (body, end) = self.list()?;
        let otherwise = self.otherwise(end, context)?;
        Ok(Node::Branch(pipe, body, otherwise, with))
    }

    fn range(&mut self) -> Parse<Node> {
        let pipe = self.pipeline("range", Until::Close)?;
        self.loops += 1;
        let (body, end) = self.list()?;
        self.loops -= 1;
        let otherwise = self.otherwise(end, "range")?;
        Ok(Node::Range(pipe, body, otherwise))
    }

    fn otherwise(&mut self, end: Stop, context: &str) -> Parse<Vec<Node>> {
        match end {
            Stop::Eof => Err(self.fail("unexpected EOF")),
            Stop::End => Ok(Vec::new()),
            Stop::Else(Some(word)) if word == context => {
                // {{else if}} is one {{if}} more inside that shares the {{end}}.
                match self.control(|p| p.branch(&word, word == "with"))? {
                    Step::Node(node) => Ok(vec![node]),
                    _ => Ok(Vec::new()),
                }
            }
            Stop::Else(Some(word)) => Err(self.fail(&format!("unexpected <{word}> in else"))),
            Stop::Else(None) => {
                let (nodes, end) = self.list()?;
                match end {
                    Stop::End => Ok(nodes),
                    Stop::Eof => Err(self.fail("unexpected EOF")),
                    Stop::Else(_) => Err(self.fail("expected end; found {{else}}")),
                }
            }
        }
    }

    fn define(&mut self) -> Parse<Step> {
        self.next();
        let name = self.constant("define clause")?;
        self.close("define clause")?;
        self.body(name)?;
        Ok(Step::Nothing)
    }

    fn block(&mut self, at: usize) -> Parse<Step> {
        self.next();
        let name = self.constant("block clause")?;
        let pipe = self.pipeline("block clause", Until::Close)?;
        self.body(name.clone())?;
        Ok(Step::Node(Node::Call(name, Some(pipe), at)))
    }

    /// The nodes of a definition, in a scope of their own.
    fn body(&mut self, name: String) -> Parse<()> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, end) = self.list()?;
        self.variables = outer;
        self.loops = loops;
        match end {
            Stop::End => {
                self.defined.insert(name, nodes);
                Ok(())
            }
            Stop::Eof => Err(self.fail("unexpected EOF")),
            Stop::Else(_) => Err(self.fail("unexpected {{else}} in define clause")),
        }
    }

    fn call(&mut self) -> Parse<Step> {
        self.next();
        self.skip_space();
        let at = self.place();
        let name = self.constant("template clause")?;
        self.skip_space();
        let pipe = if matches!(self.peek(), Some(Token::Close)) {
            self.next();
            None
        } else {
            Some(self.pipeline("template clause", Until::Close)?)
        };
        Ok(Step::Node(Node::Call(name, pipe, at)))
    }

    fn constant(&mut self, context: &str) -> Parse<String> {
        self.skip_space();
        match self.next() {
            Some((Token::Quoted { value, .. }, _)) => Ok(value),
            other => Err(self.unexpected(other.map(|t| t.0).as_ref(), context)),
        }
    }

    fn pipeline(&mut self, context: &str, until: Until) -> Parse<Pipe> {
        self.skip_space();
        let at = self.place();
        let (variables, assign) = self.declarations(context)?;
        let mut commands: Vec<Cmd> = Vec::new();
        loop {
            self.skip_space();
            match (self.peek().cloned(), until) {
                (Some(Token::Close), Until::Close) | (Some(Token::Sign(")")), Until::Paren) => {
                    if commands.is_empty() {
                        return Err(self.fail(&format!("missing value for {context}")));
                    }
                    self.next();
                    break;
                }
                (None, _) => return Err(self.fail("unexpected EOF")),
                _ => {}
            }
            commands.push(self.command(context)?);
        }
        for command in commands.iter().skip(1) {
            if let Some(Arg {
                kind:
                    ArgKind::Bool(_)
                    | ArgKind::Dot
                    | ArgKind::Nil
                    | ArgKind::Int(..)
                    | ArgKind::Float(..)
                    | ArgKind::Text(..),
                ..
            }) = command.args.first()
            {
                return Err(self.fail("non executable command in pipeline stage 2"));
            }
        }
        self.variables.extend(variables.iter().filter(|_| !assign).cloned());
        Ok(Pipe { variables, assign, commands, at })
    }

    /// `$x :=`, `$i, $x :=` (in `range`) or `$x =`.
    fn declarations(&mut self, context: &str) -> Parse<(Vec<String>, bool)> {
        let start = self.at;
        let mut names = Vec::new();
        loop {
            self.skip_space();
            let Some(Token::Variable(name)) = self.peek().cloned() else { break };
            self.next();
            names.push(name);
            self.skip_space();
            match self.peek() {
                Some(Token::Sign(sign @ (":=" | "="))) => {
                    let assign = *sign == "=";
                    self.next();
                    if names.len() > 1 && context != "range" {
                        return Err(self.fail(&format!("too many declarations in {context}")));
                    }
                    if let Some(unknown) = names.iter().find(|n| assign && !self.variables.contains(n)) {
                        return Err(self.fail(&format!("undefined variable {unknown:?}")));
                    }
                    return Ok((names, assign));
                }
                Some(Token::Sign(",")) if context == "range" && names.len() < 2 => {
                    self.next();
                }
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self, context: &str) -> Parse<Cmd> {
        let at = self.place();
        let mut args = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                Some(Token::Close | Token::Sign(")")) | None => break,
                Some(Token::Sign("|")) => {
                    self.next();
                    if args.is_empty() {
                        return Err(self.fail("missing value for command"));
                    }
                    return Ok(Cmd { args, at });
                }
                _ => args.push(self.operand(context)?),
            }
        }
        if args.is_empty() {
            return Err(self.fail("empty command"));
        }
        Ok(Cmd { args, at })
    }

    fn operand(&mut self, context: &str) -> Parse<Arg> {
        let at = self.place();
        let term = self.term(context)?;
        let mut names = Vec::new();
        let mut chained_at = at;
        while let Some(Token::Field(name)) = self.peek().cloned() {
            if names.is_empty() {
                chained_at = self.place();
            }
            self.next();
            names.push(name);
        }
        if names.is_empty() {
            return Ok(Arg { kind: term, at });
        }
        // As Go's parser does, a longer field or variable takes the position of what was added.
        let kind = match term {
            ArgKind::Field(mut first) => {
                first.append(&mut names);
                ArgKind::Field(first)
            }
            ArgKind::Variable(mut first) => {
                first.append(&mut names);
                ArgKind::Variable(first)
            }
            ArgKind::Nil => return Err(self.fail("nil is not a command")),
            ArgKind::Bool(_) | ArgKind::Int(..) | ArgKind::Float(..) | ArgKind::Text(..) | ArgKind::Dot => {
                let shown = Arg { kind: term, at };
                return Err(self.fail(&format!("unexpected . after term {:?}", shown.to_string())));
            }
            other => ArgKind::Chain(Box::new(Arg { kind: other, at }), names),
        };
        Ok(Arg { kind, at: chained_at })
    }

    fn term(&mut self, context: &str) -> Parse<ArgKind> {
        let Some((token, _)) = self.next() else { return Err(self.fail("unexpected EOF")) };
        Ok(match token {
            Token::Word(word) => match word.as_str() {
                "true" => ArgKind::Bool(true),
                "false" => ArgKind::Bool(false),
                "nil" => ArgKind::Nil,
                _ if funcs::exists(&word) => ArgKind::Function(word),
                _ => return Err(self.fail(&format!("function {word:?} not defined"))),
            },
            Token::Sign(".") => ArgKind::Dot,
            Token::Field(name) => ArgKind::Field(vec![name]),
            Token::Variable(name) => {
                if !self.variables.contains(&name) {
                    return Err(self.fail(&format!("undefined variable {name:?}")));
                }
                ArgKind::Variable(vec![name])
            }
            Token::Quoted { value, raw } => ArgKind::Text(value, raw),
            Token::Char(value, raw) => ArgKind::Int(value, raw),
            Token::Number(raw) => {
                number(&raw).ok_or_else(|| self.fail(&format!("bad number syntax: {raw:?}")))?
            }
            Token::Sign("(") => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(self.fail("max expression depth exceeded"));
                }
                let pipe = self.pipeline("parenthesized pipeline", Until::Paren)?;
                self.depth -= 1;
                ArgKind::Pipe(pipe)
            }
            other => return Err(self.unexpected(Some(&other), context)),
        })
    }

    fn close(&mut self, context: &str) -> Parse<()> {
        self.skip_space();
        match self.next() {
            Some((Token::Close, _)) => Ok(()),
            other => Err(self.unexpected(other.map(|t| t.0).as_ref(), context)),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|t| &t.0)
    }

    fn next(&mut self) -> Option<Placed> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(Token::Space)) {
            self.at += 1;
        }
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).map_or(self.source.len(), |t| t.1)
    }

    fn fail(&self, text: &str) -> TemplateError {
        let last = self.tokens.len().saturating_sub(1);
        let at = self.tokens.get(self.at.saturating_sub(1).min(last)).map_or(0, |t| t.1);
        error_at(self.name, self.source, at, text)
    }

    fn unexpected(&self, token: Option<&Token>, context: &str) -> TemplateError {
        let shown = match token {
            None => return self.fail("unexpected EOF"),
            Some(Token::Close) => "\"}}\"".to_owned(),
            Some(Token::Open) => "\"{{\"".to_owned(),
            Some(Token::Sign(sign)) => format!("{sign:?}"),
            Some(Token::Word(w)) => format!("<{w}>"),
            Some(Token::Field(f)) => format!("<.{f}>"),
            Some(Token::Variable(text) | Token::Number(text) | Token::Text(text) | Token::Char(_, text)) => {
                format!("{text:?}")
            }
            Some(Token::Quoted { raw, .. }) => format!("{raw:?}"),
            Some(Token::Space) => "\" \"".to_owned(),
        };
        let context = if context == "command" { "operand" } else { context };
        self.fail(&format!("unexpected {shown} in {context}"))
    }
}

enum Step {
    Node(Node),
    Nothing,
    End(Stop),
}

#[derive(Clone, Copy)]
enum Until {
    Close,
    Paren,
}

fn number(raw: &str) -> Option<ArgKind> {
    if let Ok(whole) = crate::grammar::numbers::parse_int(raw) {
        return Some(ArgKind::Int(whole, raw.to_owned()));
    }
    let plain = raw.replace('_', "");
    let float: f64 =
        plain.parse().ok().filter(|_| !raw.contains(|c: char| c.is_alphabetic() && c != 'e' && c != 'E'))?;
    if float.fract() == 0.0 && float.abs() < 9e15 {
        return Some(ArgKind::Int(float as i64, raw.to_owned()));
    }
    Some(ArgKind::Float(float, raw.to_owned()))
}
