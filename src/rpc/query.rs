//! Options from a query string, read as Kubo reads them: the words of Go's `strconv`, a scalar given
//! once, unknown names ignored.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::fmt;
use std::str::FromStr;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Why an option was not understood.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl de::Error for Unreadable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Options of a type from the pairs of a query.
///
/// # Errors
/// Names the option and the value that is not of its type.
pub fn options<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T, Unreadable> {
    let mut given: Vec<(&str, Given<'_>)> = Vec::new();
    for (name, value) in pairs {
        match given.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.values.push(value),
            None => given.push((name, Given { name, values: vec![value] })),
        }
    }
    T::deserialize(MapDeserializer::new(given.into_iter()))
}

/// Every value of one name.
struct Given<'a> {
    name: &'a str,
    values: Vec<&'a str>,
}

impl Given<'_> {
    fn only(&self) -> Result<&str, Unreadable> {
        match self.values.as_slice() {
            [value] => Ok(value),
            more => Err(Unreadable(format!(
                "expected key {} to have only a single value, received {more:?}",
                self.name
            ))),
        }
    }

    fn number<N: FromStr>(&self, kind: &str) -> Result<N, Unreadable> {
        let value = self.only()?;
        value.parse().map_err(|_| self.unlike(value, kind))
    }

    fn unlike(&self, value: &str, kind: &str) -> Unreadable {
        let name = self.name;
        let given = match value.is_empty() {
            true => "empty value".to_owned(),
            false => format!("value {value:?}"),
        };
        Unreadable(format!("could not convert {given} to type {kind:?} (for option \"-{name}\")"))
    }
}

impl<'de> IntoDeserializer<'de, Unreadable> for Given<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $kind:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
            visitor.$visit(self.number($kind)?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Given<'_> {
    type Error = Unreadable;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_str(self.only()?)
    }

    /// A name without a value is a yes.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let value = self.only()?;
        match value.to_ascii_lowercase().as_str() {
            "" | "1" | "t" | "true" => visitor.visit_bool(true),
            "0" | "f" | "false" => visitor.visit_bool(false),
            _ => Err(self.unlike(value, "bool")),
        }
    }

    numbers! {
        deserialize_u8 visit_u8 "uint";
        deserialize_u16 visit_u16 "uint";
        deserialize_u32 visit_u32 "uint";
        deserialize_u64 visit_u64 "uint64";
        deserialize_i8 visit_i8 "int";
        deserialize_i16 visit_i16 "int";
        deserialize_i32 visit_i32 "int";
        deserialize_i64 visit_i64 "int64";
        deserialize_f32 visit_f32 "float64";
        deserialize_f64 visit_f64 "float64";
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_enum(self.only()?.into_deserializer())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_seq(SeqDeserializer::new(self.values.into_iter()))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "kebab-case")]
    struct Sample {
        #[serde(alias = "s")]
        stream: bool,
        raw_leaves: Option<bool>,
        length: Option<u64>,
        name: Option<String>,
        many: Vec<String>,
    }

    fn read(query: &str) -> Result<Sample, String> {
        let pairs: Vec<(String, String)> = serde_html_form::from_str(query).unwrap();
        options(&pairs).map_err(|e| e.to_string())
    }

    #[test]
    fn booleans_are_go_s() {
        for yes in ["stream", "stream=", "stream=1", "stream=t", "s=TRUE", "stream=true"] {
            assert!(read(yes).unwrap().stream, "{yes}");
        }
        for no in ["stream=0", "s=F", "stream=False", ""] {
            assert!(!read(no).unwrap().stream, "{no}");
        }
        assert_eq!(read("raw-leaves=0").unwrap().raw_leaves, Some(false));
        let refused = "could not convert value \"yes\" to type \"bool\" (for option \"-stream\")";
        assert_eq!(read("stream=yes").unwrap_err(), refused);
    }

    #[test]
    fn scalars_come_once_and_the_unknown_is_ignored() {
        let sample = read("arg=a&arg=b&x=1&x=2&length=7&name=n%20m&many=a&many=b").unwrap();
        assert_eq!((sample.length, sample.name.as_deref()), (Some(7), Some("n m")));
        assert_eq!(sample.many, ["a", "b"]);
        let twice = "expected key length to have only a single value, received [\"1\", \"2\"]";
        assert_eq!(read("length=1&length=2").unwrap_err(), twice);
        assert!(read("stream=1&s=1").unwrap_err().contains("duplicate"));
        let empty = "could not convert empty value to type \"uint64\" (for option \"-length\")";
        assert_eq!(read("length=").unwrap_err(), empty);
        assert!(read("length=-1").unwrap_err().contains("(for option \"-length\")"));
    }
}
