//! One's own preferences.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderValue, VARY};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::view::{self, Accessibility, LocaleSection, Notifications, Privacy, Theme, Whole, find_shown, shown};
use super::wanted::{self, MOST_BYTES, MOST_SECTION_BYTES};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::actor::command::WriteError;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Caller, Json, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::ChangeId;
use crate::kernel::members::Object;
use crate::kernel::sheet::{Patch, Sheet, is_below};
use crate::preferences::book::PreferenceBook;
use crate::preferences::commands::{ChangePreferences, Wanted};
use crate::preferences::desk::Shown;
use crate::preferences::error::PreferenceError;
use crate::preferences::fields::{FIELDS, SECTIONS};
use crate::preferences::layers::{Effective, Source};
use crate::preferences::model::{CUSTOM, MOST_NAMESPACES, Preferences, is_namespace, namespace_of};
use crate::preferences::negotiation::{LanguageSource, Spoken, negotiate};
use crate::preferences::quiet::QuietHours;
use crate::user::User;

/// Everything, as a place among what is shown.
const EVERYTHING: usize = 0;
/// Every section and every namespace, each once.
const MOST_SECTIONS: usize = SECTIONS.len() + 1 + MOST_NAMESPACES;
/// The most languages that an application may say it speaks.
const MOST_SPOKEN: usize = 200;
/// What the audit log calls a change.
const CHANGED: &str = "preferences.changed";

/// Registers the routes of a section.
macro_rules! section {
    ($routes:ident, $index:literal, $path:literal, $schema:ty, $about:literal) => {
        $routes
            .get($path, Who::SignedIn, async |call: Call, Query(query): Query<ShowQuery>| {
                show(&call, &query, $index).await
            })
            .about(concat!("Shows ", $about))
            .answers::<$schema>(200);
        $routes
            .put($path, Who::SignedIn, async |call: Call, Json(Changes { given, .. }): Json<Changes<$schema>>| {
                let section = SECTIONS.get($index - 1).copied().unwrap_or_default();
                let patch = FIELDS.read_below(section, &given.0).map_err(Problem::invalid)?;
                write(&call, Wanted { patch, custom: BTreeMap::new() }, $index, CHANGED).await
            })
            .takes_if_match()
            .about(concat!("Changes what it names of ", $about, "; null goes back to the default"))
            .body_limit_bytes(MOST_SECTION_BYTES)
            .answers::<$schema>(200);
    };
}

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/users/preferences", Who::SignedIn, async |call: Call, Query(query): Query<ShowQuery>| {
            show(&call, &query, EVERYTHING).await
        })
        .about("Shows your preferences, with the defaults where you chose nothing")
        .asked_often()
        .answers::<Whole>(200);
    routes
        .put("/api/v1/users/preferences", Who::SignedIn, change_all)
        .takes_if_match()
        .about(
            "Changes what it names of your preferences; null goes back to the default. What you see of a namespace and it does \
             not name stays, and is your own from then on",
        )
        .body_limit_bytes(MOST_BYTES)
        .answers::<Whole>(200);
    section!(routes, 1, "/api/v1/users/preferences/theme", Theme, "how things look for you");
    section!(routes, 2, "/api/v1/users/preferences/notifications", Notifications, "what you are told, and how");
    section!(routes, 3, "/api/v1/users/preferences/locale", LocaleSection, "your language, zone and forms");
    section!(routes, 4, "/api/v1/users/preferences/accessibility", Accessibility, "what helps you");
    section!(routes, 5, "/api/v1/users/preferences/privacy", Privacy, "what others see of you");
    routes
        .post("/api/v1/users/preferences/reset", Who::SignedIn, reset)
        .takes_if_match()
        .about("Goes back to the defaults, of everything or of the sections it names")
        .body_limit_bytes(MOST_SECTION_BYTES)
        .answers::<Whole>(200);
    routes
        .get("/api/v1/users/preferences/schema", Who::SignedIn, async |call: Call| {
            Ok(Answer::ok(&view::schema(&call.state.preferences.book.load())))
        })
        .about("Shows the JSON Schema of preferences, with the namespaces that there are")
        .answers_as(200, "application/json");
    routes
        .get("/api/v1/users/preferences/effective-locale", Who::SignedIn, effective_locale)
        .about("Shows which language to speak with you: your choice, else what your browser asks for, else the default")
        .answers::<EffectiveLocale>(200);
    routes
        .get("/api/v1/users/preferences/quiet-hours", Who::SignedIn, quiet_hours)
        .about("Shows whether it is quiet for you now, in your own zone, and until when")
        .answers::<QuietView>(200);
}

/// What to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ShowQuery {
    /// Also where each value comes from.
    #[serde(default)]
    origin: bool,
}

