//! Which permission a forwarded request needs: the rules of the configuration, and the path they are compared with.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::access::pattern::PermissionName;
use crate::kernel::fault::Malformed;
use crate::kernel::setting::text_setting;

/// One rule: `GET|HEAD app.example.org/reports/* reports:read`. The methods may be `*`, the host is optional, a path
/// ends in `*` to mean everything below, and the permission is `-` where being signed in is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRule {
    methods: Vec<String>,
    host: Option<String>,
    path: String,
    permission: Option<PermissionName>,
}

/// What a forwarded request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need<'a> {
    /// Being signed in.
    SignIn,
    /// This permission.
    Permission(&'a PermissionName),
    /// Nothing would do: no rule is about it, or its path can be read in two ways.
    Nothing,
}

impl ForwardRule {
    /// Whether the rule is about this request; the path is canonical.
    fn is_about(&self, method: &str, host: &str, path: &str) -> bool {
        let has_method = self.methods.is_empty() || self.methods.iter().any(|one| one.eq_ignore_ascii_case(method));
        let has_host = self.host.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(host));
        let has_path = match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix) || prefix.strip_suffix('/') == Some(path),
            None => path == self.path,
        };
        has_method && has_host && has_path
    }
}

/// What the rules, the first of which that is about the request counts, say it needs. Without rules: being signed in.
pub fn need<'a>(rules: &'a [ForwardRule], method: &str, host: &str, uri: &str) -> Need<'a> {
    if rules.is_empty() {
        return Need::SignIn;
    }
    let host = &*bare(host);
    let Some(path) = canonical(uri) else { return Need::Nothing };
    match rules.iter().find(|rule| rule.is_about(method, host, &path)) {
        Some(ForwardRule { permission: Some(permission), .. }) => Need::Permission(permission),
        Some(_) => Need::SignIn,
        None => Need::Nothing,
    }
}

/// A host without its port, in the one form that rules are compared in: without the dot that ends a whole name, and with
/// an IPv6 address as RFC 5952 writes it.
fn bare(host: &str) -> Cow<'_, str> {
    let Some((literal, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        let name = host.split_once(':').map_or(host, |(name, _)| name);
        return Cow::Borrowed(name.trim_end_matches('.'));
    };
    literal.parse().map_or(Cow::Borrowed(host), |address: Ipv6Addr| Cow::Owned(format!("[{address}]")))
}

/// The path of a URI as every server reads it; none if servers could read it differently (`..`, `//`, `\`, `;`, a
/// null, a second layer of percent signs): such a path might be let in as one thing and served as another.
fn canonical(uri: &str) -> Option<String> {
    let path = uri.split(['?', '#']).next().filter(|path| path.starts_with('/'))?;
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        let byte = u8::try_from(high * 16 + low).ok()?;
        // An encoded slash or percent sign is one for some servers, and none for others.
        if matches!(byte, b'/' | b'%') {
            return None;
        }
        decoded.push(byte);
    }
    let path = String::from_utf8(decoded).ok()?;
    let is_plain = !path.contains("//")
        && !path.split('/').any(|segment| matches!(segment, "." | ".."))
        && !path.contains(['\\', ';'])
        && !path.chars().any(char::is_control);
    is_plain.then_some(path)
}

impl FromStr for ForwardRule {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed::new("expected a rule such as GET|HEAD app.example.org/reports/* reports:read");
        let mut words = text.split_whitespace();
        let (Some(methods), Some(target), Some(permission), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let slash = target.find('/').ok_or_else(wrong)?;
        let (host_text, path) = target.split_at(slash);
        if path.trim_end_matches('*').contains('*') || path.ends_with("**") {
            return Err(wrong());
        }
        Ok(Self {
            methods: if methods == "*" { Vec::new() } else { methods.split('|').map(str::to_owned).collect() },
            host: match bare(host_text) {
                host if host.is_empty() => None,
                // A port is not compared: a rule with one would never count.
                _ if !host_text.starts_with('[') && host_text.contains(':') => return Err(wrong()),
                host => Some(host.into_owned()),
            },
            path: path.to_owned(),
            permission: match permission {
                "-" => None,
                name => Some(PermissionName::parse(name).map_err(|_| wrong())?),
            },
        })
    }
}

impl fmt::Display for ForwardRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = if self.methods.is_empty() { "*".to_owned() } else { self.methods.join("|") };
        let permission = self.permission.as_ref().map_or("-", PermissionName::as_str);
        write!(f, "{methods} {}{} {permission}", self.host.as_deref().unwrap_or_default(), self.path)
    }
}

text_setting!(ForwardRule, "a rule such as GET|HEAD app.example.org/reports/* reports:read");

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Vec<ForwardRule> {
        ["GET|HEAD a.example/reports/* reports:read", "* /reports/* reports:write", "GET /public -"]
            .map(|text| text.parse().unwrap())
            .to_vec()
    }

    fn check(method: &str, host: &str, uri: &str, expected: &str) {
        let rules = rules();
        let found = match need(&rules, method, host, uri) {
            Need::SignIn => "-",
            Need::Permission(permission) => permission.as_str(),
            Need::Nothing => "nothing",
        };
        assert_eq!(found, expected, "{method} {host} {uri}");
    }

    #[test]
    fn the_first_rule_that_is_about_a_request_counts() {
        check("GET", "a.example", "/reports/1?x=/public", "reports:read");
        check("GET", "a.example:443", "/reports", "reports:read");
        check("POST", "a.example", "/reports/1", "reports:write");
        check("GET", "A.example.:443", "/reports", "reports:read");
        check("GET", "b.example", "/reports/", "reports:write");
        check("GET", "b.example", "/public", "-");
        check("GET", "b.example", "/public/x", "nothing");
        check("GET", "b.example", "/reportsx", "nothing");
        assert_eq!(need(&[], "GET", "x", "//"), Need::SignIn);
    }

    #[test]
    fn a_host_counts_however_it_is_spelled() {
        for (rule, host) in [
            ("a.example", "a.example."),
            ("a.example.", "A.EXAMPLE:8443"),
            ("[2001:db8::1]", "[2001:DB8:0::1]:8443"),
            ("[2001:db8:0:0::1]", "[2001:db8::1]"),
        ] {
            let rules: [ForwardRule; 2] =
                [format!("* {rule}/* a:b"), "* /* -".to_owned()].map(|text| text.parse().unwrap());
            assert!(matches!(need(&rules, "GET", host, "/"), Need::Permission(_)), "{rule} {host}");
            assert_eq!(need(&rules, "GET", "[2001:db8::2]", "/"), Need::SignIn, "{rule}");
        }
        assert!("* a.example:8443/* a:b".parse::<ForwardRule>().is_err(), "ports are not compared");
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_let_in_by_nothing() {
        for uri in [
            "/public/../reports/1",
            "//reports",
            "/%2e%2e/public",
            "/reports%2f1",
            "/a;b",
            "/a\\b",
            "/%00",
            "x",
            "",
            "/%",
        ] {
            check("GET", "b.example", uri, "nothing");
        }
        check("GET", "b.example", "/%70ublic", "-");
    }

    #[test]
    fn rules_survive_their_text() {
        for text in ["GET|HEAD a.example/reports/* reports:read", "* /x -"] {
            assert_eq!(text.parse::<ForwardRule>().unwrap().to_string(), text);
        }
        for bad in ["", "GET", "GET /x", "GET x y:z", "GET /x notapermission", "GET /a*b x:y", "GET /x y:z more"] {
            assert!(bad.parse::<ForwardRule>().is_err(), "{bad}");
        }
    }
}
