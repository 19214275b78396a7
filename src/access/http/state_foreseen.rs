//! What a state that is only compared would be refused for, found out as applying it would: the book first, then each
//! subject by what the book and the subjects before it would be. Nobody waits for it, and it promises nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::error::HOLDERS_JOIN;
use crate::access::escalation::Donor;
use crate::access::guardian::{BookChange, Imagined, is_administrator};
use crate::access::http::state::refuse_joined_after_takings;
use crate::access::http::state_subjects::{Outcome, Planned, refuse_escalation};
use crate::access::review::change::{ChangeHoldings, HoldingChange};
use crate::access::review::state::Plan;
use crate::access::role_book::RoleBook;
use crate::actor::aggregate::Aggregate as _;
use crate::http::{Call, Problem};
use crate::store::Revision;
use crate::user::User;

/// The code with which the whole would be refused for what somebody holds already, if it would be, and what would become
/// of each subject.
///
/// # Errors
/// Whatever else the whole would be refused for.
pub(super) async fn foreseen(
    call: &Call,
    book: &Arc<RoleBook>,
    plan: &Plan,
    subjects: &[Planned],
) -> Result<(Option<String>, Vec<Outcome>), Problem> {
    let mut after = RoleBook::clone(&plan.after);
    // What is joined with the one book is never taken for joined with the other.
    after.stamp(Revision(u64::MAX));
    let (mut foresight, mut taken) = (Foresight::of(call), BTreeMap::new());
    let mut refusal = weigh_book(call, book, after.clone()).await?;
    if refusal.is_some() && subjects.iter().any(Planned::takes) {
        refusal = joined(refuse_joined_after_takings(call, plan, subjects.iter()).await)?;
        if refusal.is_none() {
            taken = foresight.take(book, subjects).await;
            let is_taken = |place: usize| !matches!(taken.get(&place), Some(Err(_)));
            let left = subjects.iter().enumerate().filter(|(place, _)| is_taken(*place)).map(|(_, planned)| planned);
            refusal = joined(refuse_joined_after_takings(call, plan, left).await)?;
        }
    }
    let (after, mut outcomes) = (Arc::new(after), Vec::with_capacity(subjects.len()));
    for (place, planned) in subjects.iter().enumerate() {
        outcomes.push(foresight.outcome(&after, planned, taken.remove(&place)).await);
        tokio::task::yield_now().await;
    }
    Ok((refusal, outcomes))
}

/// Whether the book would be refused for what somebody holds; whatever else it would be refused for is an error.
async fn weigh_book(call: &Call, book: &Arc<RoleBook>, after: RoleBook) -> Result<Option<String>, Problem> {
    let before = Arc::clone(book);
    let change = call.state.reviewer.work(move || BookChange::of(before, after)).await?;
    let weighed = call.state.guardian.weigh_book(&call.donor(book), &change).await;
    joined(weighed.map_err(Problem::from))
}

fn joined(weighed: Result<(), Problem>) -> Result<Option<String>, Problem> {
    match weighed {
        Ok(()) => Ok(None),
        Err(problem) if problem.code() == HOLDERS_JOIN => Ok(Some(problem.code().to_owned())),
        Err(problem) => Err(problem),
    }
}

/// What is known of what would be.
struct Foresight<'a> {
    call: &'a Call,
    /// A copy of the caller: what it comes to with a book that never is is not kept beside it.
    caller: Option<Arc<User>>,
    /// Who would be administrator by then, of those who were looked at.
    imagined: Imagined,
}

impl<'a> Foresight<'a> {
    fn of(call: &'a Call) -> Self {
        let copy = |user: &Arc<User>| {
            let mut copy = User::clone(user);
            Arc::make_mut(&mut copy.holdings);
            Arc::new(copy)
        };
        Self { call, caller: call.caller.user().map(copy), imagined: Imagined::new() }
    }

    /// What each subject would be from whom something was taken, or why nothing can be, by their place.
    async fn take(&mut self, book: &Arc<RoleBook>, subjects: &[Planned]) -> BTreeMap<usize, Result<User, Problem>> {
        let mut taken = BTreeMap::new();
        for (place, planned) in subjects.iter().enumerate().filter(|(_, planned)| planned.takes()) {
            let changes = planned.those(HoldingChange::takes);
            taken.insert(place, self.weigh(book, planned.user(), changes).await);
        }
        taken
    }

    /// What would become of one subject, from which something may be taken by then.
    async fn outcome(
        &mut self,
        book: &Arc<RoleBook>,
        planned: &Planned,
        taken: Option<Result<User, Problem>>,
    ) -> Outcome {
        let (weighed, changes) = match &taken {
            None => (planned.user(), planned.those(|_| true)),
            Some(Ok(user)) => (user, planned.those(|change| !change.takes())),
            Some(Err(problem)) => return planned.outlook_refused(problem),
        };
        if changes.is_empty() {
            return planned.outlook();
        }
        match self.weigh(book, weighed, changes).await {
            Ok(_) => planned.outlook(),
            Err(problem) => planned.outlook_refused(&problem),
        }
    }

    /// The subject as it would be, or what its change would be refused for.
    async fn weigh(
        &mut self,
        book: &Arc<RoleBook>,
        before: &User,
        changes: Vec<HoldingChange>,
    ) -> Result<User, Problem> {
        let command = ChangeHoldings { changes, book: Arc::clone(book) };
        let (session, now) = (self.call.caller.session(), self.call.now);
        let donor = Donor { book, user: self.caller.as_ref(), session, now };
        let after = refuse_escalation(&donor, &self.call.facts(), before, &command)?;
        self.call.state.guardian.admit_among(&donor, before, Some(&after), &self.imagined).await?;
        self.imagined.insert(after.id(), is_administrator(&after, book, now));
        Ok(after)
    }
}
