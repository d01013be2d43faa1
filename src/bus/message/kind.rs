//! The field `type` of a message.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A message that has a type name, which is also the title of its schema.
pub(crate) trait Named {
    /// `io.dfks.api.v1.get_request` and the like.
    const TYPE: &'static str;
}

/// The `type` field of the message `M`.
pub struct Kind<M>(PhantomData<fn() -> M>);

impl<M> Default for Kind<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}
impl<M> Clone for Kind<M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<M> Copy for Kind<M> {}
impl<M> PartialEq for Kind<M> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<M> Eq for Kind<M> {}
impl<M: Named> std::fmt::Debug for Kind<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(M::TYPE)
    }
}
impl<M: Named> Serialize for Kind<M> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(M::TYPE)
    }
}
impl<'de, M> Deserialize<'de> for Kind<M> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self::default())
    }
}
impl<M: Named> JsonSchema for Kind<M> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        M::TYPE.into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": M::TYPE })
    }
}