/// What to change of what `S` shows: members that are absent stay as they are, null goes back to the default.
#[derive(Deserialize)]
#[serde(transparent, bound(deserialize = ""))]
struct Changes<S> {
    given: Object,
    #[serde(skip)]
    of: PhantomData<fn() -> S>,
}

impl<S: ToSchema> PartialSchema for Changes<S> {
    fn schema() -> RefOr<Schema> {
        S::schema()
    }
}

impl<S: ToSchema> ToSchema for Changes<S> {
    fn name() -> std::borrow::Cow<'static, str> {
        "PreferenceChanges".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        S::schemas(schemas);
    }
}

/// What to go back on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PreferenceReset)]
struct Reset {
    /// The sections, `custom` among them, or `custom.<namespace>`. Absent or null: everything; an empty list: nothing.
    sections: Option<Vec<String>>,
}

/// Which languages the application speaks.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LocaleQuery {
    /// The languages that the application speaks, separated by commas; none: all.
    supported: Option<String>,
}

/// How to speak with somebody.
#[derive(Serialize, ToSchema)]
struct EffectiveLocale {
    language: String,
    /// Where the language comes from.
    source: LanguageSource,
    timezone: Option<String>,
    date_format: Option<String>,
    time_format: Option<String>,
    first_day_of_week: Option<String>,
    number_format: Option<String>,
    currency: Option<String>,
}

/// Whether it is quiet.
#[derive(Serialize, ToSchema)]
struct QuietView {
    quiet: bool,
    /// When that changes; null: not within a week.
    #[schema(value_type = Option<String>, format = DateTime)]
    changes_at: Option<Timestamp>,
    timezone: Option<String>,
}

/// The person who calls.
pub(super) fn person(call: &Call) -> Result<&Arc<User>, Problem> {
    match &call.caller {
        Caller::Person(signed_in) => Ok(&signed_in.user),
        Caller::App(_) | Caller::Nobody => Err(PreferenceError::Missing.into()),
    }
}

async fn show(call: &Call, query: &ShowQuery, place: usize) -> Outcome {
    if query.origin {
        return show_origins(call, place).await;
    }
    let user = person(call)?;
    let kept = call.state.preferences.own.find(user);
    if let Some(shown) = kept.and_then(|held| find_shown(call, user, &held)) {
        return Ok(answer(&shown, place));
    }
    let (user, held) = call.state.preferences.own.load(user).await?;
    Ok(answer(&shown(call, &user, &held).await?, place))
}

/// What counts for somebody now, with where it comes from, by the newest book.
async fn counting(
    call: &Call,
    user: &User,
    held: &Held<Preferences, Shown>,
) -> Result<(Effective, Arc<PreferenceBook>), WriteError<PreferenceError>> {
    let book = call.state.preferences.book.load_full();
    let roles = view::role_layers(&call.state, user, &book, call.now);
    let (effective, _) = call.state.preferences.counting(held, &roles, &book).await?;
    Ok((effective, book))
}

async fn effective(call: &Call) -> Result<Effective, Problem> {
    let (user, held) = call.state.preferences.own.load(person(call)?).await?;
    Ok(counting(call, &user, &held).await?.0)
}

async fn show_origins(call: &Call, place: usize) -> Outcome {
    let (user, held) = call.state.preferences.own.load(person(call)?).await?;
    let (effective, book) = counting(call, &user, &held).await?;
    let section = place.checked_sub(1).and_then(|place| SECTIONS.get(place));
    Ok(Answer::ok(&match section {
        Some(section) => view::section_with_origins(&effective, section),
        None => view::with_origins(&effective, &book, held.part.updated_at),
    }))
}

async fn change_all(call: Call, Json(Changes { given, .. }): Json<Changes<Whole>>) -> Outcome {
    let wanted = wanted::read(&call, given.0).map_err(Problem::invalid)?;
    write(&call, wanted, EVERYTHING, CHANGED).await
}

/// Makes the caller's preferences what is wanted.
async fn write(call: &Call, wanted: Wanted, place: usize, action: &'static str) -> Outcome {
    let (session, change, wanted) = (call.session_id()?, ChangeId::generate(call.now), Arc::new(wanted));
    let prepare = async |user: &Arc<User>, held: &Arc<Held<Preferences, Shown>>| {
        refuse_stale(call, user, held, place).await?;
        let seen =
            if wanted.fills_namespaces() { counting(call, user, held).await?.0.values } else { Sheet::default() };
        let applied = call.state.preferences.applied(&wanted, &held.part, seen).await;
        let own = applied.map_err(|error| told_within(error, place))?;
        Ok(ChangePreferences { base: Arc::clone(&held.part), own, change, undoes: None, action, session })
    };
    let done = call.state.preferences.own.write_after(person(call)?.id(), &call.facts(), prepare).await?;
    let held = call.state.preferences.own.keep(done.after.id(), done.reply);
    Ok(answer(&shown(call, &done.after, &held).await?, place).with_revision(done.revision))
}

