//! The newest search of each kind on this machine, kept in the user's cache folder: what `plan` takes when it is told
//! of no runs. Another machine's costs are not this one's, so nothing is shipped.
//!
//! Must not read what is in them.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Keeps the output of a `find-max` of this kind (`writes`, `queries`, `both`) in `folder`, instead of the one before.
///
/// # Errors
/// The folder cannot be written.
pub fn keep(folder: &Path, of: &str, json: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("find-max-{of}.json"));
    // Whole or not at all: the old one may be read just now.
    let new = path.with_extension("new");
    fs::write(&new, json)
        .and_then(|()| fs::rename(&new, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// What is kept in `folder`.
///
/// # Errors
/// Nothing is.
pub fn kept(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = ["writes", "queries", "both"].map(|of| folder.join(format!("find-max-{of}.json")));
    let found: Vec<PathBuf> = paths.into_iter().filter(|path| path.exists()).collect();
    if found.is_empty() {
        bail!(
            "nothing was measured on this machine yet: run `cargo load find-max --of writes --stack` and `--of queries` \
             first, or name runs of yours by --runs"
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_kind_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("load");
        assert!(kept(&at).unwrap_err().to_string().contains("find-max --of writes"));
        keep(&at, "queries", "1").unwrap();
        keep(&at, "both", "2").unwrap();
        let newest = keep(&at, "queries", "3").unwrap();
        assert_eq!(kept(&at).unwrap().len(), 2);
        assert_eq!(fs::read_to_string(newest).unwrap(), "3");
    }
}
