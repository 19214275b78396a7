//! The few things the journal asks of a file system, behind a small trait: tests put a disk there that forgets, reorders
//! and tears whatever was not made durable, runs full, or fails to sync.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Nothing, in the pieces that files are filled with.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// What must be free before anything is written: more than the index grows by when it takes over what waits for it.
const RESERVE_BYTES: u64 = 256 << 20;

/// One folder of files.
pub(super) trait Disk: Send + Sync + 'static {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// How many bytes a file has.
    fn size(&self, name: &str) -> io::Result<u64>;
    /// A whole file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// A new, empty file; its name is durable after [`Disk::sync_folder`].
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, to be written on.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, in place of whatever had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Fails when there is too little room to begin something: sled stops reading for good once it could not write, so
    /// the journal must be refused before the disk is full.
    fn has_room(&self) -> io::Result<()>;
    /// Makes names durable.
    fn sync_folder(&self) -> io::Result<()>;
    /// Ends the process: what a failed sync left on the disk is unknown, and trying again would hide it (`PostgreSQL`'s
    /// "fsyncgate", 2018). A restart reads what is there. Returns only in tests.
    fn halt(&self, why: &str);
}

/// One file that grows.
pub(super) trait DiskFile: Send {
    /// Puts bytes at an offset, over what is there or at the end.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Puts so many zeros at an offset.
    fn fill(&mut self, mut offset: u64, bytes: u64) -> io::Result<()> {
        let end = offset + bytes;
        while offset < end {
            let piece = ZEROS.get(..usize::try_from(end - offset).unwrap_or(usize::MAX)).unwrap_or(&ZEROS);
            self.write_at(offset, piece)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }
    /// Cuts everything from this length on.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Makes the contents durable (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the operating system's.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.0.join(name))?.len())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().create(true).truncate(true).write(true).open(self.0.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn has_room(&self) -> io::Result<()> {
        let found = rustix::fs::statvfs(&self.0)?;
        let is_enough = found.f_bavail.saturating_mul(found.f_frsize) >= RESERVE_BYTES;
        if is_enough { Ok(()) } else { Err(io::Error::from(io::ErrorKind::StorageFull)) }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn halt(&self, why: &str) {
        tracing::error!(why, "the journal could not be made durable; the process ends, a restart reads what is there");
        std::process::abort();
    }
}

impl DiskFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
