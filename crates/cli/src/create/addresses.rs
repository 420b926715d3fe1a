//! Addresses and names of hosts on the command line: `--dns`, `--dns-search`, `--add-host`, `--link`, `--mac-address`.

use std::net::IpAddr;

use crate::grammar::numbers::quote;

/// The word that stands for the host's own address.
const HOST_GATEWAY: &str = "host-gateway";
/// RFC 1035's limit for a name.
const MAX_DOMAIN_LEN: usize = 255;

/// `--dns`: the address in its canonical form.
pub fn dns(value: &str) -> Result<String, String> {
    match value.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical().to_string()),
        Err(_) => Err(format!("IP address is not correctly formatted: {value}")),
    }
}

/// `--dns-search`: a domain, or `.` for none.
pub fn dns_search(value: &str) -> Result<String, String> {
    let value = value.trim_matches(' ');
    if value == "." {
        return Ok(value.to_owned());
    }
    let name = value.trim_end();
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        ends(label.chars().next())
            && ends(label.chars().last())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let has_letter = value.bytes().any(|b| b.is_ascii_alphabetic());
    if has_letter && name.len() < MAX_DOMAIN_LEN && name.split('.').all(is_label) {
        return Ok(name.to_owned());
    }
    Err(format!("{value} is not a valid domain"))
}

/// `--add-host`: `name:address` or `name=address`, in the API's form.
pub fn extra_host(value: &str) -> Result<String, String> {
    let pair = value.split_once('=').or_else(|| value.split_once(':'));
    let (name, address) = pair
        .filter(|(name, _)| !name.is_empty() && !name.contains(':'))
        .ok_or_else(|| format!("bad format for add-host: {}", quote(value)))?;
    if address == HOST_GATEWAY {
        return Ok(format!("{name}:{address}"));
    }
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).filter(|a| !a.is_empty());
    let address = bare.unwrap_or(address);
    if dns(address).is_err() {
        return Err(format!("invalid IP address in add-host: {}", quote(address)));
    }
    // As it was written: people look for it in /etc/hosts.
    Ok(format!("{name}:{address}"))
}

/// `--link`: `container[:alias]`.
pub fn link(value: &str) -> Result<(), String> {
    match value.split(':').count() {
        _ if value.is_empty() => Err("empty string specified for links".to_owned()),
        1 | 2 => Ok(()),
        _ => Err(format!("bad format for links: {value}")),
    }
}

/// Whether Go's `net.ParseMAC` takes it: 6, 8 or 20 bytes, in groups of two digits with `:` or `-` between them or
/// of four with dots.
pub fn is_mac(text: &str) -> bool {
    let text = text.trim();
    let (separator, digits) = match (text.as_bytes().get(2), text.as_bytes().get(4)) {
        (Some(b':'), _) => (':', 2),
        (Some(b'-'), _) => ('-', 2),
        (_, Some(b'.')) => ('.', 4),
        _ => return false,
    };
    let groups: Vec<&str> = text.split(separator).collect();
    matches!(groups.len() * digits / 2, 6 | 8 | 20)
        && groups.iter().all(|g| g.len() == digits && g.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses() {
        for (text, want) in [
            ("02:42:ac:11:00:02", true),
            (" 02-42-AC-11-00-02 ", true),
            ("0242.ac11.0002", true),
            ("02:42:ac:11:00:02:03:04", true),
            ("0242.ac11.0002.0003", true),
            ("02:42:ac:11:00", false),
            ("02:42:ac-11-00-02", false),
            ("02:42:ac:11:00:0g", false),
            ("zz", false),
            ("", false),
        ] {
            assert_eq!(is_mac(text), want, "{text}");
        }
    }

    #[test]
    fn hosts() {
        for (text, want) in [
            ("a:1.2.3.4", Ok("a:1.2.3.4")),
            ("a=::1", Ok("a:::1")),
            ("a:[::1]", Ok("a:::1")),
            ("a:0:0:0:0:0:0:0:1", Ok("a:0:0:0:0:0:0:0:1")),
            ("a:host-gateway", Ok("a:host-gateway")),
            ("a", Err("bad format for add-host: \"a\"")),
            ("a:b=1.2.3.4", Err("bad format for add-host: \"a:b=1.2.3.4\"")),
            ("a:", Err("invalid IP address in add-host: \"\"")),
        ] {
            assert_eq!(extra_host(text), want.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        for (text, want) in [(" 1.1.1.1 ", Some("1.1.1.1")), ("::ffff:1.2.3.4", Some("1.2.3.4")), ("x", None)]
        {
            assert_eq!(dns(text).ok().as_deref(), want, "{text}");
        }
        for (text, want) in
            [(" a. ", Some("a")), (".", Some(".")), ("a.b-c", Some("a.b-c")), ("a.b_c", None), ("1", None)]
        {
            assert_eq!(dns_search(text).ok().as_deref(), want, "{text}");
        }
    }
}
