//! Who has what, for reviews by people: every assignment and every grant, one line each, as CSV or as JSON.
//!
//! Written while it is read, subject by subject, however many there are. A subject is as it was when its lines were written.

use std::io;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use actix_web::web::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::holders::{Entries, Found, List};
use crate::access::http::given::{refuse_unnamed, shown_actor, shown_scope};
use crate::access::model::{Bounds, Given};
use crate::access::pattern::Effect;
use crate::access::product::ProductPermission;
use crate::access::review::survey;
use crate::access::role_book::RoleBook;
use crate::accounts::model::Status;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Query, Routes, State, Who};
use crate::kernel::clock::Timestamp;
use crate::store::{Store, StoreError};
use crate::user::User;

pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/access/export", Who::Holding(ProductPermission::RolesRead), export)
        .about("Everything that was given to everybody, as CSV or JSON; needs sesame.users:read too")
        .answers::<Vec<Line>>(200)
        .is_costly();
}

/// In which form.
#[derive(Deserialize, ToSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[schema(as = ExportFormat)]
enum Format {
    /// An array of objects.
    #[default]
    Json,
    /// With a line of headings; what a spreadsheet would take for a formula has an apostrophe before it.
    Csv,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// `json` or `csv`; absent: JSON.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// Something that a subject was given.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportLine)]
struct Line {
    /// `user_…` or `app_…`.
    user_id: String,
    username: Option<String>,
    external_id: Option<String>,
    status: Option<Status>,
    /// `role` or `grant`.
    kind: &'static str,
    /// The role's name, or the grant's pattern.
    what: String,
    /// The role's or the grant's id.
    id: String,
    /// Of a grant.
    effect: Option<Effect>,
    /// When it speaks, in CEL; of a grant.
    condition: Option<String>,
    /// Null: everywhere.
    scope: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Null: the service itself.
    given_by: Option<String>,
    /// Who is said to have agreed to it.
    approved_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    given_at: Timestamp,
    reason: Option<String>,
}

impl Line {
    fn of(user: &User, kind: &'static str, what: String, id: String, bounds: &Bounds, given: &Given) -> Self {
        let account = user.account();
        Self {
            user_id: user.id_text(),
            username: user.username().map(str::to_owned),
            external_id: account.and_then(|account| Some(account.external_id.as_ref()?.as_str().to_owned())),
            status: account.map(|account| account.status),
            kind,
            what,
            id,
            effect: None,
            condition: None,
            scope: shown_scope(&bounds.scope),
            not_before: bounds.not_before,
            expires_at: bounds.expires_at,
            given_by: shown_actor(&given.by),
            approved_by: given.approved_by().and_then(shown_actor),
            given_at: given.at,
            reason: given.reason().map(|reason| reason.as_str().to_owned()),
        }
    }

    fn all_of(user: &User, book: &RoleBook) -> Vec<Self> {
        let roles = user.holdings.assignments.iter().filter_map(|held| {
            let role = book.role(held.role_id)?;
            Some(Self::of(user, "role", role.name.to_string(), role.id.to_string(), &held.bounds, &held.given))
        });
        let grants = user.holdings.grants.iter().map(|held| Self {
            effect: Some(held.rule.effect),
            condition: held.rule.condition.as_ref().map(|condition| condition.source().to_owned()),
            ..Self::of(user, "grant", held.rule.pattern.to_string(), held.id.to_string(), &held.bounds, &held.given)
        });
        roles.chain(grants).collect()
    }

