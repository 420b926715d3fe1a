//! Runs a parsed template.

use std::rc::Rc;

use super::funcs::{self, Takes};
use super::parse::{Arg, ArgKind, Cmd, Node, Pipe};
use super::value::Value;
use super::{MAX_DEPTH, Mode, Template, TemplateError};

/// A template may not print more than this.
const MAX_OUTPUT: usize = 64 << 20;

/// Runs `template` on `data` and appends what it prints to `out`.
pub fn run(template: &Template, data: &Value, mode: Mode, out: &mut String) -> Result<(), TemplateError> {
    let variables = vec![("$".to_owned(), data.clone())];
    let mut state = State { template, mode, out, variables, depth: 0 };
    state.walk(&template.root, data)?;
    Ok(())
}

struct State<'a> {
    template: &'a Template,
    mode: Mode,
    out: &'a mut String,
    variables: Vec<(String, Value)>,
    depth: usize,
}

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

type Run<T> = Result<T, TemplateError>;

impl State<'_> {
    fn walk(&mut self, nodes: &[Node], dot: &Value) -> Run<Flow> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Run<Flow> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipe) => {
                let value = self.pipeline(pipe, dot)?;
                if pipe.variables.is_empty() {
                    self.out.push_str(&value.print());
                }
            }
            Node::Branch(pipe, body, otherwise, with) => {
                let scope = self.variables.len();
                let value = self.pipeline(pipe, dot)?;
                let flow = if value.truth() {
                    self.walk(body, if *with { &value } else { dot })?
                } else {
                    self.walk(otherwise, dot)?
                };
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::Range(pipe, body, otherwise) => return self.range(pipe, body, otherwise, dot),
            Node::Call(name, pipe, at) => self.call(name, pipe.as_ref(), *at, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        if self.out.len() > MAX_OUTPUT {
            return Err(TemplateError(format!("template: {}: output too long", self.template.name)));
        }
        Ok(Flow::Next)
    }

    fn range(&mut self, pipe: &Pipe, body: &[Node], otherwise: &[Node], dot: &Value) -> Run<Flow> {
        let scope = self.variables.len();
        let over = self.pipeline(pipe, dot)?;
        let items: Vec<(Value, Value)> = match &over {
            Value::List(items) => items
                .iter()
                .flat_map(|i| i.iter())
                .enumerate()
                .map(|(at, v)| (Value::Int(at as i64), v.clone()))
                .collect(),
            Value::Map(map) => {
                map.entries.iter().map(|(k, v)| (Value::from(k.as_str()), v.clone())).collect()
            }
            Value::Int(n) => (0..(*n).clamp(0, 1_000_000)).map(|i| (Value::Int(i), Value::Int(i))).collect(),
            Value::Nil | Value::Missing => Vec::new(),
            other => {
                let text = format!("range can't iterate over {}", other.print());
                return Err(self.error(pipe.at, &pipe.to_string(), &text));
            }
        };
        let declared = pipe.variables.len();
        let empty = items.is_empty();
        for (key, value) in items {
            let inner = self.variables.len();
            match declared {
                1 => self.set(&pipe.variables[0], value.clone()),
                2 => {
                    self.set(&pipe.variables[0], key);
                    self.set(&pipe.variables[1], value.clone());
                }
                _ => {}
            }
            let flow = self.walk(body, &value)?;
            self.variables.truncate(inner);
            if flow == Flow::Break {
                break;
            }
        }
        let flow = if empty { self.walk(otherwise, dot)? } else { Flow::Next };
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn call(&mut self, name: &str, pipe: Option<&Pipe>, at: usize, dot: &Value) -> Run<()> {
        let shown = format!("{{{{template {name:?}}}}}");
        let Some(nodes) = self.template.defined.get(name) else {
            return Err(self.error(at, &shown, &format!("template {name:?} not defined")));
        };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(at, &shown, "exceeded maximum template depth"));
        }
        let data = match pipe {
            Some(pipe) => self.pipeline(pipe, dot)?,
            None => Value::Missing,
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), data.clone())]);
        self.walk(nodes, &data)?;
        self.variables = outer;
        self.depth -= 1;
        Ok(())
    }

    fn pipeline(&mut self, pipe: &Pipe, dot: &Value) -> Run<Value> {
        let mut value: Option<Value> = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Missing);
        for name in &pipe.variables {
            if pipe.assign {
                if let Some(slot) = self.variables.iter_mut().rev().find(|(n, _)| n == name) {
                    slot.1 = value.clone();
                }
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn set(&mut self, name: &str, value: Value) {
        match self.variables.iter_mut().rev().find(|(n, _)| n == name) {
            Some(slot) => slot.1 = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn command(&mut self, command: &Cmd, dot: &Value, last: Option<Value>) -> Run<Value> {
        let Some(first) = command.args.first() else { return Ok(Value::Missing) };
        let rest = &command.args[1..];
        match &first.kind {
            ArgKind::Function(name) => return self.function(name, command, rest, dot, last),
            ArgKind::Field(names) => {
                let args = self.arguments(rest, dot, last)?;
                return self.fields(dot, names, &args, first);
            }
            ArgKind::Variable(names) if names.len() > 1 => {
                let args = self.arguments(rest, dot, last)?;
                let base = self.variable(&names[0]);
                return self.fields(&base, &names[1..], &args, first);
            }
            ArgKind::Chain(base, names) => {
                let args = self.arguments(rest, dot, last)?;
                let base = self.argument(base, dot)?;
                return self.fields(&base, names, &args, first);
            }
            ArgKind::Pipe(_) | ArgKind::Variable(_) if rest.is_empty() && last.is_none() => {}
            ArgKind::Nil => return Err(self.error(first.at, "nil", "nil is not a command")),
            _ if rest.is_empty() && last.is_none() => {}
            _ => {
                let text = format!("can't give argument to non-function {first}");
                return Err(self.error(first.at, &first.to_string(), &text));
            }
        }
        self.argument(first, dot)
    }

    fn arguments(&mut self, rest: &[Arg], dot: &Value, last: Option<Value>) -> Run<Vec<Value>> {
        let mut args = rest.iter().map(|a| self.argument(a, dot)).collect::<Run<Vec<Value>>>()?;
        args.extend(last);
        Ok(args)
    }

    fn function(
        &mut self,
        name: &str,
        command: &Cmd,
        rest: &[Arg],
        dot: &Value,
        last: Option<Value>,
    ) -> Run<Value> {
        let given = rest.len() + usize::from(last.is_some());
        let wanted = match funcs::takes(name) {
            Takes::Exactly(n) if n != given => Some(n.to_string()),
            Takes::AtLeast(n) if given < n => Some(format!("at least {n}")),
            _ => None,
        };
        if let Some(wanted) = wanted {
            let text = format!("wrong number of args for {name}: want {wanted} got {given}");
            return Err(self.error(command.at, name, &text));
        }
        if name == "and" || name == "or" {
            // Go stops at the argument that decides.
            let mut value = Value::Missing;
            for arg in rest {
                value = self.argument(arg, dot)?;
                if value.truth() == (name == "or") {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let args = self.arguments(rest, dot, last)?;
        if let ("call", Some(value)) =
            (name, args.first().filter(|v| !matches!(v, Value::Nil | Value::Missing)))
        {
            let what = rest.first().map(ToString::to_string).unwrap_or_default();
            let text = format!("error calling call: non-function {what} of type {}", value.type_name());
            return Err(self.error(command.at, &command.to_string(), &text));
        }
        if !self.mode.headers {
            self.check_arguments(name, command, rest, &args)?;
        }
        funcs::call(name, &args, self.mode.headers).map_err(|text| {
            let text = if text.starts_with("wrong type for value") {
                text
            } else {
                format!("error calling {name}: {text}")
            };
            self.error(command.at, &command.to_string(), &text)
        })
    }

    /// Go converts arguments to a function's types before it calls it; constants have a text of their own.
    fn check_arguments(&self, name: &str, command: &Cmd, rest: &[Arg], args: &[Value]) -> Run<()> {
        for (at, value) in args.iter().enumerate() {
            let Some(wanted) = funcs::wanted(name, at).filter(|w| !funcs::is(value, w)) else { continue };
            let got = match value {
                Value::Int(_) | Value::Float(_) if self.mode.strict_keys => "json.Number".to_owned(),
                other => other.type_name(),
            };
            let text = match rest.get(at).map(|a| &a.kind) {
                Some(ArgKind::Int(_, raw) | ArgKind::Float(_, raw)) => {
                    format!("expected {wanted}; found {raw}")
                }
                _ => format!("wrong type for value; expected {wanted}; got {got}"),
            };
            return Err(match rest.get(at) {
                Some(arg) => self.error(arg.at, &arg.to_string(), &text),
                None => self.error(command.at, &command.to_string(), &text),
            });
        }
        Ok(())
    }

    fn argument(&mut self, arg: &Arg, dot: &Value) -> Run<Value> {
        Ok(match &arg.kind {
            ArgKind::Dot => dot.clone(),
            ArgKind::Nil => Value::Nil,
            ArgKind::Bool(b) => Value::Bool(*b),
            ArgKind::Int(i, _) => Value::Int(*i),
            ArgKind::Float(f, _) => Value::Float(*f),
            ArgKind::Text(text, _) => Value::from(text.as_str()),
            ArgKind::Field(names) => self.fields(dot, names, &[], arg)?,
            ArgKind::Variable(names) => {
                let base = self.variable(&names[0]);
                self.fields(&base, &names[1..], &[], arg)?
            }
            ArgKind::Function(name) => {
                let command = Cmd { args: vec![arg.clone()], at: arg.at };
                self.function(name, &command, &[], dot, None)?
            }
            ArgKind::Chain(base, names) => {
                let base = self.argument(base, dot)?;
                self.fields(&base, names, &[], arg)?
            }
            ArgKind::Pipe(pipe) => self.pipeline(pipe, dot)?,
        })
    }

    fn variable(&self, name: &str) -> Value {
        let found = self.variables.iter().rev().find(|(n, _)| n == name);
        found.map_or(Value::Missing, |(_, v)| v.clone())
    }

    fn fields(&self, base: &Value, names: &[String], args: &[Value], node: &Arg) -> Run<Value> {
        let mut value = base.clone();
        for (at, name) in names.iter().enumerate() {
            let args = if at + 1 == names.len() { args } else { &[] };
            value = self
                .field(&value, name, args)
                .map_err(|text| self.error(node.at, &node.to_string(), &text))?;
        }
        Ok(value)
    }

    fn field(&self, base: &Value, name: &str, args: &[Value]) -> Result<Value, String> {
        let no_args = |kind: &str| {
            if args.is_empty() { Ok(()) } else { Err(format!("{name} {kind} but has arguments")) }
        };
        match base {
            Value::Object(object) => {
                let object = Rc::clone(object);
                object.get(name, args).unwrap_or_else(|| Err(unknown(name, object.type_name())))
            }
            Value::Struct(s) => {
                let value = s.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
                let value = value.ok_or_else(|| unknown(name, &s.type_name))?;
                no_args("has no arguments; it is a field")?;
                Ok(value)
            }
            Value::Map(map) => {
                if !args.is_empty() {
                    return Err(format!("{name} is not a method but has arguments"));
                }
                match map.entries.iter().find(|(k, _)| k == name) {
                    Some((_, value)) => Ok(value.clone()),
                    None if self.mode.strict_keys => Err(format!("map has no entry for key {name:?}")),
                    None => Ok(map.zero.clone()),
                }
            }
            Value::Missing | Value::Nil if self.mode.strict_keys => {
                Err(format!("nil data; no entry for key {name:?}"))
            }
            Value::Missing => Ok(Value::Missing),
            Value::Nil => Err(format!("nil pointer evaluating interface {{}}.{name}")),
            // Decoded JSON has no types of its own.
            _ if self.mode.strict_keys => Err(unknown(name, "interface {}")),
            other => Err(unknown(name, &other.type_name())),
        }
    }

    /// Go's error for something that failed at a node.
    fn error(&self, at: usize, context: &str, text: &str) -> TemplateError {
        let source = &self.template.source;
        let before = &source[..at.min(source.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rfind('\n').map_or(before.len(), |newline| before.len() - newline - 1);
        let name = &self.template.name;
        TemplateError(format!("template: {name}:{line}:{column}: executing {name:?} at <{context}>: {text}"))
    }
}

fn unknown(name: &str, type_name: &str) -> String {
    format!("can't evaluate field {name} in type {type_name}")
}
