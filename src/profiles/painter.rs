//! Pictures are read in processes of their own, one for each. What a decoder takes of memory and time is its own to say,
//! whatever limits it is told; what a process takes is bounded by the system. Knows nothing of whose pictures they are.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group, setrlimit, waitid,
};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

use crate::kernel::fault::{Fault, Kind};
use crate::profiles::picture::{self, MOST_BYTES, PictureError, Squares};

/// The most memory of such a process, beside the program's own text: enough for every picture of 4096² pixels (the most,
/// 224 MiB, is for a JPEG of four components in several scans).
pub const MOST_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// The most time on a processor.
const MOST_SECONDS: u64 = 10;
/// The most time of one that takes of the processors what nobody else wants; where that is too little, another one has a share.
const MOST_IDLE: Duration = Duration::from_secs(3);
/// The most time of one that has a share: on a busy machine it waits for a processor.
const MOST_WAIT: Duration = Duration::from_mins(1);
/// What a process may tell; the squares of any picture are less.
const MOST_TOLD_BYTES: u64 = 4 * 1024 * 1024;
/// The command of the program that reads a picture, and how it is told to take what nobody else wants.
const COMMAND: &str = "paint";
const IDLE: &str = "--idle";
/// mimalloc takes a gigabyte of addresses at its start, which it may then use whatever the bound; with these it asks the system
/// for what it needs.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_DISALLOW_ARENA_ALLOC", "1"), ("MIMALLOC_EAGER_COMMIT", "0")];

/// Starts such processes.
#[derive(Debug)]
pub struct Painter {
    program: PathBuf,
    most_idle: Duration,
    most_wait: Duration,
}

/// Why there are no squares of a picture.
#[derive(Debug, thiserror::Error)]
pub enum PainterError {
    /// It is not taken.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// It could not be read here.
    #[error("pictures cannot be read now")]
    Process(#[from] io::Error),
}

impl Fault for PainterError {
    fn kind(&self) -> Kind {
        match self {
            Self::Picture(error) => error.kind(),
            Self::Process(_) => Kind::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Picture(error) => error.code(),
            Self::Process(_) => "painter-unavailable",
        }
    }
}

impl Painter {
    /// By this program; an empty path is the one that runs, also when its file was replaced meanwhile.
    pub fn new(program: &Path) -> Self {
        let is_own = program.as_os_str().is_empty();
        let program = if is_own { PathBuf::from("/proc/self/exe") } else { program.to_owned() };
        Self { program, most_idle: MOST_IDLE, most_wait: MOST_WAIT }
    }

    /// The squares of a picture. Waits for the process, of which whoever answers requests feels nothing; where others leave it
    /// no time, for a second one, which gets its share.
    ///
    /// # Errors
    /// See [`PainterError`].
    pub fn squares(&self, bytes: &[u8]) -> Result<Squares, PainterError> {
        match self.read(bytes, &[COMMAND, IDLE], self.most_idle) {
            Err(PainterError::Process(error)) if error.kind() == io::ErrorKind::TimedOut => {
                tracing::info!(bytes = bytes.len(), "a picture is read again: others left no time for it");
                self.read(bytes, &[COMMAND], self.most_wait)
            }
            read => read,
        }
    }
}

impl Painter {
    /// The same by one process, if it takes no longer.
    fn read(&self, bytes: &[u8], arguments: &[&str], most_wait: Duration) -> Result<Squares, PainterError> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().envs(ALLOCATOR);
        // A group of its own, so that what it started ends with it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let (told, is_late) = told(&mut child, bytes, most_wait);
        let status = child.wait()?;
        if is_late {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{COMMAND} did not end in time")).into());
        }
        // Nobody but the system ends it: by what it takes.
        if !status.success() && status.code().is_none() {
            tracing::warn!(%status, bytes = bytes.len(), "a picture took too much to be read");
            return Err(PictureError::TooLarge.into());
        }
        let told = understood(&told?).ok_or_else(|| io::Error::other(format!("{COMMAND} ended with {status}")))?;
        Ok(told?)
    }
}