    /// The cells of a line, in the order of [`HEADINGS`].
    fn cells(&self) -> [String; HEADINGS.len()] {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let word = |value: serde_json::Result<serde_json::Value>| {
            value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
        };
        [
            self.user_id.clone(),
            text(&self.username),
            text(&self.external_id),
            word(serde_json::to_value(self.status)),
            self.kind.to_owned(),
            self.what.clone(),
            self.id.clone(),
            word(serde_json::to_value(self.effect)),
            text(&self.condition),
            text(&self.scope),
            time(self.not_before),
            time(self.expires_at),
            text(&self.given_by),
            text(&self.approved_by),
            self.given_at.to_string(),
            text(&self.reason),
        ]
        .map(harmless)
    }
}

const HEADINGS: [&str; 16] = [
    "user_id",
    "username",
    "external_id",
    "status",
    "kind",
    "what",
    "id",
    "effect",
    "condition",
    "scope",
    "not_before",
    "expires_at",
    "given_by",
    "approved_by",
    "given_at",
    "reason",
];

/// A cell that no spreadsheet takes for a formula (OWASP, CSV injection).
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{cell}") } else { cell }
}

/// Subjects read at a time.
const SUBJECTS_AT_ONCE: usize = 500;

/// An export under way.
struct Writing {
    state: Arc<State>,
    format: Format,
    /// The last subject that was read.
    after: Option<Found>,
    has_begun: bool,
    has_lines: bool,
    is_over: bool,
}

async fn export(call: Call, Query(query): Query<ExportQuery>) -> Outcome {
    refuse_unnamed(&call)?;
    let (content_type, name) = match query.format {
        Format::Json => ("application/json", "attachment; filename=\"access.json\""),
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"access.csv\""),
    };
    let writing = Writing {
        state: Arc::clone(&call.state),
        format: query.format,
        after: None,
        has_begun: false,
        has_lines: false,
        is_over: false,
    };
    let parts = stream::try_unfold(writing, async |mut writing: Writing| {
        Ok::<_, io::Error>(writing.next().await?.map(|part| (part, writing)))
    });
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, content_type));
    response.insert_header((CONTENT_DISPOSITION, HeaderValue::from_static(name)));
    Ok(Answer::from(response.streaming(Box::pin(parts))))
}

impl Writing {
    /// The next part of the text; none at the end. A failure breaks the answer off, so that nobody takes it for whole.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.is_over {
            let (after, book) = (self.after.take(), Arc::clone(&self.state.book.load()));
            let read = move |store: &dyn Store| lines(store, &book, after.as_ref());
            let (lines, last) =
                self.state.reviewer.read(move |store| read(&**store)).await.map_err(io::Error::other)?;
            (self.is_over, self.after) = (last.is_none(), last);
            let text = self.text(&lines)?;
            // An empty part would end the answer.
            if !text.is_empty() {
                return Ok(Some(text.into()));
            }
        }
        Ok(None)
    }

    fn text(&mut self, lines: &[Line]) -> io::Result<Vec<u8>> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if self.format == Format::Csv {
            let mut text = csv::Writer::from_writer(Vec::new());
            if is_first {
                text.write_record(HEADINGS)?;
            }
            for line in lines {
                text.write_record(line.cells())?;
            }
            return text.into_inner().map_err(|error| io::Error::other(error.to_string()));
        }
        let mut text = Vec::new();
        if is_first {
            text.push(b'[');
        }
        for line in lines {
            if std::mem::replace(&mut self.has_lines, true) {
                text.extend_from_slice(b",\n");
            }
            serde_json::to_writer(&mut text, line)?;
        }
        if self.is_over {
            text.extend_from_slice(b"]\n");
        }
        Ok(text)
    }
}

/// The lines of some subjects, and the last of them if there are more. May block.
fn lines(store: &dyn Store, book: &RoleBook, after: Option<&Found>) -> Result<(Vec<Line>, Option<Found>), StoreError> {
    let mut lines = Vec::new();
    for (count, found) in Entries::new(store, &[List::Everybody], after).enumerate() {
        let found = found?;
        if let Some(user) = survey::read(store, found.user)? {
            lines.extend(Line::all_of(&user, book));
        }
        if count + 1 == SUBJECTS_AT_ONCE {
            return Ok((lines, Some(found)));
        }
    }
    Ok((lines, None))
}
