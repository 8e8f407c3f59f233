//! The app was deployed anew.

use events::DeployMarked;

use super::Place;
use crate::column::bigint;
use crate::error::FoldError;
use crate::schema::Deploy;
use crate::working_set::WorkingSet;

/// The first mark of a name stands; the log's guard lets no second one in.
pub(super) fn marked(
    set: &mut WorkingSet,
    place: &Place<'_>,
    marked: &DeployMarked,
) -> Result<(), FoldError> {
    place.is_about_deploy(&marked.name)?;
    if set.deploys.get(marked.name.as_str())?.is_none() {
        set.deploys.put(Deploy {
            name: marked.name.to_string(),
            note: marked.note.clone(),
            deployed_at: marked.deployed_at.as_microsecond(),
            stream_seq: bigint(place.seq.0),
        });
    }
    Ok(())
}
