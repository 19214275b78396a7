//! A profile as it is shown: to its owner, and to others.

use std::fmt::Display;
use std::sync::Arc;

use actix_web::web::Bytes;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::accounts::model::Account;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::http::answer::tag_of;
use crate::kernel::clock::Timestamp;
use crate::profiles::desk::Prepared;
use crate::profiles::fields::FIELDS;
use crate::profiles::model::Profile;
use crate::user::User;

/// The profile as its owner sees it, made anew only if something of it is another.
pub(super) fn shown(user: &User, held: &Held<Profile, Prepared>) -> Arc<Prepared> {
    let stamp = user.account().map_or(0, |account| account.version);
    if let Some(prepared) = held.shown.load_full().filter(|prepared| prepared.stamp == stamp) {
        return prepared;
    }
    let body = Bytes::from(text(user, &held.part));
    let prepared = Arc::new(Prepared { stamp, tag: tag_of(&body), body });
    held.shown.store(Some(Arc::clone(&prepared)));
    prepared
}

/// Everything of a profile.
pub(super) fn whole(user: &User, profile: &Profile) -> Map<String, Value> {
    serde_json::from_str(&text(user, profile)).unwrap_or_else(|error| {
        // Then nothing is shown.
        tracing::error!(user = %user.id(), %error, "a profile is no JSON");
        Map::new()
    })
}

/// The JSON of everything of a profile.
fn text(user: &User, profile: &Profile) -> String {
    let quoted = |text: &dyn Display| format!("\"{text}\"");
    let time = |at: Option<Timestamp>| at.map_or_else(|| "null".to_owned(), |at| quoted(&at));
    let id = user.id();
    let avatar = user.profiles.find().and_then(|marks| marks.avatar);
    let url = avatar.map(|avatar| format!("\"/api/v1/users/{id}/avatar/{avatar}\""));
    let verified = format!(
        r#"{{"email":{},"phone":{},"identity":{}}}"#,
        user.account().is_some_and(Account::is_email_known),
        profile.phone_verified_at.is_some(),
        profile.is_identity_verified(),
    );
    let more = [
        ("user_id", &*quoted(&id)),
        ("avatar_url", url.as_deref().unwrap_or("null")),
        ("verified", &verified),
        ("created_at", &time(profile.created_at)),
        ("updated_at", &time(profile.updated_at)),
    ];
    FIELDS.text(&profile.fields, &more)
}

/// A profile, as the document describes it.
pub(super) struct ProfileSchema;

impl PartialSchema for ProfileSchema {
    fn schema() -> RefOr<Schema> {
        described(schema(&[]))
    }
}

/// A profile as others see it: absent is what they may not see.
pub(super) struct SeenSchema;

impl PartialSchema for SeenSchema {
    fn schema() -> RefOr<Schema> {
        let about = "What was found out about who they are: for whoever may read users.";
        let identity = json!({ "$ref": "#/components/schemas/Identity", "description": about, "readOnly": true });
        described(schema(&[("identity", identity)]))
    }
}

impl ToSchema for SeenSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "SeenProfile".into()
    }
}

/// The JSON Schema of a profile, with more properties. What its owner does not tell is read only.
fn schema(more: &[(&str, Value)]) -> Value {
    let mut schema = FIELDS.schema();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let flags = json!({ "email": { "type": "boolean" }, "phone": { "type": "boolean" }, "identity": { "type": "boolean" } });
        let time = json!({ "type": ["string", "null"], "format": "date-time", "readOnly": true });
        properties.insert("user_id".into(), json!({ "type": "string", "readOnly": true }));
        properties.insert("avatar_url".into(), json!({ "type": ["string", "null"], "readOnly": true }));
        properties.insert("verified".into(), json!({ "type": "object", "properties": flags, "readOnly": true }));
        properties.insert("created_at".into(), time.clone());
        properties.insert("updated_at".into(), time);
        properties.extend(more.iter().map(|(name, property)| ((*name).to_owned(), property.clone())));
    }
    schema
}

impl ToSchema for ProfileSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "Profile".into()
    }
}

/// A JSON Schema as the document's own type.
pub(super) fn described(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).unwrap_or_else(|_| Schema::default().into())
}
