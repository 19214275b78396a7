//! Everything that is tested from outside the crate: one binary, a file per capability.

#[cfg(test)]
mod access;
#[cfg(test)]
mod access_analytics;
#[cfg(test)]
mod access_state;
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod activation;
#[cfg(test)]
mod aggregates;
#[cfg(test)]
mod apps;
#[cfg(test)]
mod asvs;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod authzen;
#[cfg(test)]
mod authzen_certification;
#[cfg(test)]
mod authzen_rules;
#[cfg(test)]
mod avatar_undo;
#[cfg(test)]
mod avatars;
#[cfg(test)]
mod bounded_reviews;
#[cfg(test)]
mod brute_force;
#[cfg(test)]
mod condition_cost;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod custom_defaults;
#[cfg(test)]
mod expired;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod forward_auth;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod gone_callers;
#[cfg(test)]
mod guards;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod heavy_pictures;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hp_rbac;
#[cfg(test)]
mod http_kit;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod largest;
#[cfg(test)]
mod mail;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod own_sessions;
#[cfg(test)]
mod own_writes;
#[cfg(test)]
#[cfg(feature = "passkeys")]
mod passkeys;
#[cfg(test)]
mod passwords;
#[cfg(test)]
mod places;
#[cfg(test)]
mod preferences;
#[cfg(test)]
mod profile_privacy;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod rate_limits;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod records;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod registration;
#[cfg(test)]
mod residents;
#[cfg(test)]
mod resource_upkeep;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod role_holders;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod searches;
#[cfg(test)]
mod second_factor;
#[cfg(test)]
mod separation;
#[cfg(test)]
mod session_model;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod signing_keys;
#[cfg(test)]
mod step_up;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod user_lists;
#[cfg(test)]
mod verification;
#[cfg(test)]
mod watchful;
#[cfg(test)]
mod what_if;
#[cfg(test)]
mod wrong_tokens;
