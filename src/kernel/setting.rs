//! Settings: one field is the key, its type, its default, its rule and its line in the printed configuration.
//!
//! A slice declares its own with `settings!`; `config.rs` gathers them and knows where their values come from. Knows
//! no file, no environment and no flag.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml_edit::{Array, Value};

use super::fault::Malformed;

/// A type that a setting can have.
pub trait Setting: Sized {
    /// From the text of an environment variable or a flag.
    fn parse(text: &str) -> Result<Self, Malformed>;
    /// From a value of the configuration file.
    fn read(value: &Value) -> Result<Self, Malformed>;
    /// As the configuration file writes it.
    fn show(&self) -> Value;
}

/// What somebody set.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    /// The text of an environment variable or a flag.
    Text(&'a str),
    /// A value of the configuration file.
    Value(&'a Value),
}

impl Given<'_> {
    /// The value as the setting's type.
    pub fn read<T: Setting>(self) -> Result<T, Malformed> {
        match self {
            Self::Text(text) => T::parse(text),
            Self::Value(value) => T::read(value),
        }
    }
}

/// One setting as it stands.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its name in its section.
    pub key: &'static str,
    /// What it is, in the words of the field's documentation.
    pub about: &'static str,
    /// What is accepted, such as `1 to 1024`.
    pub range: Option<String>,
    /// Another environment variable it is read from.
    pub alias: Option<&'static str>,
    /// Its value.
    pub value: Value,
}

