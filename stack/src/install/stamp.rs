//! The proof that an installed folder is complete and unchanged: a stamp file with every file's size, time and SHA-256.
//!
//! Each use compares sizes and times (some milliseconds for thousands of files) and hashes only what differs in time;
//! [`Stamp::check_fully`] hashes everything. A folder without a stamp was left by an interrupted install.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The stamp's file name, in the root of the installed folder.
const FILE: &str = ".towpath-stamp.json";

/// What was unpacked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// What was asked for: packages and versions, compared before the files are.
    pub recipe: String,
    /// What it resolved to, for people: package names with their versions.
    pub resolved: Vec<String>,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    size: u64,
    mtime: i64,
    sha256: String,
}

impl Stamp {
    /// Hashes all of `root` and writes its stamp.
    ///
    /// # Errors
    /// When a file cannot be read or the stamp cannot be written.
    pub fn write(root: &Path, recipe: &str, resolved: Vec<String>) -> Result<()> {
        let mut files = BTreeMap::new();
        for path in files_below(root)? {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let meta = path.metadata()?;
            files.insert(name, Entry { size: meta.size(), mtime: meta.mtime(), sha256: sha256(&path)? });
        }
        let stamp = Self { recipe: recipe.to_owned(), resolved, files };
        let text = serde_json::to_string(&stamp)?;
        std::fs::write(root.join(FILE), text).with_context(|| format!("cannot write {}", root.join(FILE).display()))
    }

    /// The stamp of `root`; `None` when it has none or one that cannot be read.
    #[must_use]
    pub fn read(root: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(root.join(FILE)).ok()?).ok()
    }

    /// Compares sizes and times; hashes a file whose time differs.
    ///
    /// # Errors
    /// Names the first file that is missing or changed.
    pub fn check(&self, root: &Path) -> Result<()> {
        self.compare(root, false)
    }

    /// Hashes every file.
    ///
    /// # Errors
    /// Names the first file that is missing or changed.
    pub fn check_fully(&self, root: &Path) -> Result<()> {
        self.compare(root, true)
    }

    fn compare(&self, root: &Path, fully: bool) -> Result<()> {
        for (name, entry) in &self.files {
            let path = root.join(name);
            let meta = path.metadata().with_context(|| format!("{} is missing", path.display()))?;
            let differs =
                meta.size() != entry.size || ((fully || meta.mtime() != entry.mtime) && sha256(&path)? != entry.sha256);
            if differs {
                bail!("{} is not the file that was installed", path.display());
            }
        }
        Ok(())
    }
}

/// The SHA-256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hexadecimal(&hasher.finalize()))
}

/// The SHA-256 of a text, in lower-case hexadecimal.
pub(super) fn sha256_of_text(text: &str) -> String {
    hexadecimal(&Sha256::digest(text))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Regular files below `root`, without following links and without the stamp itself.
fn files_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.file_name() != FILE {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_and_a_missing_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        std::fs::write(dir.path().join("bin/a"), "first").unwrap();
        std::fs::write(dir.path().join("b"), "second").unwrap();
        Stamp::write(dir.path(), "r", vec![]).unwrap();
        let stamp = Stamp::read(dir.path()).unwrap();
        stamp.check_fully(dir.path()).unwrap();

        let file = std::fs::File::options().write(true).open(dir.path().join("bin/a")).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        std::fs::write(dir.path().join("bin/a"), "fIrst").unwrap();
        file.set_modified(before).unwrap();
        stamp.check(dir.path()).expect("same size and time: only a full check can see it");
        assert!(stamp.check_fully(dir.path()).unwrap_err().to_string().contains("bin/a"));

        std::fs::write(dir.path().join("bin/a"), "longer than before").unwrap();
        assert!(stamp.check(dir.path()).unwrap_err().to_string().contains("bin/a"));
        std::fs::remove_file(dir.path().join("bin/a")).unwrap();
        assert!(stamp.check(dir.path()).unwrap_err().to_string().contains("missing"));
    }
}
