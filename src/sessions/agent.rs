//! What a client says it is: the `User-Agent` and the client hints, and what they mean. A hint, never a proof.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use woothee::parser::Parser;

/// The longest `User-Agent` that is kept, in bytes.
const MAX_USER_AGENT_BYTES: usize = 256;
/// The longest client hint that is kept, in bytes.
const MAX_HINT_BYTES: usize = 64;

/// What a client said of itself, as it said it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientText {
    /// `User-Agent`, at most 256 bytes.
    pub user_agent: Option<Arc<str>>,
    /// The platform of `Sec-CH-UA-Platform`, at most 64 bytes.
    pub platform: Option<Box<str>>,
    /// Whether `Sec-CH-UA-Mobile` says that it is one.
    pub is_mobile: bool,
}

impl ClientText {
    /// From the headers `User-Agent`, `Sec-CH-UA-Platform` and `Sec-CH-UA-Mobile` (User-Agent Client Hints, WICG).
    pub fn of(user_agent: Option<&str>, platform: Option<&str>, mobile: Option<&str>) -> Self {
        let platform = platform.map(|text| text.trim().trim_matches('"')).filter(|text| !text.is_empty());
        Self {
            user_agent: user_agent.map(|text| shortened(text).into()),
            platform: platform.map(|text| cut(text, MAX_HINT_BYTES).into()),
            is_mobile: mobile.is_some_and(|text| text.trim() == "?1"),
        }
    }
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
            browser: parsed.as_ref().and_then(|parsed| known(parsed.name)),
        }
    }

    /// Whether two texts can come from one program: the same kind, system and browser, whatever the version.
    pub fn is_same_program(one: Option<&str>, other: Option<&str>) -> bool {
        let agent = |text: Option<&str>| Self::of(&ClientText::of(text, None, None));
        let (first, second) = (agent(one), agent(other));
        if first == second && first.browser.is_some() {
            return true;
        }
        // A program that the parser does not know is told by its name before the version: `curl/8.5`.
        let name = |text: Option<&str>| text.and_then(|text| text.split(['/', ' ']).next().map(str::to_owned));
        first == second && name(one) == name(other)
    }
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
        let text = |text| ClientText::of(Some(text), None, None);
        check(&text(FIREFOX), "desktop", Some("Linux"), Some("Firefox"));
        check(&text(CHROME), "desktop", Some("Windows 10"), Some("Chrome"));
        check(&text(IPHONE), "mobile", Some("iPhone"), Some("Safari"));
        check(&text("our-app 1.2"), "unknown", None, None);
        check(&ClientText::default(), "unknown", None, None);
        let hinted = ClientText::of(Some(CHROME), Some("\"Windows\""), Some("?1"));
        check(&hinted, "mobile", Some("Windows"), Some("Chrome"));
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
