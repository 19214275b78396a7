//! Names and texts from a path or a query, read as a serde type: a struct by its fields, or the only one as itself.

use std::any::Any;
use std::borrow::Cow;
use std::num::{IntErrorKind, ParseIntError};

use serde::de::value::{Error, MapDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::plainly::{named, plainly};
use super::problem::Problem;
use crate::kernel::fault::FieldError;

/// The parameters of one request, in no particular order.
#[derive(Clone, Copy)]
pub(super) struct Parameters<'a>(pub(super) &'a [Pair<'a>]);

/// A name and its text; borrowed from the request where it stands there as it is.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

impl<'a> Parameters<'a> {
    /// Reads them as a `T`; a refusal names the parameter.
    pub(super) fn parse<T: for<'de> Deserialize<'de>>(self) -> Result<T, Problem> {
        T::deserialize(self).map_err(|error| self.explain::<T>(&error))
    }

    /// Says which parameter is wrong: read again, slowly, with the path.
    #[cold]
    fn explain<T: for<'de> Deserialize<'de>>(self, error: &Error) -> Problem {
        let again = serde_path_to_error::deserialize::<_, T>(self).err();
        let path = again.map_or_else(|| ".".to_owned(), |error| error.path().to_string());
        let mut complaint = complaint(&path, &error.to_string());
        if let ([(name, _)], true) = (self.0, complaint.field.is_empty()) {
            complaint.field = name.clone().into_owned();
        }
        Problem::complaining(complaint)
    }

    fn only(self) -> Result<Text<'a>, Error> {
        match self.0 {
            [(_, value)] => Ok(Text(value)),
            _ => Err(Error::custom("expected exactly one parameter")),
        }
    }
}

/// What serde complains about at `path`; the name of a field that is missing, or there twice, is in the message only.
pub(super) fn complaint(path: &str, message: &str) -> FieldError {
    let field = match (path, named(message)) {
        (".", Some(name)) => name.to_owned(),
        (path, Some(name)) => shortened(format!("{path}.{name}")),
        (".", None) => String::new(),
        (path, None) => shortened(path.to_owned()),
    };
    FieldError::new(field, shortened(plainly(message)))
}

/// A message may quote the input; this much of it is enough.
pub(super) fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(300) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// Hands each of these over to the only parameter.
macro_rules! by_the_only_one {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.only()?.$method(visitor)
        }
    )+};
}

impl<'de> Deserializer<'de> for Parameters<'_> {
    type Error = Error;

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(self.0.iter().map(|(name, value)| (&**name, Text(value)))))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    by_the_only_one! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
        deserialize_str deserialize_string deserialize_char deserialize_option
    }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct seq tuple tuple_struct identifier ignored_any }
}

/// One parameter's text, which may stand for a number, a flag or a unit variant.
struct Text<'a>(&'a str);

impl IntoDeserializer<'_, Error> for Text<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Parses the text first.
macro_rules! parsed {
    ($($method:ident $visit:ident $expected:literal;)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(error) => Err(unparsed(&error, concat!("expected ", $expected))),
            }
        }
    )+};
}

/// Says what was expected of a text; of a number that is none of its kind for its size alone, that.
fn unparsed(error: &dyn Any, expected: &str) -> Error {
    let number = error.downcast_ref::<ParseIntError>();
    let is_large = number.is_some_and(|error| *error.kind() == IntErrorKind::PosOverflow);
    if is_large { Error::custom(format_args!("is too large: {expected}")) } else { Error::custom(expected) }
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        StrDeserializer::<Error>::new(self.0).deserialize_enum(name, variants, visitor)
    }

    parsed! {
        deserialize_bool visit_bool "true or false";
        deserialize_i8 visit_i8 "a number from -128 to 127";
        deserialize_i16 visit_i16 "a whole number";
        deserialize_i32 visit_i32 "a whole number";
        deserialize_i64 visit_i64 "a whole number";
        deserialize_u8 visit_u8 "a number from 0 to 255";
        deserialize_u16 visit_u16 "a whole number, not negative";
        deserialize_u32 visit_u32 "a whole number, not negative";
        deserialize_u64 visit_u64 "a whole number, not negative";
        deserialize_f32 visit_f32 "a number";
        deserialize_f64 visit_f64 "a number";
        deserialize_char visit_char "one character";
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::kernel::ids::UserId;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Order {
        NewestFirst,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Listing {
        limit: Option<usize>,
        #[serde(default)]
        all: bool,
        order: Option<Order>,
        user: UserId,
    }

    const USER: &str = "user_01h455vb4pex5vsknk084sn02q";

    fn pairs<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<Pair<'a>> {
        pairs.iter().map(|(name, value)| (Cow::from(*name), Cow::from(*value))).collect()
    }

    fn parse<T: for<'de> Deserialize<'de>>(given: &[(&str, &str)]) -> Result<T, Problem> {
        Parameters(&pairs(given)).parse()
    }

    fn check(given: &[(&str, &str)], named: &str) {
        let problem = parse::<Listing>(given).unwrap_err();
        assert!(format!("{problem:?}").contains(&format!("field: {named:?}")), "{given:?}: {problem:?}");
    }

    #[test]
    fn a_struct_is_read_by_its_fields() {
        let given = [("limit", "7"), ("all", "true"), ("order", "newest_first"), ("user", USER)];
        let user = UserId::parse(USER).unwrap();
        let expected = Listing { limit: Some(7), all: true, order: Some(Order::NewestFirst), user };
        assert_eq!(parse::<Listing>(&given).unwrap(), expected);
    }

    #[test]
    fn the_only_parameter_is_read_as_itself() {
        assert_eq!(parse::<UserId>(&[("user_id", USER)]).unwrap(), UserId::parse(USER).unwrap());
        assert_eq!(parse::<u64>(&[("n", "12")]).unwrap(), 12);
        assert!(parse::<u64>(&[("a", "1"), ("b", "2")]).is_err());
    }

    #[test]
    fn a_refusal_names_the_parameter() {
        check(&[("limit", "many"), ("user", USER)], "limit");
        check(&[("all", "yes"), ("user", USER)], "all");
        check(&[("order", "oldest"), ("user", USER)], "order");
        check(&[("user", "nobody")], "user");
        check(&[("limit", "7")], "user");
        check(&[("user", USER), ("colour", "red")], "colour");
        let problem = parse::<UserId>(&[("user_id", "x")]).unwrap_err();
        assert!(format!("{problem:?}").contains("field: \"user_id\""), "{problem:?}");
    }
}
