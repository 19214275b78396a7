//! Where what runs: the servers on the first core, the client on the second.

use std::io;
use std::process::Command;

use rustix::thread::{CpuSet, sched_setaffinity};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Runs a program on the first core.
pub(crate) fn on_first_core(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

/// Keeps this thread, and those that it starts, on one core.
///
/// # Errors
/// When the machine has no such core.
pub(crate) fn stay_on_core(number: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(number);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Lets this thread give way to all others, at once: what it asks for is work for the server, its own work is not to be felt.
///
/// # Errors
/// When the system refuses.
pub(crate) fn give_way() -> io::Result<()> {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).map_err(io::Error::other)
}
