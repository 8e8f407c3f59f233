//! Taking an account out of the spaces it shared, which go on without it.

use crate::accounts::Account;
use crate::database::{Tx, query};
use crate::error::IdentityError;
use crate::memberships;
use crate::spaces::slug;

/// What stands in a space's name where the name of somebody deleted stood.
const SOMEBODY_GONE: &str = "(gone)";

/// Takes the account out of what is left, and gives each space that lost its owner to the next in line.
pub(super) async fn leave_shared_spaces(tx: &mut Tx, account: &Account) -> Result<(), IdentityError> {
    forget_name(tx, account).await?;
    query(
        "-- leave_shared_spaces
         DELETE FROM space_members
         WHERE
             user_id = $1",
    )
    .bind(account.id.as_str())
    .execute(&mut *tx)
    .await?;
    query(
        "-- give_ownerless_spaces_to_the_next_in_line
         UPDATE space_members
         SET
             role = 'owner'
         WHERE
             space_id NOT IN (
                 SELECT owners.space_id
                 FROM space_members AS owners
                 WHERE
                     owners.role = 'owner'
             )
             AND user_id = (
                 SELECT line.user_id
                 FROM space_members AS line
                 WHERE
                     line.space_id = space_members.space_id
                 ORDER BY
                     line.role = 'admin' DESC,
                     line.joined_at,
                     line.user_id
                 LIMIT 1
             )",
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes the account's name out of the names of its spaces: two partners' space is named after both.
async fn forget_name(tx: &mut Tx, account: &Account) -> Result<(), IdentityError> {
    for space in memberships::by_user(&mut *tx, &account.id).await? {
        let name = without(&space.name, &account.name);
        if name == space.name {
            continue;
        }
        query(
            "-- rename_space
             UPDATE spaces
             SET
                 name = $1,
                 slug = $2
             WHERE
                 id = $3",
        )
        .bind(&name)
        .bind(slug(&name, &space.space_id))
        .bind(space.space_id.as_str())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// `text` with `name` replaced where it stands as whole words.
fn without(text: &str, name: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    let is_inside_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    while let Some(at) = rest.find(name).filter(|_| !name.is_empty()) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        kept.push_str(before);
        let is_part = is_inside_word(kept.chars().next_back()) || is_inside_word(after.chars().next());
        kept.push_str(if is_part { name } else { SOMEBODY_GONE });
        rest = after;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_out_where_it_stands_as_whole_words_only() {
        for (text, name, wanted) in [
            ("Anna & Ben", "Anna", "(gone) & Ben"),
            ("Ben & Anna", "Anna", "Ben & (gone)"),
            ("Annals of Anna's house", "Anna", "Annals of (gone)'s house"),
            ("Joanna & Anna Lena", "Anna Lena", "Joanna & (gone)"),
            ("Anna Anna", "Anna", "(gone) (gone)"),
            ("The Team", "Anna", "The Team"),
            ("日本 & 日", "日", "日本 & (gone)"),
        ] {
            assert_eq!(without(text, name), wanted, "{name} in {text}");
        }
    }
}
