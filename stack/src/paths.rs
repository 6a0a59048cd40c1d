//! Where things lie: the user's cache folder, the folder of test stacks, the folder of the stack started by hand.
//!
//! Nothing here creates more than an empty folder, and nothing here deletes.

use anyhow::{Context, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The installed services: `$XDG_CACHE_HOME/towpath`, else `~/.cache/towpath`.
///
/// # Errors
/// When neither variable names a home.
pub fn cache_dir() -> Result<PathBuf> {
    Ok(xdg("XDG_CACHE_HOME", ".cache")?.join("towpath"))
}

/// The data of the one stack started by hand: `$XDG_STATE_HOME/towpath/stack`, else `~/.local/state/towpath/stack`.
///
/// # Errors
/// When neither variable names a home.
pub fn by_hand_dir() -> Result<PathBuf> {
    Ok(xdg("XDG_STATE_HOME", ".local/state")?.join("towpath").join("stack"))
}

/// The folder under which tests start their stacks, one subfolder each: `$TOWPATH_STACK_DIR`, else `stacks` in the
/// workspace's target folder, so that `cargo clean` takes it along.
#[must_use]
pub fn stacks_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("TOWPATH_STACK_DIR") {
        return PathBuf::from(dir);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = workspace.canonicalize().unwrap_or(workspace);
    workspace.join("target").join("stacks")
}

fn xdg(variable: &str, below_home: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(variable).filter(|v| Path::new(v).is_absolute()) {
        return Ok(PathBuf::from(dir));
    }
    let home = std::env::var_os("HOME")
        .filter(|v| !v.is_empty())
        .with_context(|| format!("neither {variable} nor HOME is set: set HOME to your home folder"))?;
    Ok(PathBuf::from(home).join(below_home))
}

/// Whether a user who owns nothing here can reach what lies in `path`: every existing folder on the way to it lets
/// others
/// pass. Elasticsearch started by root runs as such a user.
#[must_use]
pub fn open_to_others(path: &Path) -> bool {
    path.ancestors()
        .filter_map(|dir| std::fs::metadata(dir).ok())
        .all(|meta| !meta.is_dir() || meta.permissions().mode() & 0o001 != 0)
}

/// The folder for what another user than root must read (see [`open_to_others`]).
#[must_use]
pub fn system_cache_dir() -> PathBuf {
    PathBuf::from("/var/cache/towpath")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_on_the_way_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(open_to_others(&inner), "all folders are open");
        std::fs::set_permissions(dir.path().join("a"), std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(!open_to_others(&inner), "one folder on the way is closed");
    }
}
