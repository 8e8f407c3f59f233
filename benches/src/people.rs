//! Catalogs of any size: the built-in cast over and over, each under a name and an email of its own.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// The built-in cast.
const CAST: &str = include_str!("../../catalog/personas.json");

/// Writes a catalog of `count` personas to `file`. None has partners, so that each acts by itself; `change` has the last
/// word on each.
///
/// # Errors
/// When the file cannot be written.
pub fn write_catalog(file: &Path, count: usize, change: impl Fn(usize, &mut Value)) -> anyhow::Result<()> {
    let cast: Value = serde_json::from_str(CAST)?;
    // Those that are off by default bring edge input, and are not what a cast of any size is made of.
    let is_on = |persona: &&Value| persona["enabled"] != json!(false);
    let cast = cast["personas"].as_array().into_iter().flatten().filter(is_on);
    let personas: Vec<Value> = cast
        .cycle()
        .take(count)
        .enumerate()
        .map(|(number, persona)| {
            let mut persona = persona.clone();
            let text = |field: &str| persona[field].as_str().unwrap_or_default().to_owned();
            let (email, name) = (text("email"), text("name"));
            persona["email"] = json!(email.replace('@', &format!("-{number}@")));
            persona["name"] = json!(format!("{name} {number}"));
            persona["partners"] = json!([]);
            change(number, &mut persona);
            persona
        })
        .collect();
    fs::write(file, json!({ "personas": personas }).to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_somebody_else_and_nobody_has_partners() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("catalog.json");
        write_catalog(&file, 25, |_, persona| persona["tickCadence"] = json!("daily")).unwrap();
        let written: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let personas = written["personas"].as_array().unwrap();
        let emails: std::collections::BTreeSet<_> = personas
            .iter()
            .map(|persona| persona["email"].to_string())
            .collect();
        assert_eq!((personas.len(), emails.len()), (25, 25));
        assert!(emails.contains("\"persona.anna-20@mana.test\""), "{emails:?}");
        assert!(
            personas
                .iter()
                .all(|persona| persona["partners"] == json!([]) && persona["tickCadence"] == "daily")
        );
    }
}
