//! Any async function of a call and up to three inputs is a handler.

use std::future::{Future, ready};
use std::panic::resume_unwind;

use actix_web::rt;
use futures_util::future::{FutureExt, LocalBoxFuture};

use super::answer::Answer;
use super::body::Body;
use super::call::Call;
use super::creation::{Created, Creation};
use super::input::Input;
use super::openapi::Description;
use super::problem::Problem;

/// What a handler comes to.
pub type Outcome = Result<Answer, Problem>;

/// Does what is to come to its end once it is begun, also if the caller goes away meanwhile: a connection that is lost drops
/// its request, but not this.
///
/// # Errors
/// What the work is refused for.
pub async fn to_the_end(work: impl Future<Output = Outcome> + 'static) -> Outcome {
    rt::spawn(work).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(error) => Err(Problem::bug(format!("a request was not carried out to its end: {error}"))),
    })
}

/// What a handler may come to: an answer, or something that it created.
pub trait Finish: Sized + 'static {
    /// Whether it creates.
    const CREATES: bool;

    /// The handler at work, ready to be waited for.
    fn boxed(handler: impl Future<Output = Self> + 'static) -> LocalBoxFuture<'static, Outcome>;
}

impl Finish for Outcome {
    const CREATES: bool = false;

    fn boxed(handler: impl Future<Output = Self> + 'static) -> LocalBoxFuture<'static, Outcome> {
        handler.boxed_local()
    }
}

impl Finish for Creation {
    const CREATES: bool = true;

    fn boxed(handler: impl Future<Output = Self> + 'static) -> LocalBoxFuture<'static, Outcome> {
        handler.map(|created| created.map(Created::into_answer)).boxed_local()
    }
}

/// A function that answers calls; `Inputs` are its parameters after the call, as a tuple.
pub trait Handler<Inputs>: Send + Sync + 'static {
    /// Whether an input reads the body.
    const READS_BODY: bool;
    /// Whether it creates something: then its route honours `Idempotency-Key`.
    const CREATES: bool;

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
            Answering: Future<Output: Finish> + 'static,
        {
            const READS_BODY: bool = false $(|| $input::READS_BODY)*;
            const CREATES: bool = Answering::Output::CREATES;

            #[allow(non_snake_case, unused_variables, reason = "an input's variable is named as its type; some have none")]
            fn handle(&self, call: Call, body: &Body) -> LocalBoxFuture<'static, Outcome> {
                $(let $input = match $input::parse(call.request(), body) {
                    Ok(input) => input,
                    Err(problem) => return ready(Err(problem)).boxed_local(),
                };)*
                Finish::boxed(self(call, $($input),*))
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::AssertUnwindSafe;
    use std::rc::Rc;

    use super::*;

    #[actix_web::test]
    async fn what_is_begun_comes_to_its_end_though_nobody_waits_and_a_panic_in_it_is_its_callers() {
        let is_over = Rc::new(Cell::new(false));
        let work = || {
            let is_over = Rc::clone(&is_over);
            to_the_end(async move {
                tokio::task::yield_now().await;
                is_over.set(true);
                Ok(Answer::no_content())
            })
        };
        assert!(work().await.is_ok() && is_over.replace(false));
        assert!(work().now_or_never().is_none(), "its caller goes away");
        while !is_over.get() {
            tokio::task::yield_now().await;
        }
        assert!(AssertUnwindSafe(to_the_end(async { panic!("on purpose") })).catch_unwind().await.is_err());
    }
}
