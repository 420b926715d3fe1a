//! From text to tokens.

use super::TemplateError;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// Text outside actions, trimmed already.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A word: function or keyword.
    Word(String),
    /// `.name`
    Field(String),
    /// `$name`, or `$`
    Variable(String),
    /// A number as written.
    Number(String),
    /// A text constant: its value and how it was written.
    Quoted {
        /// What it means.
        value: String,
        /// How it was written.
        raw: String,
    },
    /// A character constant: its value and how it was written.
    Char(i64, String),
    /// `|`, `(`, `)`, `,`, `=`, `:=`, `.`
    Sign(&'static str),
    /// White space between words; it separates arguments.
    Space,
}

/// A token and where it starts in the source.
pub type Placed = (Token, usize);

/// Cuts `source` into tokens.
pub fn lex(name: &str, source: &str) -> Result<Vec<Placed>, TemplateError> {
    let mut lexer = Lexer { name, source, at: 0, out: Vec::new() };
    lexer.run()?;
    Ok(lexer.out)
}

/// The error Go's parser would give at a place.
pub fn error_at(name: &str, source: &str, at: usize, text: &str) -> TemplateError {
    let line = source.as_bytes()[..at.min(source.len())].iter().filter(|b| **b == b'\n').count() + 1;
    TemplateError(format!("template: {name}:{line}: {text}"))
}

