//! Go's `text/template`, as far as `--format` reaches it.
//!
//! Own implementation of the documented language: actions, pipelines, variables, `if`, `with`,
//! `range`, `break`, `continue`, `define`, `template`, `block`, comments, trim markers, Go's and
//! Docker's functions. Error texts follow Go's, because scripts and people look for them.
//!
//! It works on [`Value`]s and does not know containers, images or the API.

mod exec;
mod funcs;
mod lex;
mod parse;
mod printf;
mod value;

use std::collections::HashMap;

pub use funcs::title;
pub use printf::significant;
pub use value::{Map, Object, Struct, Value, number, plain};

/// How deep templates may call each other and expressions may nest.
const MAX_DEPTH: usize = 100;

/// A template that does not parse or does not run; Go's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError(pub String);

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    name: String,
    source: String,
    root: Vec<parse::Node>,
    defined: HashMap<String, Vec<parse::Node>>,
}

/// How a template is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    /// A key that a map lacks is an error (Go's `missingkey=error`).
    pub strict_keys: bool,
    /// Functions hand table headers through unchanged.
    pub headers: bool,
}

impl Template {
    /// Parses `source`; `name` only shows in errors.
    pub fn parse(name: &str, source: &str) -> Result<Template, TemplateError> {
        let (root, defined) = parse::parse(name, source)?;
        Ok(Template { name: name.to_owned(), source: source.to_owned(), root, defined })
    }

    /// Runs it on `data` and returns what it prints.
    pub fn run(&self, data: &Value) -> Result<String, TemplateError> {
        self.run_with(data, Mode::default())
    }

    /// Runs it and keeps what it printed before a mistake.
    pub fn run_to(&self, data: &Value, out: &mut String) -> Result<(), TemplateError> {
        exec::run(self, data, Mode::default(), out)
    }

    /// Runs it in a given mode.
    pub fn run_with(&self, data: &Value, mode: Mode) -> Result<String, TemplateError> {
        let mut out = String::new();
        exec::run(self, data, mode, &mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
