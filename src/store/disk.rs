//! The few things the journal asks of a file system, behind a small trait: tests put a disk there that forgets, reorders
//! and tears whatever was not made durable, runs full, or fails to sync.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Nothing, in the pieces that files are filled with.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// What must be free before anything is written: more than the index grows by when it takes over what waits for it.
const RESERVE_BYTES: u64 = 256 << 20;
/// Password hashes, keys of apps and personal data are inside: nobody but the owner may look.
const FOLDER_MODE: u32 = 0o700;
/// The same for files.
pub(super) const FILE_MODE: u32 = 0o600;
/// What the group and all others may do.
const FOR_OTHERS: u32 = 0o077;

/// One folder of files.
pub(super) trait Disk: Send + Sync + 'static {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// How many bytes a file has.
    fn size(&self, name: &str) -> io::Result<u64>;
    /// At most so many bytes of a file from an offset on; fewer only at its end.
    fn read_at(&self, name: &str, offset: u64, most: usize) -> io::Result<Vec<u8>>;
    /// A whole file, which is small.
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
    /// "fsyncgate", 2018); what was read of an index that lacks something is in memory. A restart reads what is there.
    /// Returns only in tests.
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
    /// A folder as it is; it may be somebody else's.
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the folder if it is not there.
    pub(super) fn made(path: &Path) -> io::Result<Self> {
        make(path)?;
        Ok(Self::at(path))
    }

    /// Makes the folder if it is not there; if it is, nobody but its owner may look into it from now on.
    pub(super) fn private(path: &Path) -> io::Result<Self> {
        make_private(path)?;
        Ok(Self::at(path))
    }
}

/// Makes a folder that its owner alone may look into, and those above it.
pub(super) fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// The same; one that is there is closed to everybody else.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    make(path)?;
    let is_open = fs::metadata(path)?.permissions().mode() & FOR_OTHERS != 0;
    if is_open {
        tracing::warn!(folder = %path.display(), "others could look into the folder; now its owner alone can");
        fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))?;
    }
    Ok(())
}

/// A new, empty file that its owner alone may read.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(path)
}

/// Copies a file, whoever may read it; the copy may be read by its owner alone.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<File> {
    let mut file = create(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    Ok(file)
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

    fn read_at(&self, name: &str, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let (file, mut bytes, mut length) = (File::open(self.0.join(name))?, vec![0; most], 0);
        while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(&file, rest, offset + length as u64) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(create(&self.0.join(name))?))
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
        tracing::error!(why, "the store cannot go on; the process ends, a restart reads what is there");
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
