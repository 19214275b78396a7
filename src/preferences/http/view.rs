//! Preferences as they are shown.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::web::Bytes;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::actor::command::WriteError;
use crate::http::answer::tag_of;
use crate::http::{Call, State};
use crate::kernel::clock::Timestamp;
use crate::kernel::sheet::Sheet;
use crate::preferences::book::{PreferenceBook, Registered};
use crate::preferences::desk::Shown;
use crate::preferences::error::PreferenceError;
use crate::preferences::fields::{FIELDS, SECTIONS};
use crate::preferences::layers::{self, Effective, RoleLayer};
use crate::preferences::model::{CUSTOM, DIALECT, Preferences};
use crate::user::User;

/// The roles' defaults that count for somebody now.
pub(super) fn role_layers(state: &State, user: &User, book: &PreferenceBook, now: Timestamp) -> Vec<RoleLayer> {
    if book.has_no_roles() { Vec::new() } else { layers::of_roles(user, &state.book.load(), book, now) }
}

/// Everything that counts for somebody, if it was made and nothing of it is another.
pub(super) fn find_shown(call: &Call, user: &User, held: &Held<Preferences, Shown>) -> Option<Arc<Shown>> {
    let book = call.state.preferences.book.load();
    let roles = role_layers(&call.state, user, &book, call.now);
    let is_same =
        |shown: &Arc<Shown>| shown.book == book.version() && shown.roles.iter().eq(roles.iter().map(|(id, _)| id));
    held.shown.load_full().filter(is_same)
}

/// Everything that counts for somebody, made anew only if something of it is another.
pub(super) async fn shown(
    call: &Call,
    user: &User,
    held: &Held<Preferences, Shown>,
) -> Result<Arc<Shown>, WriteError<PreferenceError>> {
    if let Some(shown) = find_shown(call, user, held) {
        return Ok(shown);
    }
    let book = call.state.preferences.book.load_full();
    let roles = role_layers(&call.state, user, &book, call.now);
    let (effective, unfit) = call.state.preferences.counting(held, &roles, &book).await?;
    let object = object(&effective.values, &book, held.part.updated_at);
    let body = |value: &Value| {
        let body = Bytes::from(value.to_string());
        let tag = tag_of(&body);
        (body, tag)
    };
    let sections = SECTIONS.map(|section| body(object.get(section).unwrap_or(&Value::Null)));
    let [theme, notifications, locale, accessibility, privacy] = sections;
    let whole = body(&Value::Object(object));
    let shown = Arc::new(Shown {
        book: book.version(),
        roles: roles.iter().map(|(id, _)| *id).collect(),
        unfit,
        bodies: [whole, theme, notifications, locale, accessibility, privacy],
    });
    held.shown.store(Some(Arc::clone(&shown)));
    Ok(shown)
}

/// The values by section, and by namespace.
fn object(values: &Sheet, book: &PreferenceBook, updated_at: Option<Timestamp>) -> Map<String, Value> {
    let mut object = FIELDS.object(values);
    let namespaces = book.namespaces().map(|registered| &registered.namespace.name);
    let custom: Map<String, Value> =
        namespaces.filter_map(|name| Some((name.to_string(), values.value(&format!("{CUSTOM}.{name}"))?))).collect();
    object.insert(CUSTOM.into(), Value::Object(custom));
    object.insert("updated_at".into(), json!(updated_at));
    object
}

/// The same with the origin of every value, by path.
pub(super) fn with_origins(effective: &Effective, book: &PreferenceBook, updated_at: Option<Timestamp>) -> Value {
    let mut object = object(&effective.values, book, updated_at);
    object.insert("origin".into(), json!(effective.origins));
    Value::Object(object)
}

/// A section of the same, by path within it.
pub(super) fn section_with_origins(effective: &Effective, section: &str) -> Value {
    let mut object = FIELDS.object(&effective.values);
    let mut values = object.remove(section).unwrap_or_default();
    let within = |path: &str| path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')).map(str::to_owned);
    let origins: Map<String, Value> =
        effective.origins.iter().filter_map(|(path, origin)| Some((within(path)?, json!(origin)))).collect();
    if let Value::Object(values) = &mut values {
        values.insert("origin".into(), Value::Object(origins));
    }
    values
}

/// The JSON Schema of everything, with the namespaces that there are.
pub(super) fn schema(book: &PreferenceBook) -> Value {
    let namespaces: Map<String, Value> =
        book.namespaces().map(|one| (one.namespace.name.to_string(), resource(one))).collect();
    let custom = json!({ "type": ["object", "null"], "properties": namespaces, "additionalProperties": false });
    let mut schema = schema_with(custom);
    if let Value::Object(root) = &mut schema {
        root.insert("$schema".into(), DIALECT.into());
    }
    schema
}

/// A namespace's schema within another: a resource of its own (JSON Schema 2020-12, section 9.3.1), to whose root its
/// references lead. Any name it had itself is not needed for that, and might be another's too.
fn resource(registered: &Registered) -> Value {
    let mut schema = registered.schema();
    if let Value::Object(keywords) = &mut schema {
        keywords.remove("$schema");
        keywords.insert("$id".into(), format!("/api/v1/preferences/namespaces/{}", registered.namespace.name).into());
    }
    schema
}

/// The schema of everything that is shown.
fn schema_with(custom: Value) -> Value {
    let mut schema = FIELDS.schema();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert(CUSTOM.into(), custom);
        let updated_at = json!({ "type": ["string", "null"], "format": "date-time", "readOnly": true });
        properties.insert("updated_at".into(), updated_at);
    }
    schema
}

/// A JSON Schema as the document's own type.
fn described(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).unwrap_or_else(|_| Schema::default().into())
}

/// Declares what the document says of a section, or of everything.
macro_rules! described {
    ($($(#[$doc:meta])* $type:ident = $name:literal, $schema:expr;)+) => {$(
        $(#[$doc])*
        pub(super) struct $type;

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                described($schema)
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    )+};
}

described! {
    /// Everything.
    Whole = "Preferences", whole_schema();
    /// How things look.
    Theme = "ThemePreferences", section_schema("theme");
    /// What is told, and how.
    Notifications = "NotificationPreferences", section_schema("notifications");
    /// Language, zone, forms.
    LocaleSection = "LocalePreferences", section_schema("locale");
    /// What helps.
    Accessibility = "AccessibilityPreferences", section_schema("accessibility");
    /// What others see.
    Privacy = "PrivacyPreferences", section_schema("privacy");
}

fn whole_schema() -> Value {
    schema_with(json!({ "type": ["object", "null"] }))
}

fn section_schema(section: &str) -> Value {
    let mut schema = FIELDS.schema();
    schema.get_mut("properties").and_then(|it| it.as_object_mut()?.remove(section)).unwrap_or_default()
}
