//! Ends a test's services when their owner has gone without doing so: interrupted, killed, or holding its stack in a
//! static.
//!
//! The guard is a shell that waits on a pipe whose other end only the owner has. It finds the services by the marker in
//! their
//! environment. Should the guard be killed too, the next start ends what is left (`leftovers`).

use crate::leftovers::GUARD;
use crate::process::{Identity, MARKER};
use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `$1` is the beginning of the marker. `read` ends when the pipe does; what is killed may be gone already.
const SCRIPT: &str = r#"read -r nothing
for file in $(grep -lzsF -e "$1" /proc/[0-9]*/environ); do
  pid=${file#/proc/}
  kill -KILL "${pid%/environ}" 2>/dev/null
done
exit 0"#;

/// A running guard; dropping it lets it look once more and end.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// Of the stack in `folder`, which is its true path.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let marker = format!("{MARKER}={}/", folder.display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "towpath-stack-guard", &marker]).process_group(0).current_dir("/");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.context("cannot start /bin/sh, which ends the services should this program be killed")?;
        let identity = i32::try_from(child.id()).ok().and_then(Identity::of);
        std::fs::write(folder.join(GUARD), serde_json::to_string(&identity)?)?;
        Ok(Self(child))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("the guard of a stack cannot be waited for: {error}");
        }
    }
}
