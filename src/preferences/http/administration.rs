//! What stands where nobody chose, and the namespaces of applications: for administrators.

use std::sync::Arc;

use actix_web::http::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::wanted::{self, MOST_BYTES};
use crate::access::product::ProductPermission;
use crate::actor::command::WriteError;
use crate::http::answer::tag_of;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Json, Path, Problem, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::RoleId;
use crate::kernel::members::{Object, named};
use crate::kernel::page::Page;
use crate::kernel::sheet::{Patch, Sheet};
use crate::kernel::text::Note;
use crate::preferences::book::{HeldLayer, Registered, THE_PREFERENCES};
use crate::preferences::book_commands::{ChangeDefaults, RemoveDefaults, RemoveNamespace, SetNamespace};
use crate::preferences::commands::Wanted;
use crate::preferences::error::PreferenceError;
use crate::preferences::fields::SECTIONS;
use crate::preferences::model::{CUSTOM, Layer, MOST_SCHEMA_BYTES, Namespace, is_namespace};

/// How often a write is prepared before somebody else's is at fault.
const MOST_TRIES: usize = 8;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    let write = Who::Holding(ProductPermission::PreferencesWrite);
    routes
        .get("/api/v1/preferences/defaults", write, async |call: Call| {
            Ok(Defaults::of(call.state.preferences.book.load().installation()).answer())
        })
        .about("Shows what the installation prefers where nobody chose")
        .answers::<Defaults>(200);
    routes
        .put("/api/v1/preferences/defaults", write, async |call: Call, Json(changes): Json<DefaultChanges>| {
            change(&call, None, changes).await
        })
        .takes_if_match()
        .about("Changes what it names of the installation's defaults; null clears")
        .body_limit_bytes(MOST_BYTES)
        .answers::<Defaults>(200);
    routes
        .get("/api/v1/roles/{role_id}/preferences", write, show_role)
        .about("Shows what holders of a role prefer where they chose nothing")
        .answers::<Defaults>(200);
    routes
        .put(
            "/api/v1/roles/{role_id}/preferences",
            write,
            async |call: Call, Path(id): Path<RoleId>, Json(changes): Json<DefaultChanges>| {
                call.state.book.load().role(id).ok_or(PreferenceError::MissingRole)?;
                change(&call, Some(id), changes).await
            },
        )
        .takes_if_match()
        .about("Changes what it names of a role's defaults; null clears")
        .body_limit_bytes(MOST_BYTES)
        .answers::<Defaults>(200);
    routes
        .delete("/api/v1/roles/{role_id}/preferences", write, remove_role)
        .takes_if_match()
        .about("Removes a role's defaults, also of a role that is gone")
        .answers_with(204);
    namespace_routes(routes);
}

fn namespace_routes(routes: &mut Routes) {
    let write = Who::Holding(ProductPermission::PreferencesWrite);
    routes
        .get("/api/v1/preferences/namespaces", write, list)
        .about("Lists the namespaces of applications")
        .answers::<Page<NamespaceView>>(200);
    routes
        .put("/api/v1/preferences/namespaces/{namespace}", write, set)
        .takes_if_match()
        .takes_if_none_match()
        .about("Registers a namespace with the JSON Schema of its values")
        .body_limit_bytes(4 * MOST_SCHEMA_BYTES)
        .answers::<NamespaceView>(200);
    routes
        .get("/api/v1/preferences/namespaces/{namespace}", write, show_namespace)
        .about("Shows a namespace")
        .answers::<NamespaceView>(200);
    routes
        .delete("/api/v1/preferences/namespaces/{namespace}", write, remove)
        .takes_if_match()
        .about(
            "Removes a namespace; what people and defaults have in it is not shown any more, and makes room when it is needed",
        )
        .answers_with(204);
}

