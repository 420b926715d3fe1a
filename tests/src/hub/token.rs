//! The token server's memory: which token is good for what, and how often.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a token for `short/…` is good.
const SHORT_USES: u32 = 3;

/// Tokens that were given out.
#[derive(Debug, Default)]
pub struct Tokens {
    next: AtomicU64,
    given: Mutex<HashMap<String, Token>>,
}

#[derive(Debug)]
struct Token {
    /// `repository:NAME:ACTION`, one action each.
    grants: Vec<String>,
    uses: u32,
}

impl Tokens {
    /// A token for the scopes that a person (or nobody) may have: anybody reads what is not private, and only who
    /// is known reads the rest and writes.
    pub fn give(&self, scopes: &[String], known: bool) -> String {
        let mut grants = Vec::new();
        let mut uses = u32::MAX;
        for scope in scopes.iter().flat_map(|s| s.split(' ')) {
            let mut parts = scope.split(':');
            let (Some("repository"), Some(name), Some(actions)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let actions = actions
                .split(',')
                .filter(|action| known || (*action == "pull" && !name.starts_with("private/")));
            grants.extend(actions.map(|action| format!("{name}:{action}")));
            if name.starts_with("short/") {
                uses = SHORT_USES;
            }
        }
        let token = format!("token-{}", self.next.fetch_add(1, Ordering::Relaxed));
        if let Ok(mut given) = self.given.lock() {
            given.insert(token.clone(), Token { grants, uses });
        }
        token
    }

    /// Whether a token is known, and good for all these actions on a repository. Counts a use.
    pub fn check(&self, token: &str, repository: &str, actions: &[&str]) -> Verdict {
        let Ok(mut given) = self.given.lock() else { return Verdict::Unknown };
        let Some(token) = given.get_mut(token) else { return Verdict::Unknown };
        if token.uses == 0 {
            return Verdict::Unknown;
        }
        token.uses -= 1;
        let granted = |action: &&str| token.grants.contains(&format!("{repository}:{action}"));
        if repository.is_empty() || actions.iter().all(granted) { Verdict::Good } else { Verdict::TooLittle }
    }
}

/// What a token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Enough.
    Good,
    /// Not given out, or expired.
    Unknown,
    /// For something else.
    TooLittle,
}