/// What a process tells of a picture, and whether it had to be ended since it did not in time. It is over then, and still to be
/// waited for, so that its number is nobody else's meanwhile.
fn told(child: &mut Child, bytes: &[u8], most_wait: Duration) -> (io::Result<Vec<u8>>, bool) {
    let process = Pid::from_child(child);
    // It may have ended by itself.
    let end = move || _ = kill_process_group(process, Signal::KILL);
    thread::scope(|scope| {
        let (over, waiting) = channel::<()>();
        let watch = scope.spawn(move || {
            let is_late = waiting.recv_timeout(most_wait) == Err(RecvTimeoutError::Timeout);
            if is_late {
                end();
            }
            is_late
        });
        let told = converse(child, bytes);
        if told.is_err() {
            end();
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        // It is asked again for how it ended, and then a failure is told.
        retry_on_intr(|| waitid(WaitId::Pid(process), options)).ok();
        drop(over);
        (told, watch.join().unwrap_or_default())
    })
}

/// Hands over a picture; what is told of it.
fn converse(child: &mut Child, bytes: &[u8]) -> io::Result<Vec<u8>> {
    if let Some(mut picture) = child.stdin.take() {
        match picture.write_all(bytes) {
            // It ended before it had read all; how, its status tells.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    let mut told = Vec::new();
    if let Some(answer) = child.stdout.take() {
        answer.take(MOST_TOLD_BYTES).read_to_end(&mut told)?;
    }
    Ok(told)
}

/// What the process does: reads a picture, within bounds, and tells its squares or why there are none. If it is told to be
/// idle, it takes of the processors what nobody else wants.
///
/// # Errors
/// When the bounds cannot be set, or nobody speaks or listens.
pub fn paint(is_idle: bool, picture: impl Read, mut answer: impl Write) -> io::Result<()> {
    if is_idle {
        give_way();
    }
    for (resource, most) in [(Resource::Data, MOST_MEMORY_BYTES), (Resource::Cpu, MOST_SECONDS), (Resource::Core, 0)] {
        let most = getrlimit(resource).maximum.map_or(most, |had| had.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    let mut bytes = Vec::new();
    picture.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let squares = catch_unwind(|| picture::squares(&bytes)).unwrap_or(Err(PictureError::Damaged));
    answer.write_all(&written(&squares)?)
}

/// Takes of the processors what nobody else wants, and without privileges never has more again. No thread of the server may: what
/// it holds for a moment, others wait for.
fn give_way() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    // After the policy a niceness of 0 is asked for, which does not count then, and is refused to whoever has another. Where the
    // policy itself is refused, the picture is read with the niceness that there is.
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).ok();
}

/// A line with the sides and their lengths, or the refusal; then the squares.
fn written(squares: &Result<Squares, PictureError>) -> io::Result<Vec<u8>> {
    let lengths = |squares: &Squares| squares.iter().map(|(side, bytes)| (*side, bytes.len())).collect::<Vec<_>>();
    let mut text = serde_json::to_vec(&squares.as_ref().map(lengths))?;
    text.push(b'\n');
    squares.iter().flatten().for_each(|(_, bytes)| text.extend_from_slice(bytes));
    Ok(text)
}

/// Reads that.
fn understood(text: &[u8]) -> Option<Result<Squares, PictureError>> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let (line, mut rest) = text.split_at_checked(end + 1)?;
    let lengths: Result<Vec<(u32, usize)>, PictureError> = serde_json::from_slice(line).ok()?;
    let mut square = |(side, length)| {
        let (bytes, after) = rest.split_at_checked(length)?;
        rest = after;
        Some((side, bytes.to_vec()))
    };
    match lengths {
        Ok(lengths) => lengths.into_iter().map(&mut square).collect::<Option<_>>().map(Ok),
        Err(refusal) => Some(Err(refusal)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_told_is_understood_whole_or_not_at_all() {
        let squares = Ok(vec![(512, vec![b'\n'; 40]), (64, Vec::new())]);
        let text = written(&squares).unwrap();
        assert_eq!(understood(&text), Some(squares));
        for cut in 0..text.len() {
            assert_eq!(understood(&text[..cut]), None, "{cut}");
        }
        let refusal = Err(PictureError::Animated);
        assert_eq!(understood(&written(&refusal).unwrap()), Some(refusal));
        assert_eq!(understood(b"error: unrecognized subcommand\n"), None);
    }

    fn program(path: &Path, script: &str) -> PathBuf {
        std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path.to_owned()
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        for (number, script) in ["sleep 600", "cat >/dev/null; sleep 600", "exec >&-; sleep 600"].iter().enumerate() {
            let program = program(&folder.path().join(number.to_string()), &format!("sleep 600 & {script}"));
            let short = Duration::from_millis(200);
            let painter = Painter { most_idle: short, most_wait: short, ..Painter::new(&program) };
            let error = painter.squares(&vec![0; 1 << 20]).unwrap_err();
            assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "painter-unavailable"), "{script}");
        }
    }

    #[test]
    fn a_picture_for_which_others_leave_no_time_gets_its_share() {
        let folder = tempfile::tempdir().unwrap();
        let script =
            r#"case "$*" in "paint --idle") sleep 600;; paint) cat >/dev/null; echo '{"Err":"Animated"}';; esac"#;
        let program = program(&folder.path().join("program"), script);
        let painter = Painter { most_idle: Duration::from_millis(200), ..Painter::new(&program) };
        let read = painter.squares(&vec![0; 1 << 20]);
        assert!(matches!(read, Err(PainterError::Picture(PictureError::Animated))), "{read:?}");
    }

    #[test]
    fn a_program_that_is_another_or_is_not_there_is_no_fault_of_the_picture() {
        for program in ["/bin/true", "/bin/cat", "/nowhere"] {
            let error = Painter::new(Path::new(program)).squares(b"x").unwrap_err();
            assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "painter-unavailable"), "{program}");
        }
    }
}
