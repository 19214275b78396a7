//! Large things with a name: a folder on this machine by default, another store of objects for several nodes.

use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Name;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutPayload};

use super::{StoreError, disk};
use crate::kernel::clock::Clock;

/// Blobs by name. Clones share the place.
#[derive(Debug, Clone)]
pub struct Blobs(Arc<dyn ObjectStore>);

impl Blobs {
    /// Blobs in this folder, which is made if it is not there; its owner alone may look into it.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn in_folder(folder: &Path) -> Result<Self, StoreError> {
        let failed = |error: String| StoreError::Io(format!("{}: {error}", folder.display()));
        disk::make_private(folder).map_err(|error| failed(error.to_string()))?;
        let place = LocalFileSystem::new_with_prefix(folder).map_err(|error| failed(error.to_string()))?;
        Ok(Self(Arc::new(place.with_fsync(true).with_automatic_cleanup(true))))
    }

    /// Keeps these bytes under this name, in place of what was there.
    ///
    /// # Errors
    /// When the name is none, or the place takes no more.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.0.put(&parse(name)?, PutPayload::from(bytes)).await.map(drop).map_err(failed)
    }

    /// The bytes under this name.
    ///
    /// # Errors
    /// When the name is none, or the place fails.
    pub async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.0.get(&parse(name)?).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether there is something under this name.
    ///
    /// # Errors
    /// When the name is none, or the place fails.
    pub async fn has(&self, name: &str) -> Result<bool, StoreError> {
        match self.0.head(&parse(name)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// The names in a folder of what is at least so old by this machine's clock, one after the other: those of one folder come
    /// together. The file system's clock may be a little ahead of ours: what it says is yet to come is zero seconds old.
    ///
    /// # Errors
    /// When the name is none; and instead of a name, when the place fails.
    pub fn list(
        &self,
        folder: &str,
        age_seconds: u64,
    ) -> Result<impl Stream<Item = Result<String, StoreError>> + use<>, StoreError> {
        let now = SystemTime::from(Clock::system().now());
        let age = move |blob: &ObjectMeta| now.duration_since(blob.last_modified.into()).unwrap_or_default();
        let is_old = move |blob: &ObjectMeta| age(blob) >= Duration::from_secs(age_seconds);
        let blobs = self.0.list(Some(&parse(folder)?));
        Ok(blobs
            .try_filter_map(move |blob| ready(Ok(is_old(&blob).then(|| blob.location.to_string()))))
            .map_err(failed))
    }

    /// Removes what is under this name; nothing there is fine.
    ///
    /// # Errors
    /// When the name is none, or the place fails.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        match self.0.delete(&parse(name)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn parse(name: &str) -> Result<Name, StoreError> {
    Name::parse(name).map_err(|error| StoreError::Io(format!("{name:?} is no name of a blob: {error}")))
}

fn failed(error: object_store::Error) -> StoreError {
    StoreError::Io(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn names_come_one_by_one_and_a_folder_goes_with_the_last_of_its_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path()).unwrap();
        for name in ["avatars/a/1", "avatars/a/2", "avatars/b/1"] {
            blobs.put(name, vec![1]).await.unwrap();
        }
        let mut names: Vec<String> = blobs.list("avatars", 0).unwrap().try_collect().await.unwrap();
        names.sort();
        assert_eq!(names, ["avatars/a/1", "avatars/a/2", "avatars/b/1"]);
        assert_eq!(blobs.list("avatars", 60).unwrap().try_collect::<Vec<_>>().await.unwrap(), [""; 0]);
        let ahead = SystemTime::from(Clock::system().now()) + Duration::from_secs(1);
        std::fs::File::open(folder.path().join("avatars/b/1")).unwrap().set_modified(ahead).unwrap();
        let all: Vec<String> = blobs.list("avatars", 0).unwrap().try_collect().await.unwrap();
        assert_eq!(all.len(), 3, "by a clock that is ahead, too");
        blobs.remove("avatars/a/1").await.unwrap();
        assert!(folder.path().join("avatars/a").exists());
        blobs.remove("avatars/a/2").await.unwrap();
        assert!(!folder.path().join("avatars/a").exists() && folder.path().join("avatars/b").exists());
    }

    #[tokio::test]
    async fn a_blob_is_kept_replaced_and_removed_and_no_name_leaves_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(&folder.path().join("blobs")).unwrap();
        assert_eq!(blobs.load("avatars/1").await.unwrap(), None);
        assert!(!blobs.has("avatars/1").await.unwrap());
        blobs.put("avatars/1", vec![1, 2]).await.unwrap();
        assert!(blobs.has("avatars/1").await.unwrap());
        blobs.put("avatars/1", vec![3]).await.unwrap();
        assert_eq!(blobs.load("avatars/1").await.unwrap(), Some(vec![3]));
        blobs.remove("avatars/1").await.unwrap();
        blobs.remove("avatars/1").await.unwrap();
        assert_eq!(blobs.load("avatars/1").await.unwrap(), None);
        assert!(blobs.put("../outside", vec![1]).await.is_err());
        assert!(!folder.path().join("outside").exists());
        let mode = std::fs::metadata(folder.path().join("blobs")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "nobody else may look at them");
    }
}
