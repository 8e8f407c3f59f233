//! The spaces a persona shares with others, as a person learns of them: from the public interface, with its own token.

use std::time::Duration;

use events::{PersonaId, SpaceId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::brain::SpaceView;
use crate::login::causes;
use crate::stage::Stage;

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Of 256 ticks, how many are lived in a shared space by somebody who has one.
const SHARED_OF_256: u8 = 100;
/// The type of a space that is nobody else's.
const PERSONAL: &str = "personal";

/// A space that is shared with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedSpace {
    pub(crate) id: SpaceId,
    /// What a brain is told of it.
    pub(crate) view: SpaceView,
    /// The other members, personas or not.
    pub(crate) others: Vec<PersonaId>,
}

/// Somebody in a space.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    user_id: PersonaId,
    name: String,
}

/// A space in the persona's list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Listed {
    id: SpaceId,
    name: String,
    #[serde(rename = "type")]
    space_type: String,
}

#[derive(Deserialize)]
struct List {
    spaces: Vec<Listed>,
}

#[derive(Deserialize)]
struct Shown {
    members: Vec<Member>,
}

/// The shared space that tick `number` of the persona is lived in; `None` for its own.
///
/// # Errors
/// Why nobody knows, for a person to read.
pub(crate) async fn of_tick(
    stage: &Stage,
    token: &SecretString,
    persona_id: &PersonaId,
    email: &str,
    number: u64,
) -> Result<Option<SharedSpace>, String> {
    if !is_shared(stage.settings.seed, email, number) {
        return Ok(None);
    }
    let List { mut spaces } = ask(stage, token, "/api/v1/spaces").await?;
    spaces.retain(|space| space.space_type != PERSONAL);
    // By name: a fresh machine gives ids anew.
    spaces.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    let Some(chosen) = pick(stage.settings.seed, email, number, &spaces) else {
        return Ok(None);
    };
    let Shown { mut members } = ask(stage, token, &format!("/api/v1/spaces/{}", chosen.id)).await?;
    members.retain(|member| member.user_id != *persona_id);
    let (others, names) = members
        .into_iter()
        .map(|member| (member.user_id, member.name))
        .unzip();
    let view = SpaceView {
        name: chosen.name.clone(),
        space_type: chosen.space_type.clone(),
        others: names,
    };
    let id = chosen.id.clone();
    Ok(Some(SharedSpace { id, view, others }))
}

/// Whether a tick is lived in a shared space: by seed, persona and number alone. The first visit is to one's own.
fn is_shared(seed: u64, email: &str, number: u64) -> bool {
    number > 1 && chance(seed, email, number, "shared")[0] < SHARED_OF_256
}

fn pick<'s>(seed: u64, email: &str, number: u64, spaces: &'s [Listed]) -> Option<&'s Listed> {
    let at = usize::from(chance(seed, email, number, "which")[0]);
    spaces.get(at.checked_rem(spaces.len())?)
}

fn chance(seed: u64, email: &str, number: u64, label: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(seed.to_be_bytes())
        .chain_update(number.to_be_bytes())
        .chain_update(label.as_bytes())
        .chain_update([0])
        .chain_update(email.as_bytes())
        .finalize()
        .into()
}

async fn ask<T: DeserializeOwned>(stage: &Stage, token: &SecretString, path: &str) -> Result<T, String> {
    let request = async {
        let url = format!("{}{path}", stage.settings.base_url);
        let response = stage
            .http
            .get(url)
            .bearer_auth(token.expose_secret())
            .send()
            .await
            .map_err(|error| causes(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{path} was answered with {status}"));
        }
        let body = response.bytes().await.map_err(|error| causes(&error))?;
        // The text of a parse error can quote the body: only the place is told.
        serde_json::from_slice(&body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("{path} answered something else: line {line} column {column}")
        })
    };
    let answer = stage.within(ANSWER_WITHIN, request).await;
    let answer = answer.unwrap_or_else(|| {
        let seconds = ANSWER_WITHIN.as_secs();
        Err(format!("{path} was not answered within {seconds} s"))
    });
    answer.map_err(|reason| format!("the persona's spaces are not known: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::testing::id;

    fn listed(name: &str) -> Listed {
        Listed {
            id: id(name),
            name: name.to_owned(),
            space_type: "team".to_owned(),
        }
    }

    #[test]
    fn the_first_visit_is_to_ones_own_space_and_some_of_the_others_to_a_shared_one() {
        let shared: Vec<u64> = (1..=1_000)
            .filter(|number| is_shared(7, "anna@mana.test", *number))
            .collect();
        assert!((300..500).contains(&shared.len()), "{}", shared.len());
        assert_ne!(shared[0], 1);
        let of = |seed, email| (1..200).map(move |number| is_shared(seed, email, number));
        let anna: Vec<bool> = of(7, "anna@mana.test").collect();
        assert!(of(7, "anna@mana.test").eq(anna.iter().copied()));
        assert!(of(8, "anna@mana.test").ne(anna.iter().copied()));
        assert!(of(7, "ben@mana.test").ne(anna.iter().copied()));
    }

    #[test]
    fn each_space_has_its_turn_and_no_space_is_none() {
        let spaces = ["a", "b", "c"].map(listed);
        let mut seen: Vec<&str> = (1..60)
            .filter_map(|number| Some(pick(7, "anna@mana.test", number, &spaces)?.name.as_str()))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, ["a", "b", "c"]);
        assert_eq!(pick(7, "anna@mana.test", 1, &[]), None);
    }
}