/// What to change of defaults.
#[expect(clippy::option_option, reason = "absent leaves a thing as it is, null clears it")]
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DefaultChanges {
    /// Sections of preferences, and `custom` with an object for each namespace, which fits its schema; null clears, one or all.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<Object>)]
    values: Option<Option<Object>>,
    /// Of a role: which of several roles counts, the greatest; null is 0.
    #[serde(default, deserialize_with = "named")]
    priority: Option<Option<u32>>,
}

/// What stands where nobody chose.
#[derive(Serialize, ToSchema)]
#[schema(as = PreferenceDefaults)]
struct Defaults {
    /// Sections of preferences, and `custom`; what is not there has no default here. Values of a namespace that is gone, or
    /// whose schema they do not fit any more, are kept, and count for nobody meanwhile.
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    priority: u32,
    /// Null: they were never changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
}

impl Defaults {
    fn of(layer: &Layer) -> Self {
        let updated_at = (layer.updated_at != Timestamp::default()).then_some(layer.updated_at);
        Self { values: layer.values.object(), priority: layer.priority, updated_at }
    }

    fn answer(&self) -> Answer {
        Answer::ok(self).with_tag(tag(self))
    }
}

/// A namespace to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewNamespace {
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    /// A JSON Schema (2020-12) of an object, at most 16 KiB.
    #[schema(value_type = Object)]
    schema: Object,
}

