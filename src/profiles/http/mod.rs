//! Profiles over HTTP.

mod own;
mod view;

use crate::http::Routes;

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    own::routes(routes);
}
