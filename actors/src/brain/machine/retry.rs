//! What a persona makes of an error: it reads it, and mends what it names; or tries the same again.

use events::{CallId, Intent};
use serde_json::{Map, Value};

use super::{Attempt, Machine};
use crate::brain::PlannedCall;
use crate::brain::arguments::is_id;
use crate::brain::mistakes::names_field;
use crate::brain::schema::Schema;

impl Machine<'_> {
    /// The attempt once more, in the light of `message`.
    pub(super) fn again(&self, attempt: &Attempt, call_id: &CallId, message: &str) -> Attempt {
        let mut again = attempt.clone();
        again.tries += 1;
        if attempt.call.intent == Intent::Valid {
            if let Some(mended) = self.mended(attempt, message) {
                again.arguments = mended;
            }
            again.call = again.as_meant(Some(call_id.clone()));
        } else if attempt
            .slip_fields
            .iter()
            .any(|field| names_field(message, field))
        {
            // The message says where it went wrong, so the newcomer sends what it meant in the first place.
            again.slip = None;
            again.slip_fields.clear();
            again.call = again.as_meant(Some(call_id.clone()));
        } else {
            again.call = PlannedCall {
                retry_of: Some(call_id.clone()),
                unsent: None,
                ..attempt.call.clone()
            };
        }
        again
    }

    /// The arguments with the field the message names done differently; `None` when it names none we can change.
    fn mended(&self, attempt: &Attempt, message: &str) -> Option<Map<String, Value>> {
        let tool = self.tool(&attempt.tool)?;
        let schema = Schema::root(&tool.input_schema)?;
        let branch = schema.branches().into_iter().next()?;
        let (field, _) = branch
            .properties()
            .into_iter()
            .find(|(field, _)| names_field(message, field))?;
        let mut mended = attempt.arguments.clone();
        let is_required = branch.required().contains(&field);
        if mended.contains_key(&field) && !is_required {
            mended.shift_remove(&field);
            return Some(mended);
        }
        let failed: Vec<String> = mended
            .get(&field)
            .filter(|_| is_id(&field))
            .and_then(Value::as_str)
            .map(str::to_owned)
            .into_iter()
            .collect();
        let targets = self.targets(tool, attempt.goal.act, &failed);
        let mut dice = self
            .origin
            .dice(&format!("attempt {} try {}", attempt.number, attempt.tries));
        let value = self
            .writer(tool, &targets, None, 0.0)
            .property(&tool.input_schema, &field, &mut dice)?;
        mended.insert(field, value);
        Some(mended)
    }
}
