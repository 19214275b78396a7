//! A profile as it is shown: to its owner, and to others.

use std::sync::Arc;

use actix_web::web::Bytes;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::accounts::model::Account;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::http::answer::tag_of;
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
    let body = Bytes::from(Value::Object(whole(user, &held.part)).to_string());
    let prepared = Arc::new(Prepared { stamp, tag: tag_of(&body), body });
    held.shown.store(Some(Arc::clone(&prepared)));
    prepared
}

/// Everything of a profile.
pub(super) fn whole(user: &User, profile: &Profile) -> Map<String, Value> {
    let mut object = FIELDS.object(&profile.fields);
    object.insert("user_id".into(), user.id().to_string().into());
    let avatar = user.profiles.find().and_then(|marks| marks.avatar);
    let url = avatar.map(|avatar| format!("/api/v1/users/{}/avatar/{avatar}", user.id()));
    object.insert("avatar_url".into(), json!(url));
    let verified = json!({
        "email": user.account().is_some_and(Account::is_email_known),
        "phone": profile.phone_verified_at.is_some(),
        "identity": profile.is_identity_verified(),
    });
    object.insert("verified".into(), verified);
    object.insert("created_at".into(), json!(profile.created_at));
    object.insert("updated_at".into(), json!(profile.updated_at));
    object
}

/// A profile, as the document describes it.
pub(super) struct ProfileSchema;

impl PartialSchema for ProfileSchema {
    fn schema() -> RefOr<Schema> {
        let mut schema = FIELDS.schema();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            let flags = json!({ "email": { "type": "boolean" }, "phone": { "type": "boolean" }, "identity": { "type": "boolean" } });
            properties.insert("user_id".into(), json!({ "type": "string" }));
            properties.insert("avatar_url".into(), json!({ "type": ["string", "null"] }));
            properties.insert("verified".into(), json!({ "type": "object", "properties": flags }));
            properties.insert("created_at".into(), json!({ "type": ["string", "null"], "format": "date-time" }));
            properties.insert("updated_at".into(), json!({ "type": ["string", "null"], "format": "date-time" }));
        }
        described(schema)
    }
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
