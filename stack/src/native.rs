//! How a program unpacked from Debian packages is started: by the loader and the libraries unpacked with it, so that it
//! does not matter how old the machine's own are.

use std::path::{Path, PathBuf};

/// A folder of unpacked packages.
#[derive(Debug, Clone)]
pub struct Unpacked {
    root: PathBuf,
    loader: PathBuf,
    libraries: String,
}

impl Unpacked {
    /// Of packages unpacked below `root`; both layouts are looked at, with `/lib` merged into `/usr/lib` (sid) or not.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        let (triple, loader) = match std::env::consts::ARCH {
            "aarch64" => ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
            _ => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
        };
        let folders = [root.join("usr/lib").join(triple), root.join("lib").join(triple)];
        let loader = folders.iter().map(|dir| dir.join(loader)).find(|path| path.exists());
        let list: Vec<String> = folders.iter().map(|dir| dir.display().to_string()).collect();
        Self { root: root.to_path_buf(), loader: loader.unwrap_or_default(), libraries: list.join(":") }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The program to start, the loader.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.loader
    }

    /// The first arguments for the loader: library path and the real program, given relative to the root.
    #[must_use]
    pub fn arguments(&self, program: &str) -> Vec<String> {
        vec!["--library-path".to_owned(), self.libraries.clone(), self.root.join(program).display().to_string()]
    }

    /// The same as one line for a shell.
    #[must_use]
    pub fn shell_line(&self, program: &str) -> String {
        let quoted: Vec<String> = self.arguments(program).iter().map(|argument| format!("\"{argument}\"")).collect();
        format!("\"{}\" {}", self.loader.display(), quoted.join(" "))
    }
}
