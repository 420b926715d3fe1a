//! Dockerfile instructions that `import --change` (and later `commit`) applies to a configuration.
//!
//! Only those that Docker allows there.

use super::unusable;
use crate::error::Result;
use oci::Config;

/// Applies one instruction.
pub(super) fn apply(config: &mut Config, instruction: &str) -> Result<()> {
    let text = instruction.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (keyword, rest) = (word.to_ascii_uppercase(), rest.trim());
    let known = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    if !known.contains(&keyword.as_str()) {
        return Err(unusable(format!("{word} is not a valid change command")));
    }
    if rest.is_empty() {
        return Err(unusable(format!("{keyword} requires at least one argument")));
    }
    match keyword.as_str() {
        "CMD" => config.cmd = command(rest),
        "ENTRYPOINT" => config.entrypoint = command(rest),
        "ENV" => {
            for (key, value) in pairs(&keyword, rest)? {
                config.env.retain(|e| e.split('=').next() != Some(&key));
                config.env.push(format!("{key}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(&keyword, rest)?),
        "EXPOSE" => {
            for port in words(rest)? {
                config.exposed_ports.extend(ports(&port)?);
            }
        }
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "STOPSIGNAL" => rest.clone_into(&mut config.stop_signal),
        "USER" => rest.clone_into(&mut config.user),
        "VOLUME" => config.volumes.extend(match json_list(rest) {
            Some(list) => list,
            None => words(rest)?,
        }),
        "WORKDIR" => config.working_dir = join(&config.working_dir, rest),
        _ => config.healthcheck = Some(super::health::parse(rest)?),
    }
    Ok(())
}

/// The exec form as it is, the shell form by `/bin/sh -c`.
fn command(rest: &str) -> Vec<String> {
    json_list(rest).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), rest.into()])
}

fn json_list(rest: &str) -> Option<Vec<String>> {
    if rest.starts_with('[') { serde_json::from_str(rest).ok() } else { None }
}

/// `key=value …`, or the old form `key value`.
fn pairs(keyword: &str, rest: &str) -> Result<Vec<(String, String)>> {
    let words = words(rest)?;
    if !words[0].contains('=') {
        let (key, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if value.is_empty() {
            return Err(unusable(format!("{keyword} must have two arguments")));
        }
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            Some(_) => Err(unusable(format!("{keyword} names can not be blank"))),
            None => Err(unusable(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            ))),
        })
        .collect()
}

/// Splits at blanks; quotes group, a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(unusable(format!("unterminated quote in {text:?}")));
    }
    words.extend(word);
    if words.is_empty() {
        return Err(unusable("an empty value is not allowed"));
    }
    Ok(words)
}

/// `port[-port][/protocol]`.
fn ports(text: &str) -> Result<Vec<String>> {
    let invalid = || unusable(format!("invalid containerPort: {text}"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(unusable(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) =
        (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
    if first > last {
        return Err(invalid());
    }
    Ok((first..=last).map(|p| format!("{p}/{protocol}")).collect())
}

fn join(base: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions() {
        let cases = [
            (r#"CMD ["a","b c"]"#, r#"{"Cmd":["a","b c"]}"#),
            ("cmd echo hi", r#"{"Cmd":["/bin/sh","-c","echo hi"]}"#),
            (r#"ENTRYPOINT ["/x"]"#, r#"{"Entrypoint":["/x"]}"#),
            (r#"ENV A=1 B="2 3" C=4\ 5"#, r#"{"Env":["A=1","B=2 3","C=4 5"]}"#),
            ("ENV A some text", r#"{"Env":["A=some text"]}"#),
            (
                "EXPOSE 80 53/udp 1000-1001",
                r#"{"ExposedPorts":{"1000/tcp":{},"1001/tcp":{},"53/udp":{},"80/tcp":{}}}"#,
            ),
            (r#"LABEL a.b="c d""#, r#"{"Labels":{"a.b":"c d"}}"#),
            ("VOLUME /a /b", r#"{"Volumes":{"/a":{},"/b":{}}}"#),
            (r#"VOLUME ["/a b"]"#, r#"{"Volumes":{"/a b":{}}}"#),
            ("WORKDIR x/../y", r#"{"WorkingDir":"/y"}"#),
            ("USER 1:2", r#"{"User":"1:2"}"#),
            ("STOPSIGNAL SIGINT", r#"{"StopSignal":"SIGINT"}"#),
            ("ONBUILD RUN x", r#"{"OnBuild":["RUN x"]}"#),
            ("RUN x", "RUN is not a valid change command"),
            ("ENV", "ENV requires at least one argument"),
            ("ENV A", "ENV must have two arguments"),
            ("ENV A=1 B", r#"Syntax error - can't find = in "B". Must be of the form: name=value"#),
            ("EXPOSE 80/ip", "invalid proto: ip"),
            ("EXPOSE 99999", "invalid containerPort: 99999"),
            ("LABEL a=\"b", "unterminated quote in \"a=\\\"b\""),
            ("HEALTHCHECK FOO", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
        ];
        for (instruction, want) in cases {
            let mut config = Config::default();
            let got = match apply(&mut config, instruction) {
                Ok(()) => serde_json::to_string(&config).unwrap(),
                Err(e) => e.to_string(),
            };
            assert_eq!(got, want, "{instruction}");
        }
    }

    #[test]
    fn a_variable_is_replaced() {
        let mut config = Config::default();
        for line in ["ENV A=1 B=2", "ENV A=3"] {
            apply(&mut config, line).unwrap();
        }
        assert_eq!(config.env, ["B=2", "A=3"]);
    }
}
