//! Steps: where one thread may come between another that publishes or reads. In the product there is nothing here; in a
//! model of threads any of them may go on at each step. What publishes (`arc_swap`) is one step: it has no parts that
//! another thread could see.

/// Another thread may go on here.
#[cfg(not(test))]
#[inline]
pub const fn step() {}

#[cfg(test)]
pub use modelled::{modelled, step};

#[cfg(test)]
mod modelled {
    use std::cell::Cell;

    use shuttle::scheduler::RandomScheduler;
    use shuttle::{Config, Runner};

    thread_local! {
        /// Whether this thread runs a model: all threads of one are fibers of the thread that runs it.
        static IS_MODELLED: Cell<bool> = const { Cell::new(false) };
    }

    /// Another thread of the model may go on here, if this is one.
    pub fn step() {
        if IS_MODELLED.get() {
            shuttle::thread::yield_now();
        }
    }

    /// Runs a model in so many orders of its threads' steps, drawn by lot. What fails names the order.
    pub fn modelled(orders: usize, model: impl Fn() + Send + Sync + 'static) {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        IS_MODELLED.set(true);
        Runner::new(RandomScheduler::new(orders), config).run(model);
        IS_MODELLED.set(false);
    }
}