/// On a section's own route complaints name paths within it.
fn told_within(error: WriteError<PreferenceError>, place: usize) -> WriteError<PreferenceError> {
    let section = place.checked_sub(1).and_then(|place| SECTIONS.get(place));
    match (error, section) {
        (WriteError::Refused(PreferenceError::Invalid(mut wrong)), Some(section)) => {
            for complaint in wrong.iter_mut().filter(|complaint| is_below(&complaint.field, section)) {
                complaint.field.drain(..=section.len());
            }
            WriteError::Refused(PreferenceError::Invalid(wrong))
        }
        (error, _) => error,
    }
}

async fn reset(call: Call, Json(reset): Json<Reset>) -> Outcome {
    let everything = || SECTIONS.iter().map(|section| (*section).to_owned()).chain([CUSTOM.to_owned()]).collect();
    let mut sections: Vec<String> = reset.sections.unwrap_or_else(everything);
    if sections.len() > MOST_SECTIONS {
        let wrong = FieldError::new("sections", format!("expected at most {MOST_SECTIONS}"));
        return Err(Problem::invalid(vec![wrong]));
    }
    let is_section = |name: &String| {
        SECTIONS.contains(&name.as_str()) || name == CUSTOM || namespace_of(name).is_some_and(is_namespace)
    };
    if let Some(index) = sections.iter().position(|name| !is_section(name)) {
        let wrong = FieldError::new(format!("sections[{index}]"), "there is no such section");
        return Err(Problem::invalid(vec![wrong]));
    }
    sections.sort_unstable();
    sections.dedup();
    let patch = Patch::clearing(sections);
    write(&call, Wanted { patch, custom: BTreeMap::new() }, EVERYTHING, "preferences.reset").await
}

/// Refuses a write whose `If-Match` names another version than there is.
async fn refuse_stale(
    call: &Call,
    user: &User,
    held: &Held<Preferences, Shown>,
    place: usize,
) -> Result<(), WriteError<PreferenceError>> {
    let shown = shown(call, user, held).await?;
    let is_met = shown.bodies.get(place).is_some_and(|(_, tag)| call.matches(tag));
    if is_met { Ok(()) } else { Err(WriteError::Refused(PreferenceError::Stale)) }
}

fn answer(shown: &Arc<Shown>, place: usize) -> Answer {
    let Some((body, tag)) = shown.bodies.get(place) else { return Answer::no_content() };
    Answer::bytes(HeaderValue::from_static("application/json"), body.clone()).with_tag(tag.clone())
}

async fn effective_locale(call: Call, Query(query): Query<LocaleQuery>) -> Outcome {
    let listed = query.supported.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|one| !one.is_empty());
    let supported: Option<Vec<Spoken>> = listed.take(MOST_SPOKEN + 1).map(Spoken::read).collect();
    let supported = supported.filter(|supported| supported.len() <= MOST_SPOKEN).ok_or_else(|| {
        let words = format!("expected language tags, at most {MOST_SPOKEN}");
        Problem::invalid(vec![FieldError::new("supported", words)])
    })?;
    let effective = effective(&call).await?;
    let text = |path: &str| effective.values.text(path);
    let language = text("locale.language").unwrap_or_default();
    let source = effective.origins.get("locale.language").map(|origin| origin.source);
    let (own, source) = match source {
        Some(Source::Own) => (Some(language.as_str()), LanguageSource::Own),
        Some(Source::Role) => (None, LanguageSource::Role),
        _ => (None, LanguageSource::Default),
    };
    let header = call.header(ACCEPT_LANGUAGE).unwrap_or_default();
    let (language, source) = negotiate(own, header, (&language, source), &supported);
    let answer = Answer::ok(&EffectiveLocale {
        language,
        source,
        timezone: text("locale.timezone"),
        date_format: text("locale.date_format"),
        time_format: text("locale.time_format"),
        first_day_of_week: text("locale.first_day_of_week"),
        number_format: text("locale.number_format"),
        currency: text("locale.currency"),
    });
    Ok(answer.with_header(VARY, HeaderValue::from_static("Accept-Language")))
}

async fn quiet_hours(call: Call) -> Outcome {
    let effective = effective(&call).await?;
    let quiet = QuietHours::of(&effective.values).at(call.now);
    let timezone = effective.values.text("locale.timezone");
    Ok(Answer::ok(&QuietView { quiet: quiet.is_quiet, changes_at: quiet.changes_at, timezone }))
}
