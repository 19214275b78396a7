//! The fields of a profile, and the forms of those that have one.

use std::str::FromStr as _;

use jiff::civil::Date;
use url::{Host, Url};

use crate::kernel::catalogue::{Catalogue, Field, Rule, is_control, normal};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{FieldError, Malformed};
use crate::kernel::sheet::Sheet;
use crate::kernel::text::Email;

/// The most social links.
const MOST_LINKS: usize = 20;
/// The longest web address, in characters.
const MOST_URL: usize = 255;
/// Nobody is older.
const MOST_YEARS: i64 = 150;

/// Every field of a profile.
pub const FIELDS: Catalogue = Catalogue(&[
    Field { path: "display_name", about: "The name to show.", rule: Rule::Line(100), default: "" },
    Field { path: "bio", about: "About the person.", rule: Rule::Text(2000), default: "" },
    Field { path: "location", about: "Where the person is.", rule: Rule::Line(100), default: "" },
    Field { path: "website", about: "An http or https address.", rule: Rule::Form(website, "uri"), default: "" },
    Field {
        path: "social_links.*",
        about: "By platform: a name on a known platform, or an https address.",
        rule: Rule::Keyed(social_link, "text"),
        default: "",
    },
    Field { path: "date_of_birth", about: "A day in the past.", rule: Rule::Form(date_of_birth, "date"), default: "" },
    Field {
        path: "phone_number",
        about: "In the form of E.164, such as +4930123456.",
        rule: Rule::Form(phone_number, "phone"),
        default: "",
    },
    Field {
        path: "emergency_contact.name",
        about: "Whom to call in an emergency.",
        rule: Rule::Line(100),
        default: "",
    },
    Field {
        path: "emergency_contact.relationship",
        about: "Who that is to the person.",
        rule: Rule::Line(50),
        default: "",
    },
    Field {
        path: "emergency_contact.phone_number",
        about: "In the form of E.164.",
        rule: Rule::Form(phone_number, "phone"),
        default: "",
    },
    Field {
        path: "emergency_contact.email",
        about: "An e-mail address.",
        rule: Rule::Form(email, "email"),
        default: "",
    },
]);

/// Platforms whose names are known, and the hosts of their addresses; none: any host.
const PLATFORMS: &[(&str, &[&str])] = &[
    ("bitbucket", &["bitbucket.org"]),
    ("bluesky", &["bsky.app"]),
    ("codeberg", &["codeberg.org"]),
    ("discord", &["discord.com", "discord.gg"]),
    ("facebook", &["facebook.com", "fb.com"]),
    ("github", &["github.com"]),
    ("gitlab", &["gitlab.com"]),
    ("instagram", &["instagram.com"]),
    ("linkedin", &["linkedin.com"]),
    ("mastodon", &[]),
    ("medium", &["medium.com"]),
    ("orcid", &["orcid.org"]),
    ("pinterest", &["pinterest.com"]),
    ("reddit", &["reddit.com"]),
    ("signal", &["signal.me"]),
    ("snapchat", &["snapchat.com"]),
    ("soundcloud", &["soundcloud.com"]),
    ("stackoverflow", &["stackoverflow.com"]),
    ("telegram", &["t.me", "telegram.me"]),
    ("threads", &["threads.net", "threads.com"]),
    ("tiktok", &["tiktok.com"]),
    ("tumblr", &["tumblr.com"]),
    ("twitch", &["twitch.tv"]),
    ("twitter", &["twitter.com", "x.com"]),
    ("vimeo", &["vimeo.com"]),
    ("whatsapp", &["wa.me", "whatsapp.com"]),
    ("x", &["x.com", "twitter.com"]),
    ("xing", &["xing.com"]),
    ("youtube", &["youtube.com", "youtu.be"]),
];

/// What is wrong with a whole profile, though each field is well-formed.
pub fn complaints(sheet: &Sheet, now: Timestamp) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    if sheet.below("social_links").count() > MOST_LINKS {
        wrong.push(FieldError::new("social_links", format!("expected at most {MOST_LINKS}")));
    }
    if sheet.below("emergency_contact").next().is_some() && sheet.json("emergency_contact.name").is_none() {
        wrong.push(FieldError::new("emergency_contact.name", "a contact needs a name"));
    }
    if let Some(born) = sheet.text("date_of_birth").and_then(|text| text.parse::<Date>().ok())
        && !is_past(born, now)
    {
        wrong.push(FieldError::new("date_of_birth", "expected a day in the past, of a living person"));
    }
    wrong
}

fn is_past(born: Date, now: Timestamp) -> bool {
    let Ok(now) = jiff::Timestamp::from_millisecond(now.millis()) else { return false };
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    born < today && i64::from(today.year()) - i64::from(born.year()) <= MOST_YEARS
}

fn date_of_birth(text: &str) -> Result<String, Malformed> {
    let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date = Date::from_str(text).ok().filter(|_| is_plain);
    date.map(|date| date.to_string()).ok_or_else(|| Malformed::new("expected a date such as 1990-12-31"))
}

/// A telephone number in the form of E.164 (ITU-T, section 6.1): a plus sign, then 7 to 15 digits, not beginning with 0.
///
/// # Errors
/// In words.
pub fn phone_number(text: &str) -> Result<String, Malformed> {
    let is_good = text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    is_good.then(|| text.to_owned()).ok_or_else(|| {
        Malformed::new("expected a number such as +4930123456: a plus sign, the country, 7 to 15 digits in all")
    })
}

fn email(text: &str) -> Result<String, Malformed> {
    Email::parse(text).map(|email| email.to_string())
}

fn website(text: &str) -> Result<String, Malformed> {
    let text = normal(text);
    address(&text, &["http", "https"])
        .map(|_| text)
        .ok_or_else(|| Malformed(format!("expected an http or https address of at most {MOST_URL} characters")))
}

