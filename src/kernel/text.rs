//! Texts that are parsed once and cannot be wrong afterwards.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::fault::Malformed;

/// The longest e-mail address, in bytes.
const MAX_EMAIL_BYTES: usize = 254;

/// Declares a text newtype: a boxed string that went through its rule.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident($rule:path);)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the rule of this type.
            pub fn parse(text: &str) -> Result<Self, Malformed> {
                $rule(text).map(|text| Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(D::Error::custom)
            }
        }
    )+};
}

texts! {
    /// A sign-in name: 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit. Compared without case.
    Username(username);
    /// An e-mail address: one `@`, a dotted domain, at most 254 bytes (RFC 5321 section 4.5.3.1), also in small letters.
    /// Compared without case.
    Email(email);
    /// The application's own id of a user: 1 to 200 bytes of printable text. Compared exactly.
    ExternalId(external_id);
    /// A name of a role: 1 to 128 printable characters, no space at either end. Compared exactly.
    RoleName(role_name);
    /// A name of a constraint on roles: as a role's.
    ConstraintName(role_name);
    /// A free text for people: at most 1 000 characters, no control characters but line breaks.
    Note(note);
}

impl Username {
    /// The form in which two spellings of one name are equal.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl Email {
    /// The form in which two spellings of one address are equal.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

fn username(text: &str) -> Result<&str, Malformed> {
    let ok = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    ok.then_some(text).ok_or_else(|| {
        Malformed::new(
            "expected 1 to 64 letters, digits, dots, dashes or underscores, beginning with a letter or digit",
        )
    })
}

fn email(text: &str) -> Result<&str, Malformed> {
    // What it is compared by is kept in a key of the store: some letters take more bytes when they are small.
    let ok = text.len() <= MAX_EMAIL_BYTES
        && text.to_lowercase().len() <= MAX_EMAIL_BYTES
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control())
        && text.split_once('@').is_some_and(|(local, domain)| {
            let labels = || domain.split('.');
            !local.is_empty()
                && local.len() <= 64
                && labels().count() >= 2
                && labels().all(|label| {
                    !label.is_empty()
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label.chars().all(|c| c.is_alphanumeric() || c == '-')
                })
        });
    ok.then_some(text).ok_or_else(|| Malformed::new("expected an e-mail address such as ann@example.org"))
}

fn printable(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most && text.trim() == text && !text.chars().any(char::is_control)
}

fn external_id(text: &str) -> Result<&str, Malformed> {
    // 200 bytes at the most, so that its claim fits a key of the store.
    (printable(text, 256) && text.len() <= 200)
        .then_some(text)
        .ok_or_else(|| Malformed::new("expected 1 to 200 bytes of printable text without spaces at the ends"))
}

fn role_name(text: &str) -> Result<&str, Malformed> {
    printable(text, 128)
        .then_some(text)
        .ok_or_else(|| Malformed::new("expected 1 to 128 printable characters without spaces at the ends"))
}

fn note(text: &str) -> Result<&str, Malformed> {
    (text.chars().count() <= 1000 && !text.chars().any(|c| c.is_control() && c != '\n'))
        .then_some(text)
        .ok_or_else(|| Malformed::new("expected at most 1000 characters without control characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Result<&str, Malformed>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(rule(text).is_ok(), "{text:?} should be accepted");
        }
        for text in bad {
            assert!(rule(text).is_err(), "{text:?} should be refused");
        }
    }

    #[test]
    fn usernames() {
        let long = "a".repeat(65);
        check(username, &["a", "Ann.Lee-2_x", &long[..64]], &["", ".a", "a b", "a@b", "ä", &long, "a\n"]);
    }

    #[test]
    fn emails() {
        check(
            email,
            &["a@b.c", "rick@the-citadel.com", "jürgen@exämple.org", "a+b@c.d"],
            &["", "a", "a@b", "@b.c", "a@.c", "a@b..c", "a@@b.c", "a b@c.d", "a@-b.c", "a@b.c\n"],
        );
    }

    #[test]
    fn an_address_is_as_short_in_small_letters() {
        let address = |letters: usize| format!("a@{}.{}.org", "Ⱥ".repeat(31), "Ⱥ".repeat(letters));
        let (fits, grows) = (address(51), address(52));
        assert!(grows.len() < 254 && fits.to_lowercase().len() <= 254 && grows.to_lowercase().len() > 254);
        check(email, &[&fits], &[&grows]);
    }

    #[test]
    fn external_ids_and_role_names() {
        check(
            external_id,
            &["1", "CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"],
            &["", " a", "a\u{7}"],
        );
        check(role_name, &["viewer", "Vertrieb Süd"], &["", "a ", &"x".repeat(129)]);
    }
}
