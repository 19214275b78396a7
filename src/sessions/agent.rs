//! What a client says it is: the `User-Agent` and the client hints, and what they mean. A hint, never a proof.

use serde::{Deserialize, Serialize};
use woothee::parser::Parser;

use crate::kernel::shared_text::SharedText;

/// The longest `User-Agent` that is kept, in bytes.
const MAX_USER_AGENT_BYTES: usize = 256;
/// The longest client hint that is kept, in bytes.
const MAX_HINT_BYTES: usize = 64;

/// What a client said of itself, as it said it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientText {
    /// `User-Agent`, at most 256 bytes.
    pub user_agent: Option<SharedText>,
    /// The platform of `Sec-CH-UA-Platform`, at most 64 bytes.
    pub platform: Option<SharedText>,
    /// Whether `Sec-CH-UA-Mobile` says that it is one.
    pub is_mobile: bool,
    /// The browser that `Sec-CH-UA` names, at most 64 bytes. Browsers that call themselves Chrome in `User-Agent` tell
    /// here what they are.
    pub brand: Option<SharedText>,
}

/// What a client says beside its `User-Agent` (User-Agent Client Hints, WICG), as it says it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints<'a> {
    /// `Sec-CH-UA-Platform`.
    pub platform: Option<&'a str>,
    /// `Sec-CH-UA-Mobile`.
    pub mobile: Option<&'a str>,
    /// `Sec-CH-UA`.
    pub brands: Option<&'a str>,
}

impl ClientText {
    /// From the header `User-Agent` and the hints.
    pub fn of(user_agent: Option<&str>, hints: Hints<'_>) -> Self {
        let platform = hints.platform.map(|text| text.trim().trim_matches('"')).filter(|text| !text.is_empty());
        Self {
            user_agent: user_agent.map(|text| shortened(text).into()),
            platform: platform.map(|text| cut(text, MAX_HINT_BYTES).into()),
            is_mobile: hints.mobile.is_some_and(|text| text.trim() == "?1"),
            brand: hints.brands.and_then(own_brand).map(|text| cut(text, MAX_HINT_BYTES).into()),
        }
    }
}

/// The brand in a list such as `"Chromium";v="142", "Brave";v="142", "Not_A Brand";v="99"` that is the browser's own: not
/// the engine's, which many share, and not the one that is made up so that nobody relies on the list's form.
fn own_brand(brands: &str) -> Option<&str> {
    let names = brands.split(',').filter_map(|brand| brand.trim().strip_prefix('"')?.split('"').next());
    let is_made_up = |name: &str| name.contains("Not") && name.contains("Brand");
    let mut own = names.filter(|name| !name.is_empty() && !is_made_up(name));
    let first = own.next()?;
    Some(if first == "Chromium" { own.next().unwrap_or(first) } else { first })
}

/// A `User-Agent` as it is kept.
pub fn shortened(user_agent: &str) -> &str {
    cut(user_agent, MAX_USER_AGENT_BYTES)
}

/// What a client is, as far as its text tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// `desktop`, `mobile`, `bot` or `unknown`.
    pub kind: &'static str,
    /// The operating system.
    pub os: Option<String>,
    /// The browser, without its version.
    pub browser: Option<String>,
}

impl Agent {
    /// Reads what the client said.
    pub fn of(client: &ClientText) -> Self {
        const UNKNOWN: &str = "UNKNOWN";
        let parsed = client.user_agent.as_deref().and_then(|text| Parser::new().parse(text));
        let known = |text: &str| (text != UNKNOWN && !text.is_empty()).then(|| text.to_owned());
        let kind = match parsed.as_ref().map(|parsed| parsed.category) {
            Some("pc") => "desktop",
            Some("smartphone" | "mobilephone") => "mobile",
            Some("crawler") => "bot",
            _ => "unknown",
        };
        Self {
            kind: if client.is_mobile { "mobile" } else { kind },
            os: client.platform.as_deref().map(str::to_owned).or(parsed.as_ref().and_then(|parsed| known(parsed.os))),
            browser: client.brand.as_deref().map(called).or(parsed.as_ref().and_then(|parsed| known(parsed.name))),
        }
    }

    /// Whether two texts can come from one program: the same kind, system and browser, whatever the version.
    pub fn is_same_program(one: Option<&str>, other: Option<&str>) -> bool {
        let agent = |text: Option<&str>| Self::of(&ClientText::of(text, Hints::default()));
        let (first, second) = (agent(one), agent(other));
        if first == second && first.browser.is_some() {
            return true;
        }
        // A program that the parser does not know is told by its name before the version: `curl/8.5`.
        let name = |text: Option<&str>| text.and_then(|text| text.split(['/', ' ']).next().map(str::to_owned));
        first == second && name(one) == name(other)
    }
}

/// A brand, as the parser of `User-Agent` calls the same browser.
fn called(brand: &str) -> String {
    match brand {
        "Google Chrome" => "Chrome",
        "Microsoft Edge" => "Edge",
        other => other,
    }
    .to_owned()
}

/// At most so many bytes of a text, cut between characters.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";

    fn check(client: &ClientText, kind: &str, os: Option<&str>, browser: Option<&str>) {
        let agent = Agent::of(client);
        assert_eq!((agent.kind, agent.os.as_deref(), agent.browser.as_deref()), (kind, os, browser), "{client:?}");
    }

    #[test]
    fn clients_are_told_apart() {
        let text = |text| ClientText::of(Some(text), Hints::default());
        check(&text(FIREFOX), "desktop", Some("Linux"), Some("Firefox"));
        check(&text(CHROME), "desktop", Some("Windows 10"), Some("Chrome"));
        check(&text(IPHONE), "mobile", Some("iPhone"), Some("Safari"));
        check(&text("our-app 1.2"), "unknown", None, None);
        check(&ClientText::default(), "unknown", None, None);
        let brands = r#""Chromium";v="142", "Brave";v="142", "Not_A Brand";v="99""#;
        let hints = Hints { platform: Some("\"Windows\""), mobile: Some("?1"), brands: Some(brands) };
        check(&ClientText::of(Some(CHROME), hints), "mobile", Some("Windows"), Some("Brave"));
    }

    #[test]
    fn the_brand_is_the_browsers_own() {
        for (brands, expected) in [
            (r#""Google Chrome";v="142", "Not(A:Brand";v="8", "Chromium";v="142""#, Some("Google Chrome")),
            (r#""Not=A?Brand";v="99", "Chromium";v="142", "Microsoft Edge";v="142""#, Some("Microsoft Edge")),
            (r#""Chromium";v="142", "Not;A Brand";v="99""#, Some("Chromium")),
            (r#""Not;A Brand";v="99""#, None),
            ("Chrome", None),
            ("", None),
            (r#"""#, None),
        ] {
            assert_eq!(own_brand(brands), expected, "{brands}");
        }
    }

    #[test]
    fn an_update_is_no_other_program() {
        let newer = FIREFOX.replace("140", "141");
        assert!(Agent::is_same_program(Some(FIREFOX), Some(&newer)));
        assert!(Agent::is_same_program(Some("our-app/1.2"), Some("our-app/1.3")));
        assert!(!Agent::is_same_program(Some(FIREFOX), Some(CHROME)));
        assert!(!Agent::is_same_program(Some("our-app/1.2"), Some("their-app/1.2")));
        assert!(!Agent::is_same_program(Some(FIREFOX), None));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 3), "aä");
        assert_eq!(shortened(&"x".repeat(1000)).len(), MAX_USER_AGENT_BYTES);
    }
}
