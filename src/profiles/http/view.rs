//! A profile as it is shown to its owner.

use std::sync::Arc;

use actix_web::web::Bytes;
use serde_json::{Value, json};
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
    let body = Bytes::from(whole(user, &held.part).to_string());
    let prepared = Arc::new(Prepared { stamp, tag: tag_of(&body), body });
    held.shown.store(Some(Arc::clone(&prepared)));
    prepared
}

/// Everything of a profile.
pub(super) fn whole(user: &User, profile: &Profile) -> Value {
    let mut object = FIELDS.object(&profile.fields);
    object.insert("user_id".into(), user.id().to_string().into());
    let is_email_verified = user.account().is_some_and(Account::is_email_known);
    object.insert("verified".into(), json!({ "email": is_email_verified }));
    object.insert("created_at".into(), json!(profile.created_at));
    object.insert("updated_at".into(), json!(profile.updated_at));
    Value::Object(object)
}

/// The fields of a profile, as the document describes them.
pub(super) struct ProfileSchema;

impl PartialSchema for ProfileSchema {
    fn schema() -> RefOr<Schema> {
        described(FIELDS.schema())
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
