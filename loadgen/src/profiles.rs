//! Shipped profiles by name, others by path.

use anyhow::{Context, Result, bail};
use std::path::Path;
use towpath_scenarios::load::{Profile, parse};

/// The shipped profiles.
pub const SHIPPED: [(&str, &str); 5] = [
    ("ordinary-day", include_str!("../profiles/ordinary-day.toml")),
    ("peak-sale", include_str!("../profiles/peak-sale.toml")),
    ("prompt-sound-storm", include_str!("../profiles/prompt-sound-storm.toml")),
    ("backlog-drain", include_str!("../profiles/backlog-drain.toml")),
    ("steady", include_str!("../profiles/steady.toml")),
];

/// A shipped profile by its name, or a file by its path.
///
/// # Errors
/// There is none of that name, or it says what cannot be.
pub fn named(name: &str) -> Result<Profile> {
    if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        let alone = |_: &str| Err("shipped profiles stand alone".to_owned());
        return Ok(parse(name, text, &alone)?);
    }
    let path = Path::new(name);
    if !name.contains('/') && path.extension().is_none() {
        let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        let near = names
            .iter()
            .filter(|known| strsim::jaro_winkler(known, name) > 0.75)
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        match near {
            Some(near) => bail!("there is no profile `{name}`; did you mean `{near}`?"),
            None => bail!("there is no profile `{name}`; shipped: {}. A file is named by its path", names.join(", ")),
        }
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("profile {name} cannot be read"))?;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(name);
    let beside = |file: &str| std::fs::read_to_string(path.with_file_name(file)).map_err(|error| error.to_string());
    Ok(parse(stem, &text, &beside)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_is_sound() {
        for (name, _) in SHIPPED {
            let profile = named(name).unwrap();
            assert_eq!(profile.name, name);
            assert!(!profile.levels.is_empty(), "{name} judges nothing");
        }
    }

    #[test]
    fn a_mistyped_name_is_suggested() {
        assert!(named("peek-sale").unwrap_err().to_string().contains("did you mean `peak-sale`?"));
    }
}
