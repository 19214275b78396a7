//! Pages of an answer that is whole, of one moment, and kept while it has more.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::access::review::reviewer::{Kept, ReviewError};
use crate::access::review::search::Findings;
use crate::access::review::shelf::Place;
use crate::actor::aggregate::Aggregate as _;
use crate::http::{Call, Problem};
use crate::kernel::fault::FieldError;
use crate::kernel::page::Page;

/// A page of a list that is whole and of one revision.
#[derive(Serialize, ToSchema)]
pub(super) struct Listing<T> {
    /// As everything is at this revision.
    pub(super) revision: u64,
    /// So many on all pages.
    pub(super) total: usize,
    #[serde(flatten)]
    pub(super) page: Page<T>,
}

/// What is on the pages of a kept answer.
pub(super) trait Paged: Sized {
    /// All of it, if the answer is one of these.
    fn of(kept: &Kept) -> Option<&Findings<Self>>;
}

/// One page of an answer.
pub(super) struct Turned {
    kept: Arc<Kept>,
    from: usize,
    to: usize,
    /// Where the next one begins; empty at the end.
    pub(super) next: String,
}

impl Turned {
    /// The whole answer.
    pub(super) const fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }

    /// What is on the page.
    pub(super) fn found<T: Paged>(&self) -> &[T] {
        T::of(&self.kept).and_then(|all| all.found.get(self.from..self.to)).unwrap_or_default()
    }

    /// How much is on all pages.
    pub(super) fn total<T: Paged>(&self) -> usize {
        T::of(&self.kept).map_or(0, |all| all.found.len())
    }

    /// Where the next one begins, as native lists tell it.
    pub(super) fn next_cursor(&self) -> Option<String> {
        Some(self.next.clone()).filter(|next| !next.is_empty())
    }
}

/// The page that is asked for, by a token and a limit: of a kept answer to the same question, or of a new one.
pub(super) async fn turn<T: Paged>(
    call: &Call,
    (token, limit): (&str, usize),
    (question, field): (&str, &'static str),
    search: impl AsyncFnOnce() -> Result<Arc<Kept>, Problem>,
) -> Result<Turned, Problem> {
    let reviewer = &call.state.reviewer;
    let reader = call.caller.user().ok_or(ReviewError::Gone)?.id();
    if token.is_empty() {
        let kept = search().await?;
        let all = T::of(&kept).map_or(0, |all| all.found.len());
        let to = limit.min(all);
        let next = if to < all {
            reviewer.keep(&kept, Place { item: to, part: limit }, reader, call.now)?
        } else {
            String::new()
        };
        return Ok(Turned { kept, from: 0, to, next });
    }
    let gone = || if field == "cursor" { ReviewError::Gone } else { ReviewError::TokenGone };
    let of_field = |error| if matches!(error, ReviewError::Gone) { gone() } else { error };
    let resumed = reviewer.resume(token, reader, call.now).map_err(of_field)?;
    let kept = Arc::clone(&resumed.answer);
    let findings = T::of(&kept).ok_or_else(gone)?;
    if findings.question != question {
        let wrong = FieldError::new(field, "belongs to another question; ask the same again with it");
        return Err(Problem::invalid(vec![wrong]));
    }
    let (from, all) = (resumed.place.item, findings.found.len());
    let to = from.saturating_add(limit).min(all);
    let next = if to >= all { String::new() } else { resumed.cursor(Place { item: to, part: limit }) };
    Ok(Turned { kept, from, to, next })
}
