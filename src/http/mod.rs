//! The HTTP kit: a thin frame around the slices' handlers.
//!
//! A slice registers its routes in a [`Routes`] table, each with who may call it; [`dispatch`] leads every request
//! through the same stations: request id, caller, body, input, handler, answer, metrics. Whatever is not a handler's
//! [`Answer`] is a [`Problem`]. The kit knows no slice.
//!
//! | file | what |
//! |---|---|
//! | [`routes`], [`handler`] | the table, and the functions in it |
//! | [`table`], `pathway`, [`dispatch`], [`body`] | a request's way to its handler and back |
//! | [`credential`], [`caller`], [`admission`] | who is calling, and whether they may |
//! | [`rate`], `buckets` | and how often |
//! | [`call`], [`input`], [`multipart`], [`parameters`] | what a handler is given |
//! | [`answer`], [`creation`], [`problem`], [`request_id`] | what the client is given |
//! | `idempotency` | and is given again |
//! | [`openapi`], [`operations`] | the document, and the routes of the frame itself |
//! | [`server`], [`signals`], [`settings`], [`network`] | sockets |

pub mod admission;
pub mod answer;
pub mod body;
mod buckets;
pub mod call;
pub mod caller;
mod cors;
pub mod creation;
pub mod credential;
pub mod dispatch;
pub mod handler;
mod idempotency;
pub mod input;
pub mod multipart;
pub mod network;
pub mod openapi;
pub mod operations;
pub mod paging;
pub mod parameters;
mod pathway;
mod peer;
mod plainly;
pub mod problem;
pub mod rate;
pub mod request_id;
pub mod routes;
pub mod server;
pub mod settings;
pub mod signals;
pub mod state;
pub mod table;
mod uploads;

pub use answer::Answer;
pub use call::Call;
pub use caller::Caller;
pub use creation::Creation;
pub use input::{Form, Json, Path, Query};
pub use problem::Problem;
pub use routes::{Routes, Who};
pub use state::State;
