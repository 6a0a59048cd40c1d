//! What must be on the machine before anything is built; installed when we are root, else one line to type.
//!
//! Installs libraries and tools only, nothing that starts a daemon.

use anyhow::{Result, bail};
use std::process::{Command, Stdio};

struct Need {
    what: &'static str,
    present: fn() -> bool,
    package: &'static str,
}

const NEEDS: &[Need] = &[
    Need { what: "a C compiler", present: || answers("cc", &["--version"]), package: "gcc" },
    Need { what: "a C++ compiler", present: || answers("c++", &["--version"]), package: "g++" },
    Need { what: "make", present: || answers("make", &["--version"]), package: "make" },
    Need { what: "pkg-config", present: || answers("pkg-config", &["--version"]), package: "pkg-config" },
    Need {
        what: "OpenSSL's headers",
        present: || answers("pkg-config", &["--exists", "openssl"]),
        package: "libssl-dev",
    },
    Need { what: "zlib's headers", present: || answers("pkg-config", &["--exists", "zlib"]), package: "zlib1g-dev" },
    Need { what: "Java 17 or newer", present: || answers("java", &["-version"]), package: "openjdk-17-jdk-headless" },
    Need { what: "Maven", present: || answers("mvn", &["-v"]), package: "maven" },
    Need { what: "openssl", present: || answers("openssl", &["version"]), package: "openssl" },
];

/// As [`check_quietly`], and says so when all is present.
pub fn check() -> Result<()> {
    check_quietly()?;
    println!("prerequisites: all present ({})", NEEDS.iter().map(|need| need.what).collect::<Vec<_>>().join(", "));
    Ok(())
}

/// Checks all needs; installs what is missing when root, else says the one line to type.
pub fn check_quietly() -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|need| need.what).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let install = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !is_root() || !answers("apt-get", &["--version"]) {
        bail!("missing: {names}; type: sudo {install}");
    }
    eprintln!("prerequisites: missing {names}; installing: {install}");
    let updated = Command::new("apt-get").args(["update", "-q"]).stdout(Stdio::null()).status()?.success();
    let installed = Command::new("apt-get")
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(&packages)
        // The output belongs to whoever needs the packages.
        .stdout(std::io::stderr())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()?
        .success();
    if !updated || !installed {
        bail!("the package client failed; type: {install}");
    }
    match missing.iter().find(|need| !(need.present)()) {
        Some(need) => bail!("{} is still missing after installing {}", need.what, need.package),
        None => Ok(()),
    }
}

/// Whether the program is there and ends with success.
pub fn answers(program: &str, arguments: &[&str]) -> bool {
    let quiet =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
