//! Profiles over HTTP.

mod avatar;
mod own;
mod privacy;
mod verification;
mod view;
mod viewed;

use crate::http::Routes;

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    own::routes(routes);
    privacy::routes(routes);
    avatar::routes(routes);
    verification::routes(routes);
    viewed::routes(routes);
}