/// A name on a known platform or an address of it; an https address for any other platform.
fn social_link(platform: &str, text: &str) -> Result<String, Malformed> {
    let text = normal(text);
    let hosts = PLATFORMS.iter().find(|(name, _)| *name == platform).map(|(_, hosts)| *hosts);
    let is_address = address(&text, &["https"]).is_some_and(|host| {
        hosts.is_none_or(|known| known.is_empty() || known.iter().any(|known| is_at(&host, known)))
    });
    if is_address || (hosts.is_some() && is_handle(&text)) {
        return Ok(text);
    }
    Err(match hosts {
        None => Malformed(format!("expected an https address of at most {MOST_URL} characters")),
        Some([]) => Malformed::new("expected a name on the platform, or an https address"),
        Some(hosts) => {
            Malformed(format!("expected a name on the platform, or an https address at {}", hosts.join(", ")))
        }
    })
}

fn is_at(host: &str, known: &str) -> bool {
    host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_handle(text: &str) -> bool {
    (1..=100).contains(&text.chars().count())
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+'))
}

/// The host of a web address with one of these schemes: without a password in it, anything that browsers drop, or anything
/// that turns the direction of what is shown of it (RFC 3987 section 4.1).
fn address(text: &str, schemes: &[&str]) -> Option<String> {
    let is_mark = |c| is_control(c) || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}');
    if text.chars().count() > MOST_URL || text.chars().any(|c| c.is_whitespace() || is_mark(c) || c == '\\') {
        return None;
    }
    let url = Url::parse(text).ok().filter(|url| schemes.contains(&url.scheme()))?;
    // `https:example.org` is read as an address too.
    text.get(url.scheme().len()..).filter(|rest| rest.starts_with("://"))?;
    let is_named = url.username().is_empty() && url.password().is_none();
    match url.host()? {
        Host::Domain(host) if is_named => Some(host.to_ascii_lowercase()),
        Host::Ipv4(_) | Host::Ipv6(_) if is_named => url.host_str().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: impl Fn(&str) -> Result<String, Malformed>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(rule(text).as_deref(), Ok(*text));
        }
        for text in bad {
            assert!(rule(text).is_err(), "{text:?} should be refused");
        }
    }

    #[test]
    fn every_field_has_a_place_of_its_own() {
        assert!(FIELDS.is_in_order());
    }

    #[test]
    fn websites() {
        let long = format!("https://example.org/{}", "x".repeat(MOST_URL));
        check(
            website,
            &[
                "https://example.org",
                "http://example.org/a?b#c",
                "https://例え.jp/",
                "HTTPS://EXAMPLE.org",
                "http://[::1]/",
            ],
            &[
                "",
                "example.org",
                "ftp://a.b",
                "javascript:alert(1)",
                "https://",
                "https:a.b",
                "https://a b",
                "//a.b",
                "https://user:pw@a.b",
                "https://user@a.b",
                "data:text/html,x",
                "https://a.b\\c",
                "https://a\n.b",
                "https://evil.example/\u{202E}moc.knab//:sptth",
                "https://a.example/\u{200F}x",
                &long,
            ],
        );
    }

    #[test]
    fn addresses_and_names_are_kept_in_their_normal_form() {
        assert_eq!(website("https://a.example/e\u{301}").as_deref(), Ok("https://a.example/\u{e9}"));
        assert_eq!(social_link("mastodon", "jose\u{301}").as_deref(), Ok("jos\u{e9}"));
        assert_eq!(social_link("forum", "https://a.example/e\u{301}").as_deref(), Ok("https://a.example/\u{e9}"));
    }

    #[test]
    fn phone_numbers_and_dates() {
        check(
            phone_number,
            &["+4930123456", "+1234567", "+123456789012345"],
            &[
                "",
                "+",
                "030123456",
                "+0301234567",
                "+49 30 123456",
                "+123456",
                "+1234567890123456",
                "+49x0123456",
                "+４９３０１２３４５６",
            ],
        );
        check(
            date_of_birth,
            &["1990-12-31", "2000-02-29"],
            &[
                "",
                "1990-13-01",
                "1990-02-30",
                "2001-02-29",
                "31.12.1990",
                "1990-12-31T00:00:00",
                "19901231",
                "-1990-12-3",
            ],
        );
    }

    #[test]
    fn social_links() {
        let at = |platform: &'static str| move |text: &str| social_link(platform, text);
        check(
            at("github"),
            &["octocat", "https://github.com/octocat", "https://gist.github.com/x"],
            &[
                "",
                "http://github.com/x",
                "https://evil.example/",
                "https://notgithub.com/x",
                "a b",
                "https://github.com@evil.example/",
                "https://github.com/\u{202E}x",
                "\u{2066}octocat",
            ],
        );
        check(
            at("mastodon"),
            &["@ann@example.social", "https://example.social/@ann"],
            &["a/b", "http://example.social"],
        );
        check(at("my-forum"), &["https://forum.example/ann"], &["ann", "http://forum.example", "javascript:x"]);
    }

    #[test]
    fn a_date_of_birth_is_past_and_of_this_age() {
        let now = Timestamp::parse("2025-11-23T12:00:00Z").unwrap();
        let wrong = |date: &str| {
            let mut sheet = Sheet::default();
            sheet.set("date_of_birth", &format!("{date:?}"));
            !complaints(&sheet, now).is_empty()
        };
        assert!(wrong("2025-11-23") && wrong("2026-01-01") && wrong("1874-12-31") && wrong("0001-01-01"));
        assert!(!wrong("2025-11-22") && !wrong("1990-01-01") && !wrong("1875-11-23"));
    }
}