/// The settings of one slice.
pub trait Section {
    /// What the section is about.
    fn about(&self) -> &'static str;
    /// Every setting, in the order of the fields.
    fn lines(&self) -> Vec<Line>;
    /// Sets one setting; `None` if there is none of this name. What is malformed changes nothing.
    fn set(&mut self, key: &str, given: Given<'_>) -> Option<Result<(), Malformed>>;
    /// Whether the settings agree with each other.
    fn check(&self) -> Result<(), Malformed>;
}

/// Declares a slice's settings: `name: Type = default, in range, rule function, alias "VARIABLE";` and after the
/// struct's name the function, if any, that checks them together.
macro_rules! settings {
    (
        $(#[doc = $summary:literal])+
        $vis:vis struct $name:ident $(, checked by $together:path)? {
            $(
                $(#[doc = $about:literal])+
                $field:ident: $type:ty = $default:expr $(, in $range:expr)? $(, rule $rule:path)? $(, alias $alias:literal)?;
            )+
        }
    ) => {
        $(#[doc = $summary])+
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name { $($(#[doc = $about])+ pub $field: $type,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::kernel::setting::Section for $name {
            fn about(&self) -> &'static str {
                concat!($($summary, "\n"),+)
            }

            fn lines(&self) -> Vec<$crate::kernel::setting::Line> {
                vec![$($crate::kernel::setting::Line {
                    key: stringify!($field),
                    about: concat!($($about, "\n"),+),
                    range: [$($crate::kernel::setting::in_words::<$type>(&$range),)? String::new()]
                        .into_iter()
                        .find(|words| !words.is_empty()),
                    alias: [$(Some($alias),)? None].into_iter().next().flatten(),
                    value: $crate::kernel::setting::Setting::show(&self.$field),
                }),+]
            }

            fn set(
                &mut self,
                key: &str,
                given: $crate::kernel::setting::Given<'_>,
            ) -> Option<Result<(), $crate::kernel::fault::Malformed>> {
                match key {
                    $(stringify!($field) => Some(given.read::<$type>().and_then(|value| {
                        $($crate::kernel::setting::within(&value, &$range)?;)?
                        $($rule(&value)?;)?
                        self.$field = value;
                        Ok(())
                    })),)+
                    _ => None,
                }
            }

            fn check(&self) -> Result<(), $crate::kernel::fault::Malformed> {
                $($together(self)?;)?
                Ok(())
            }
        }
    };
}
pub(crate) use settings;

/// Refuses a value outside its range.
pub(crate) fn within<T: PartialOrd + Display>(value: &T, range: &RangeInclusive<T>) -> Result<(), Malformed> {
    if range.contains(value) { Ok(()) } else { Err(Malformed(format!("expected {}", in_words(range)))) }
}

/// A range as people say it.
pub(crate) fn in_words<T: Display>(range: &RangeInclusive<T>) -> String {
    format!("{} to {}", range.start(), range.end())
}

/// Implements [`Setting`] for whole numbers.
macro_rules! number_settings {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn parse(text: &str) -> Result<Self, Malformed> {
                text.parse().map_err(|_| Malformed::new("expected a whole number"))
            }
            fn read(value: &Value) -> Result<Self, Malformed> {
                let number = value.as_integer().and_then(|number| Self::try_from(number).ok());
                number.ok_or_else(|| Malformed::new("expected a whole number"))
            }
            fn show(&self) -> Value {
                i64::try_from(*self).unwrap_or(i64::MAX).into()
            }
        }
    )+};
}

number_settings!(u32, u64, usize);

impl Setting for bool {
    fn parse(text: &str) -> Result<Self, Malformed> {
        text.parse().map_err(|_| Malformed::new("expected true or false"))
    }
    fn read(value: &Value) -> Result<Self, Malformed> {
        value.as_bool().ok_or_else(|| Malformed::new("expected true or false"))
    }
    fn show(&self) -> Value {
        (*self).into()
    }
}

/// Implements [`Setting`] for a type with a text form (`FromStr`, `Display`), and says what is expected of the text.
macro_rules! text_setting {
    ($type:ty, $expected:literal) => {
        impl $crate::kernel::setting::Setting for $type {
            fn parse(text: &str) -> Result<Self, $crate::kernel::fault::Malformed> {
                text.parse().map_err(|_| $crate::kernel::fault::Malformed::new(concat!("expected ", $expected)))
            }
            fn read(value: &toml_edit::Value) -> Result<Self, $crate::kernel::fault::Malformed> {
                Self::parse($crate::kernel::setting::text_of(value)?)
            }
            fn show(&self) -> toml_edit::Value {
                self.to_string().into()
            }
        }
    };
}
pub(crate) use text_setting;

text_setting!(String, "a text");
text_setting!(super::secret::SecretText, "a text");
text_setting!(SocketAddr, "an address with a port such as 127.0.0.1:8080");

/// The text in a value of the configuration file.
pub(crate) fn text_of(value: &Value) -> Result<&str, Malformed> {
    value.as_str().ok_or_else(|| Malformed::new("expected a text in quotes"))
}

impl Setting for PathBuf {
    fn parse(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() { Err(Malformed::new("expected a path")) } else { Ok(text.into()) }
    }
    fn read(value: &Value) -> Result<Self, Malformed> {
        Self::parse(text_of(value)?)
    }
    fn show(&self) -> Value {
        self.display().to_string().into()
    }
}

/// A list; as text its members are separated by commas.
impl<T: Setting> Setting for Vec<T> {
    fn parse(text: &str) -> Result<Self, Malformed> {
        text.split(',').map(str::trim).filter(|member| !member.is_empty()).map(T::parse).collect()
    }
    fn read(value: &Value) -> Result<Self, Malformed> {
        let members = value.as_array().ok_or_else(|| Malformed::new("expected a list in brackets"))?;
        members.iter().map(T::read).collect()
    }
    fn show(&self) -> Value {
        Value::Array(self.iter().map(T::show).collect::<Array>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    settings! {
        /// For the tests below.
        struct Kitchen, checked by spoons_for_pots {
            /// How many pots.
            pots: u32 = 2, in 1..=9, alias "COOKING_POTS";
            /// Spoons by name.
            spoons: Vec<String> = vec!["big".into(), "small".into()];
        }
    }

    fn spoons_for_pots(kitchen: &Kitchen) -> Result<(), Malformed> {
        if kitchen.spoons.len() >= kitchen.pots as usize { Ok(()) } else { Err(Malformed::new("too few spoons")) }
    }

    #[test]
    fn a_field_is_its_key_default_rule_and_line() {
        let mut kitchen = Kitchen::default();
        let lines = kitchen.lines();
        assert_eq!(lines[0].key, "pots");
        assert_eq!(lines[0].about.trim(), "How many pots.");
        assert_eq!(lines[0].range.as_deref(), Some("1 to 9"));
        assert_eq!(lines[0].alias, Some("COOKING_POTS"));
        assert_eq!(lines[1].value.to_string(), r#"["big", "small"]"#);
        assert_eq!(lines[1].range, None);

        assert!(kitchen.set("pans", Given::Text("1")).is_none());
        assert_eq!(kitchen.set("pots", Given::Text("0")), Some(Err(Malformed::new("expected 1 to 9"))));
        assert_eq!(kitchen.set("pots", Given::Text("two")), Some(Err(Malformed::new("expected a whole number"))));
        assert_eq!(kitchen.pots, 2, "what is malformed changes nothing");
        assert_eq!(kitchen.set("pots", Given::Value(&Value::from(3))), Some(Ok(())));
        assert_eq!(kitchen.check(), Err(Malformed::new("too few spoons")));
        assert_eq!(kitchen.set("spoons", Given::Text("a, b,c")), Some(Ok(())));
        assert_eq!(kitchen.check(), Ok(()));
    }

    #[test]
    fn a_file_value_keeps_its_type() {
        assert!(u32::read(&Value::from("3")).is_err());
        assert!(u32::read(&Value::from(-1)).is_err());
        assert!(String::read(&Value::from(3)).is_err());
        assert!(Vec::<String>::read(&Value::from("a")).is_err());
        assert!(SocketAddr::parse("localhost").is_err());
        assert!(PathBuf::parse("").is_err());
    }
}
