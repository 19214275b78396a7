//! Any async function of a call and up to three inputs is a handler.

use std::future::{Future, ready};

use futures_util::future::{FutureExt, LocalBoxFuture};

use super::answer::Answer;
use super::body::Body;
use super::call::Call;
use super::input::Input;
use super::openapi::Description;
use super::problem::Problem;

/// What a handler comes to.
pub type Outcome = Result<Answer, Problem>;

/// A function that answers calls; `Inputs` are its parameters after the call, as a tuple.
pub trait Handler<Inputs>: Send + Sync + 'static {
    /// Whether an input reads the body.
    const READS_BODY: bool;

    /// Reads the inputs and starts the function.
    fn handle(&self, call: Call, body: &Body) -> LocalBoxFuture<'static, Outcome>;

    /// Adds the inputs to the description of the route.
    fn describe(description: &mut Description);
}

macro_rules! handler {
    ($($input:ident)*) => {
        impl<F, Answering, $($input: Input),*> Handler<($($input,)*)> for F
        where
            F: Fn(Call, $($input),*) -> Answering + Send + Sync + 'static,
            Answering: Future<Output = Outcome> + 'static,
        {
            const READS_BODY: bool = false $(|| $input::READS_BODY)*;

            #[allow(non_snake_case, unused_variables, reason = "an input's variable is named as its type; some have none")]
            fn handle(&self, call: Call, body: &Body) -> LocalBoxFuture<'static, Outcome> {
                $(let $input = match $input::parse(call.request(), body) {
                    Ok(input) => input,
                    Err(problem) => return ready(Err(problem)).boxed_local(),
                };)*
                self(call, $($input),*).boxed_local()
            }

            #[allow(unused_variables, reason = "without inputs there is nothing to describe")]
            fn describe(description: &mut Description) {
                $($input::describe(description);)*
            }
        }
    };
}

handler! {}
handler! { A }
handler! { A B }
handler! { A B C }
