//! What counts for somebody: what they chose over what their roles say, over the installation, over the table.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::access::role_book::RoleBook;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::RoleId;
use crate::kernel::sheet::Sheet;
use crate::preferences::book::{HeldLayer, PreferenceBook};
use crate::preferences::fields::FIELDS;
use crate::preferences::unfit::Unfit;
use crate::user::User;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// From the program.
    Default,
    /// From the installation.
    Installation,
    /// From a role.
    Role,
    /// The person chose it.
    Own,
}

/// Where a value comes from, and from which role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Origin {
    /// From where.
    pub source: Source,
    /// From which role.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub role_id: Option<RoleId>,
}

/// The values that count, by path, each with where it comes from.
#[derive(Debug, Default)]
pub struct Effective {
    /// The values.
    pub values: Sheet,
    /// Where each comes from.
    pub origins: BTreeMap<Box<str>, Origin>,
}

impl Origin {
    /// From there, and from no role.
    pub const fn of(source: Source) -> Self {
        Self { source, role_id: None }
    }

    /// From this role.
    pub const fn role(id: RoleId) -> Self {
        Self { source: Source::Role, role_id: Some(id) }
    }
}

/// A role of somebody with its defaults.
pub type RoleLayer = (RoleId, Arc<HeldLayer>);

/// Defaults that count for somebody, from where they are, and what of them does not fit.
pub type FittedLayer = (Origin, Arc<HeldLayer>, Arc<Unfit>);

/// The defaults of the roles that somebody holds at this moment, in whatever scope, those that count most first.
pub fn of_roles(user: &User, roles: &RoleBook, book: &PreferenceBook, now: Timestamp) -> Vec<RoleLayer> {
    if book.has_no_roles() {
        return Vec::new();
    }
    let held = user.holdings.assignments.iter().filter(|assignment| assignment.bounds.hold_at(now));
    let mut layers: Vec<_> = held
        .filter_map(|assignment| {
            let role = roles.role(assignment.role_id).filter(|role| role.is_active)?;
            let layer = book.role(role.id)?;
            Some((Reverse(layer.priority), role.name.clone(), (role.id, Arc::clone(layer))))
        })
        .collect();
    layers.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    layers.dedup_by_key(|(_, _, (id, _))| *id);
    layers.into_iter().map(|(_, _, layer)| layer).collect()
}

/// Puts what somebody chose over the defaults, of which the first count least. What a namespace holds is one value: another
/// layer's is in its place as a whole, so that what counts fits its schema. Values of namespaces that there are not (any more)
/// are left out, and defaults that do not fit.
pub fn effective(own: &Sheet, defaults: &[FittedLayer], book: &PreferenceBook) -> Effective {
    let mut effective = Effective::default();
    let mut over = |values: &Sheet, origin: Origin| {
        for (path, json) in values.iter().filter(|(path, _)| book.has(path)) {
            effective.values.set(path, json);
            effective.origins.insert(path.into(), origin);
        }
    };
    over(&FIELDS.defaults(), Origin::of(Source::Default));
    for (origin, layer, unfit) in defaults {
        over(&unfit.left_of(&layer.values), *origin);
    }
    over(own, Origin::of(Source::Own));
    effective
}
