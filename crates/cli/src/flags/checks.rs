//! Checks of single flag values that Docker's CLI makes while it parses.

/// `-e`: a name must not be empty; a name without a value is looked up later.
pub fn env(value: &str) -> Result<(), String> {
    if value.is_empty() || value.starts_with('=') {
        return Err(format!("invalid environment variable: {value}"));
    }
    Ok(())
}

/// `--label`: the key must not be empty nor contain blanks.
pub fn label(value: &str) -> Result<(), String> {
    let key = value.split('=').next().unwrap_or("").trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(format!("invalid label '{value}': empty name"));
    }
    if key.contains([' ', '\t']) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(())
}

/// `-a`: the name of a stream, in any case.
pub fn attach(value: &str) -> Result<(), String> {
    match value.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// `--explain`: how the story is told.
pub fn explain(value: &str) -> Result<(), String> {
    match value {
        "tree" | "json" => Ok(()),
        _ => Err("must be tree or json".to_owned()),
    }
}