struct Lexer<'a> {
    name: &'a str,
    source: &'a str,
    at: usize,
    out: Vec<Placed>,
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), TemplateError> {
        let mut trim_next = false;
        while self.at < self.source.len() {
            let rest = &self.source[self.at..];
            let open = rest.find("{{");
            let mut text = &rest[..open.unwrap_or(rest.len())];
            let start = self.at;
            if trim_next {
                text = text.trim_start_matches(SPACES);
            }
            let Some(open) = open else {
                self.text(text, start);
                return Ok(());
            };
            self.at += open;
            let action = self.at;
            self.at += 2;
            if self.left_trim() {
                text = text.trim_end_matches(SPACES);
                self.at += 1;
            }
            self.text(text, start);
            if self.comment_follows() {
                trim_next = self.comment(action)?;
                continue;
            }
            self.out.push((Token::Open, action));
            trim_next = self.action(action)?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.out.push((Token::Text(text.to_owned()), at));
        }
    }

    /// `{{- ` trims the text before it.
    fn left_trim(&self) -> bool {
        let mut rest = self.source[self.at..].chars();
        rest.next() == Some('-') && rest.next().is_some_and(|c| SPACES.contains(&c))
    }

    fn comment_follows(&self) -> bool {
        self.source[self.at..].trim_start_matches(SPACES).starts_with("/*")
    }

    fn comment(&mut self, action: usize) -> Result<bool, TemplateError> {
        let Some(end) = self.source[self.at..].find("*/") else {
            return Err(self.error(action, "unclosed comment"));
        };
        self.at += end + 2;
        let rest = &self.source[self.at..];
        let tail = rest.trim_start_matches(SPACES);
        let (trim, close) = match tail.strip_prefix('-') {
            Some(after) if tail.len() < rest.len() && after.starts_with("}}") => (true, after),
            _ => (false, tail),
        };
        if !close.starts_with("}}") {
            return Err(self.error(action, "comment ends before closing delimiter"));
        }
        self.at = self.source.len() - close.len() + 2;
        Ok(trim)
    }

    /// One action up to its `}}`; true if text after it is to be trimmed.
    fn action(&mut self, start: usize) -> Result<bool, TemplateError> {
        let mut depth = 0usize;
        loop {
            let rest = &self.source[self.at..];
            let spaces = rest.len() - rest.trim_start_matches(SPACES).len();
            let after = &rest[spaces..];
            let trim = spaces > 0 && after.starts_with("-}}");
            if trim || after.starts_with("}}") {
                if depth > 0 {
                    return Err(self.error(self.at, "unclosed left paren"));
                }
                self.at += spaces + if trim { 3 } else { 2 };
                self.out.push((Token::Close, self.at - 2));
                return Ok(trim);
            }
            if spaces > 0 {
                self.out.push((Token::Space, self.at));
                self.at += spaces;
                continue;
            }
            let Some(c) = after.chars().next() else {
                return Err(self.error(start, "unclosed action"));
            };
            match c {
                '(' => depth += 1,
                ')' if depth == 0 => return Err(self.error(self.at, "unexpected right paren")),
                ')' => depth -= 1,
                _ => {}
            }
            self.token(c)?;
        }
    }

    fn token(&mut self, c: char) -> Result<(), TemplateError> {
        let start = self.at;
        let rest = &self.source[start..];
        let next = rest.chars().nth(1);
        let token = match c {
            '"' => return self.quoted(),
            '`' => return self.raw(),
            '\'' => return self.character(),
            '|' => Token::Sign("|"),
            '(' => Token::Sign("("),
            ')' => Token::Sign(")"),
            ',' => Token::Sign(","),
            '=' => Token::Sign("="),
            ':' if next == Some('=') => Token::Sign(":="),
            ':' => return Err(self.error(start, "expected :=")),
            '$' => Token::Variable(format!("${}", word(&rest[1..]))),
            '.' if !next.is_some_and(|n| n.is_ascii_digit()) => {
                let name = word(&rest[1..]);
                if name.is_empty() { Token::Sign(".") } else { Token::Field(name.to_owned()) }
            }
            c if c.is_ascii_digit() || matches!(c, '.' | '+' | '-') => self.number()?,
            c if c.is_alphanumeric() || c == '_' => Token::Word(word(rest).to_owned()),
            // Go takes any other printable ASCII for a token that no rule accepts.
            c if c.is_ascii_graphic() => {
                return Err(self.error(start, &format!("unexpected {:?} in operand", c.to_string())));
            }
            c => {
                let shown = format!("unrecognized character in action: U+{:04X} '{c}'", c as u32);
                return Err(self.error(start, &shown));
            }
        };
        self.at += match &token {
            Token::Sign(sign) => sign.len(),
            Token::Field(name) => name.len() + 1,
            Token::Variable(text) | Token::Word(text) | Token::Number(text) => text.len(),
            _ => 0,
        };
        if matches!(token, Token::Word(_) | Token::Field(_) | Token::Variable(_)) {
            self.terminated()?;
        }
        self.out.push((token, start));
        Ok(())
    }

    /// A name must be followed by something that ends it.
    fn terminated(&self) -> Result<(), TemplateError> {
        let rest = &self.source[self.at..];
        match rest.chars().next() {
            Some(c) if !(SPACES.contains(&c) || ".,|:)(".contains(c) || rest.starts_with("}}")) => {
                Err(self.error(self.at, &format!("bad character U+{:04X} '{c}'", c as u32)))
            }
            _ => Ok(()),
        }
    }

    fn number(&self) -> Result<Token, TemplateError> {
        let rest = &self.source[self.at..];
        let mut end = 0;
        let bytes = rest.as_bytes();
        while end < bytes.len() {
            let sign_after_exponent = matches!(bytes[end], b'+' | b'-')
                && (end == 0 || matches!(bytes[end - 1], b'e' | b'E' | b'p' | b'P'));
            if !(bytes[end].is_ascii_alphanumeric()
                || matches!(bytes[end], b'.' | b'_')
                || sign_after_exponent)
            {
                break;
            }
            end += 1;
        }
        let text = &rest[..end];
        if text.bytes().any(|b| b.is_ascii_digit()) {
            Ok(Token::Number(text.to_owned()))
        } else {
            Err(self.error(self.at, &format!("bad number syntax: {text:?}")))
        }
    }

    fn quoted(&mut self) -> Result<(), TemplateError> {
        let start = self.at;
        let end = self.end_of_quote('"').ok_or_else(|| self.error(start, "unterminated quoted string"))?;
        let raw = self.source[start..end].to_owned();
        let value = unescape(&raw[1..raw.len() - 1])
            .ok_or_else(|| self.error(start, &format!("invalid syntax: {raw}")))?;
        self.out.push((Token::Quoted { value, raw }, start));
        self.at = end;
        Ok(())
    }

    fn raw(&mut self) -> Result<(), TemplateError> {
        let start = self.at;
        let Some(length) = self.source[start + 1..].find('`') else {
            return Err(self.error(start, "unterminated raw quoted string"));
        };
        let raw = self.source[start..start + length + 2].to_owned();
        let value = raw[1..raw.len() - 1].replace('\r', "");
        self.at += raw.len();
        self.out.push((Token::Quoted { value, raw }, start));
        Ok(())
    }

    fn character(&mut self) -> Result<(), TemplateError> {
        let start = self.at;
        let end =
            self.end_of_quote('\'').ok_or_else(|| self.error(start, "unterminated character constant"))?;
        let raw = self.source[start..end].to_owned();
        let value = unescape(&raw[1..raw.len() - 1]).filter(|v| v.chars().count() == 1);
        let Some(c) = value.and_then(|v| v.chars().next()) else {
            return Err(self.error(start, &format!("malformed character constant: {raw}")));
        };
        self.out.push((Token::Char(i64::from(u32::from(c)), raw), start));
        self.at = end;
        Ok(())
    }

    /// Where a quoted constant that starts here ends, its quotes included.
    fn end_of_quote(&self, quote: char) -> Option<usize> {
        let mut escaped = false;
        for (at, c) in self.source[self.at..].char_indices().skip(1) {
            match c {
                '\n' => return None,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => return Some(self.at + at + 1),
                _ => {}
            }
        }
        None
    }

    fn error(&self, at: usize, text: &str) -> TemplateError {
        error_at(self.name, self.source, at, text)
    }
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Go's escapes in constants.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            c @ ('\\' | '"' | '\'') => c,
            'x' => hex(&mut chars, 2)?,
            'u' => hex(&mut chars, 4)?,
            'U' => hex(&mut chars, 8)?,
            c @ '0'..='7' => {
                let digits: String = std::iter::once(c).chain(chars.by_ref().take(2)).collect();
                u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32)?
            }
            _ => return None,
        });
    }
    Some(out)
}

fn hex(chars: &mut std::str::Chars<'_>, count: usize) -> Option<char> {
    let text: String = chars.by_ref().take(count).collect();
    if text.len() != count {
        return None;
    }
    u32::from_str_radix(&text, 16).ok().and_then(char::from_u32)
}
