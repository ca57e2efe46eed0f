//! Where a cluster lives and whose it is: folders, their owner, the lock. See the parent for the layout.

use super::{ClusterError, Durability, OPEN_PARENT, file};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// Socket folders are here: the path of a socket may have about 100 bytes.
const SOCKET_PARENT: &str = "/tmp";
/// Their names begin so.
const SOCKET_PREFIX: &str = "sheaf-";

/// Whom the server runs as when started by root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Makes the cluster's folder, absolute and open for the server's user to pass through.
pub(super) fn own_folder(folder: &Path, user: Option<User>) -> Result<PathBuf, ClusterError> {
    fs::create_dir_all(folder).map_err(|source| file("make folder", folder, source))?;
    let folder = folder.canonicalize().map_err(|source| file("find folder", folder, source))?;
    if user.is_some() {
        let mode = fs::metadata(&folder).map_err(|source| file("read", &folder, source))?.permissions().mode();
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode | 0o011)).map_err(|source| file("open", &folder, source))?;
    }
    Ok(folder)
}

pub(super) fn lock(folder: &Path) -> Result<File, ClusterError> {
    let path = folder.join("lock");
    let lock = File::options().create(true).append(true).open(&path).map_err(|source| file("open", &path, source))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(ClusterError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(file("lock", &path, source)),
    }
}

/// Where the server's files are.
#[derive(Debug)]
pub(super) enum Data {
    /// In the cluster's folder, or behind its link; stays when the cluster ends.
    Kept(PathBuf),
    /// Outside the cluster's folder and of use to nobody else: goes when the cluster ends.
    Disposable(tempfile::TempDir),
}

impl Data {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Disposable(folder) => folder.path(),
        }
    }
}

/// `data` in the cluster's folder: a folder of the server's user, or a link to one that it can reach.
pub(super) fn data_folder(folder: &Path, user: Option<User>, durability: Durability) -> Result<Data, ClusterError> {
    let data = folder.join("data");
    let Some(user) = user else {
        return make_private(&data, None).map(|()| Data::Kept(data));
    };
    if let Ok(elsewhere) = fs::read_link(&data) {
        return make_private(&elsewhere, Some(user)).map(|()| Data::Kept(elsewhere));
    }
    if can_reach(user, folder) {
        return make_private(&data, Some(user)).map(|()| Data::Kept(data));
    }
    let outside = tempfile::Builder::new().prefix("sheaf-postgres-").tempdir_in(OPEN_PARENT);
    let outside = outside.map_err(|source| file("make folder in", Path::new(OPEN_PARENT), source))?;
    make_private(outside.path(), Some(user))?;
    if durability == Durability::Disposable {
        return Ok(Data::Disposable(outside));
    }
    let elsewhere = outside.keep();
    symlink(&elsewhere, &data).map_err(|source| file("link", &data, source))?;
    tracing::info!(data = %elsewhere.display(), "Postgres cannot run as root and its user cannot reach {}; its data are elsewhere", folder.display());
    Ok(Data::Kept(elsewhere))
}

/// A folder for its owner only, as Postgres demands of its data.
fn make_private(path: &Path, user: Option<User>) -> Result<(), ClusterError> {
    fs::create_dir_all(path).map_err(|source| file("make folder", path, source))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|source| file("restrict", path, source))?;
    give(path, user)
}

pub(super) fn socket_folder(user: Option<User>) -> Result<tempfile::TempDir, ClusterError> {
    let sockets = tempfile::Builder::new().prefix(SOCKET_PREFIX).tempdir_in(SOCKET_PARENT);
    let sockets = sockets.map_err(|source| file("make folder in", Path::new(SOCKET_PARENT), source))?;
    give(sockets.path(), user)?;
    Ok(sockets)
}

/// Removes the socket folder of a server that is gone, if it is one of ours.
pub(super) fn remove_socket_folder(folder: &Path) {
    let named_by_us = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SOCKET_PREFIX));
    if named_by_us && folder.parent() == Some(Path::new(SOCKET_PARENT)) {
        // a leftover is only untidy
        drop(fs::remove_dir_all(folder));
    }
}

fn give(path: &Path, user: Option<User>) -> Result<(), ClusterError> {
    let Some(user) = user else { return Ok(()) };
    chown(path, Some(user.uid), Some(user.gid)).map_err(|source| file("give to Postgres' user", path, source))
}

/// True if the user may pass through every folder down to `path`.
pub(super) fn can_reach(user: User, path: &Path) -> bool {
    path.ancestors().all(|folder| {
        fs::metadata(folder).is_ok_and(|meta| {
            let class = if meta.uid() == user.uid {
                0o100
            } else if meta.gid() == user.gid {
                0o010
            } else {
                0o001
            };
            meta.mode() & class != 0
        })
    })
}

/// The user that the server runs as, if we are root.
pub(super) fn unprivileged_user() -> Option<User> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = ["postgres", "nobody"].iter().find_map(|name| find_user(&passwd, name));
    Some(found.unwrap_or(User { uid: 65_534, gid: 65_534 }))
}

fn find_user(passwd: &str, name: &str) -> Option<User> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2).map(|field| field.parse::<i64>().ok());
    // macOS writes nobody's id as -2
    let mut next = || numbers.next()?.map(|id| id as u32);
    Some(User { uid: next()?, gid: next()? })
}
