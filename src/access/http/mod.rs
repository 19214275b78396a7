//! Access control over HTTP.

mod analytics;
mod authzen;
mod bounded;
mod checks;
mod constraints;
mod effective_lists;
mod expired;
mod explanations;
mod export;
mod given;
mod grant_analytics;
mod holdings;
mod permissions;
mod pinned;
mod preview_changes;
mod previews;
mod role_holders;
mod roles;
mod searches;
mod state;
mod state_foreseen;
mod state_subjects;
mod trials;
mod turning;

use crate::http::Routes;

/// Registers the routes; checks first, they are asked most.
pub fn routes(routes: &mut Routes) {
    checks::routes(routes);
    authzen::routes(routes);
    permissions::routes(routes);
    roles::routes(routes);
    constraints::routes(routes);
    holdings::routes(routes);
    role_holders::routes(routes);
    previews::routes(routes);
    searches::routes(routes);
    explanations::routes(routes);
    trials::routes(routes);
    effective_lists::routes(routes);
    state::routes(routes);
    export::routes(routes);
    analytics::routes(routes);
    grant_analytics::routes(routes);
    expired::routes(routes);
}
