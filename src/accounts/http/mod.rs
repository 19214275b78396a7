//! Accounts over HTTP: their administration, and what people do about their own.

mod factors;
mod passkeys;
mod recovery;
mod registration;
mod users;

use crate::http::Routes;

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    factors::routes(routes);
    passkeys::routes(routes);
    recovery::routes(routes);
    registration::routes(routes);
    users::routes(routes);
}
