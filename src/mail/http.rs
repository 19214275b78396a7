//! The outbox over HTTP.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::product::ProductPermission;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{MailId, UserId};
use crate::kernel::page::Page;
use crate::kernel::text::Email;
use crate::mail::listing;
use crate::mail::model::{Delivery, Mail};

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/outbox", Who::Holding(ProductPermission::OutboxRead), list)
        .about(
            "Lists mails that were not delivered, newest first, with what they say; needs a recent proof of who one is",
        )
        .answers::<Page<MailView>>(200)
        .made_of::<MailView>();
}

/// Which mails to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only those to this address.
    #[param(value_type = Option<String>)]
    to: Option<Email>,
}

/// How far a mail has come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum MailStatus {
    Waiting,
    GivenUp,
}

/// A mail.
#[derive(Serialize, ToSchema)]
struct MailView {
    #[schema(value_type = String)]
    id: MailId,
    #[schema(value_type = String)]
    user_id: UserId,
    #[schema(value_type = String)]
    to: Email,
    /// What it is about, such as `reset-password`.
    occasion: &'static str,
    subject: Box<str>,
    text: Box<str>,
    html: Box<str>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    status: MailStatus,
    /// How often it was tried.
    attempts: Option<u32>,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    last_error: Option<Box<str>>,
}

impl MailView {
    fn of(mail: Mail) -> Self {
        let (status, attempts, next_attempt_at, last_error) = match mail.delivery {
            Delivery::Waiting { attempts, not_before, last_error } => {
                (MailStatus::Waiting, Some(attempts), Some(not_before), last_error)
            }
            Delivery::GivenUp { error, .. } => (MailStatus::GivenUp, None, None, Some(error)),
        };
        Self {
            id: mail.id,
            user_id: mail.user,
            to: mail.to,
            occasion: mail.occasion.name(),
            subject: mail.subject,
            text: mail.text,
            html: mail.html,
            created_at: mail.created_at,
            expires_at: mail.expires_at,
            status,
            attempts,
            next_attempt_at,
            last_error,
        }
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Outcome {
    // Mails hold tokens that are good.
    call.refuse_stale()?;
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let store = Arc::clone(&call.state.store);
    let page = call.state.loader.run(move || listing::mails(&*store, query.to.as_ref(), &paging)).await??;
    Ok(Answer::ok(&page.map(MailView::of)))
}
