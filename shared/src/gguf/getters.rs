//! Typed access to metadata.

use super::{Gguf, Value, ValueArray};
use crate::{Error, Result};

impl Gguf {
    /// A metadata value.
    ///
    /// # Errors
    /// [`Error::MissingKey`].
    pub fn value(&self, key: &str) -> Result<&Value> {
        self.metadata.get(key).ok_or_else(|| Error::MissingKey { key: key.into() })
    }

    /// A string.
    ///
    /// # Errors
    /// The key is missing or has another type; so for all getters below.
    pub fn str(&self, key: &str) -> Result<&str> {
        required(key, self.optional_str(key)?)
    }

    /// An integer of any width that fits `u32`.
    ///
    /// # Errors
    /// As [`Self::str`].
    pub fn u32(&self, key: &str) -> Result<u32> {
        required(key, self.optional_u32(key)?)
    }

    /// An integer of any width that fits `usize`.
    ///
    /// # Errors
    /// As [`Self::str`].
    pub fn usize(&self, key: &str) -> Result<usize> {
        required(key, self.optional_usize(key)?)
    }

    /// A float.
    ///
    /// # Errors
    /// As [`Self::str`].
    pub fn f32(&self, key: &str) -> Result<f32> {
        required(key, self.optional_f32(key)?)
    }

    /// A boolean.
    ///
    /// # Errors
    /// As [`Self::str`].
    pub fn bool(&self, key: &str) -> Result<bool> {
        required(key, self.optional_bool(key)?)
    }

    /// An array of strings.
    ///
    /// # Errors
    /// As [`Self::str`].
    pub fn strings(&self, key: &str) -> Result<&[String]> {
        match self.value(key)? {
            Value::Array(ValueArray::String(items)) => Ok(items),
            other => Err(key_type(key, "array of string", other)),
        }
    }

    /// A string, or `None` where the key is absent.
    ///
    /// # Errors
    /// Another type, so for all optional getters.
    pub fn optional_str(&self, key: &str) -> Result<Option<&str>> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(key_type(key, "string", other)),
        }
    }

    /// An integer that fits `u32`, or `None` where the key is absent.
    ///
    /// # Errors
    /// As [`Self::optional_str`].
    pub fn optional_u32(&self, key: &str) -> Result<Option<u32>> {
        self.convert(key, "u32", |value| value.as_u64()?.try_into().ok())
    }

    /// An integer that fits `usize`, or `None` where the key is absent.
    ///
    /// # Errors
    /// As [`Self::optional_str`].
    pub fn optional_usize(&self, key: &str) -> Result<Option<usize>> {
        self.convert(key, "an unsigned integer", |value| value.as_u64()?.try_into().ok())
    }

    /// A float, or `None` where the key is absent.
    ///
    /// # Errors
    /// As [`Self::optional_str`].
    pub fn optional_f32(&self, key: &str) -> Result<Option<f32>> {
        self.convert(key, "f32", Value::as_f32)
    }

    /// A boolean, or `None` where the key is absent.
    ///
    /// # Errors
    /// As [`Self::optional_str`].
    pub fn optional_bool(&self, key: &str) -> Result<Option<bool>> {
        self.convert(key, "bool", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    fn convert<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(key_type(key, expected, value)),
            },
        }
    }
}

fn required<T>(key: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::MissingKey { key: key.into() })
}

fn key_type(key: &str, expected: &'static str, found: &Value) -> Error {
    Error::KeyType { key: key.into(), expected, found: found.type_name() }
}
