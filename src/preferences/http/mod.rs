//! Preferences over HTTP.

mod administration;
mod changes;
mod own;
mod view;
mod wanted;

use crate::http::Routes;

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    own::routes(routes);
    changes::routes(routes);
    administration::routes(routes);
}