/// A namespace.
#[derive(Serialize, ToSchema)]
struct NamespaceView {
    name: String,
    description: Option<String>,
    #[schema(value_type = Object)]
    schema: Value,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl NamespaceView {
    fn of(registered: &Registered) -> Self {
        let namespace = &registered.namespace;
        Self {
            name: namespace.name.to_string(),
            description: namespace.description.as_deref().map(str::to_owned),
            schema: registered.schema(),
            updated_at: namespace.updated_at,
        }
    }

    fn answer(&self) -> Answer {
        Answer::ok(self).with_tag(tag(self))
    }
}

/// The tag of what is shown.
fn tag(view: &impl Serialize) -> HeaderValue {
    tag_of(json!(view).to_string().as_bytes())
}

/// The defaults that there are.
fn held_layer(call: &Call, role: Option<RoleId>) -> Arc<HeldLayer> {
    let book = call.state.preferences.book.load();
    role.map_or_else(|| Some(book.installation()), |role| book.role(role)).map(Arc::clone).unwrap_or_default()
}

/// The defaults that a write is demanded to be carried out on.
fn demanded_layer(call: &Call, role: Option<RoleId>) -> Result<Option<Arc<HeldLayer>>, Problem> {
    call.demanded(Some(held_layer(call, role)), |layer| tag(&Defaults::of(layer)))
}

/// The namespace that a write is demanded to be carried out on.
fn demanded_namespace(call: &Call, name: &str) -> Result<Option<Namespace>, Problem> {
    let seen = call.state.preferences.book.load().namespace(name).map(Arc::clone);
    let demanded = call.demanded(seen, |registered| tag(&NamespaceView::of(registered)))?;
    Ok(demanded.map(|registered| registered.namespace.clone()))
}

/// Refuses roles that there are not, unless defaults of one are left: those can be looked at and removed.
fn refuse_unknown(call: &Call, role: RoleId) -> Result<(), PreferenceError> {
    let is_known =
        call.state.book.load().role(role).is_some() || call.state.preferences.book.load().role(role).is_some();
    if is_known { Ok(()) } else { Err(PreferenceError::MissingRole) }
}

async fn show_role(call: Call, Path(id): Path<RoleId>) -> Outcome {
    refuse_unknown(&call, id)?;
    Ok(Defaults::of(&held_layer(&call, Some(id))).answer())
}

/// Refuses what is wrong with the values, by their place in the request.
fn refused(wrong: Vec<FieldError>) -> Problem {
    let within = |wrong: FieldError| FieldError::new(format!("values.{}", wrong.field), wrong.message);
    Problem::invalid(wrong.into_iter().map(within).collect())
}

async fn change(call: &Call, role: Option<RoleId>, changes: DefaultChanges) -> Outcome {
    let wanted = match changes.values {
        None => Wanted::default(),
        Some(None) => Wanted { patch: Patch::clearing(SECTIONS.into_iter().chain([CUSTOM])), ..Wanted::default() },
        Some(Some(Object(given))) => wanted::read(call, given).map_err(refused)?,
    };
    let wanted = Arc::new(wanted);
    if role.is_none() && changes.priority.is_some() {
        let wrong = FieldError::new("priority", "only roles have a priority");
        return Err(Problem::invalid(vec![wrong]));
    }
    let priority = changes.priority.map(Option::unwrap_or_default);
    let _turn = call.state.preferences.changing.lock().await;
    for _ in 0..MOST_TRIES {
        let base = held_layer(call, role);
        call.demanded(Some(&base), |base| tag(&Defaults::of(base)))?;
        // Layers are changed by what is in them, not by what counts.
        let applied = call.state.preferences.applied(&wanted, &base, Sheet::default()).await;
        let values = applied.map_err(|error| match error {
            WriteError::Refused(PreferenceError::Invalid(wrong)) => refused(wrong),
            error => error.into(),
        })?;
        let command = ChangeDefaults { role, base, values, priority };
        match call.state.preferences.books.send(THE_PREFERENCES, command, call.facts()).await {
            // They were removed meanwhile.
            Err(WriteError::Refused(PreferenceError::Moved)) => {}
            done => {
                let done = done?;
                return Ok(Defaults::of(&done.reply).answer().with_revision(done.revision));
            }
        }
    }
    Err(WriteError::<PreferenceError>::Busy.into())
}

async fn remove_role(call: Call, Path(id): Path<RoleId>) -> Outcome {
    refuse_unknown(&call, id)?;
    let command = RemoveDefaults { role: id, seen: demanded_layer(&call, Some(id))?.map(|seen| Layer::clone(&seen)) };
    let done = call.state.preferences.books.send(THE_PREFERENCES, command, call.facts()).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn list(call: Call) -> Outcome {
    let book = call.state.preferences.book.load();
    Ok(Answer::ok(&Page::whole(book.namespaces().map(|one| NamespaceView::of(one)).collect())))
}

async fn show_namespace(call: Call, Path(name): Path<String>) -> Outcome {
    let book = call.state.preferences.book.load();
    let registered = book.namespace(&name).ok_or(PreferenceError::MissingNamespace)?;
    Ok(NamespaceView::of(registered).answer())
}

async fn set(call: Call, Path(name): Path<String>, Json(new): Json<NewNamespace>) -> Outcome {
    let wrong = |field: &str, message: String| Problem::invalid(vec![FieldError::new(field, message)]);
    if !is_namespace(&name) {
        return Err(wrong("namespace", "expected 1 to 64 of a-z, 0-9, _ and -".into()));
    }
    let (seen, is_new) = (demanded_namespace(&call, &name)?, call.demands_absence()?);
    let schema = Value::Object(new.schema.0).to_string();
    if schema.len() > MOST_SCHEMA_BYTES {
        return Err(wrong("schema", format!("expected at most {MOST_SCHEMA_BYTES} bytes of JSON")));
    }
    let namespace = Namespace {
        name: name.into(),
        description: new.description.map(|note| note.as_str().into()),
        schema: schema.into(),
        updated_at: call.now,
    };
    // Making a schema ready takes a while: not on a worker.
    let made = call.state.loader.run(move || Registered::new(namespace)).await?;
    let registered = made.map_err(|error| wrong("schema", error.0))?;
    let command = SetNamespace { registered: Arc::new(registered), seen, is_new };
    let done = call.state.preferences.books.send(THE_PREFERENCES, command, call.facts()).await?;
    Ok(NamespaceView::of(&done.reply).answer().with_revision(done.revision))
}

async fn remove(call: Call, Path(name): Path<String>) -> Outcome {
    let seen = demanded_namespace(&call, &name)?;
    let command = RemoveNamespace { name: name.into(), seen };
    let done = call.state.preferences.books.send(THE_PREFERENCES, command, call.facts()).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}
