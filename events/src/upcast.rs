//! Old data made new: pure steps from one version of a type's data to the next, on JSON, before the typed read.
//!
//! **To change a type**: raise its version in `event.rs`, write the step here, and keep the old golden file in
//! `tests/golden`. Tests hold the three together.

use serde_json::Value;

use crate::codec::CodecError;

/// One step: raises the data of a type from one version to the next.
#[derive(Debug, Clone, Copy)]
pub struct Upcaster {
    /// The type.
    pub type_name: &'static str,
    /// The version it begins at.
    pub from: u32,
    /// The data of the next version. It is given what was written and nothing else: no clock, no chance, no lookup. What
    /// is not as expected it leaves as it is, for the typed read to refuse.
    pub raise: fn(Value) -> Value,
}

/// Every step there is.
pub(crate) const UPCASTERS: &[Upcaster] = &[
    // The request's id, tokens written to a cache, and the error are new.
    only_more("ModelCalled", 1),
    // Who rated, what was said before the stars, and why they do not count are new.
    only_more("Rated", 1),
    // When a deferred tick's persona is due again is new, and two outcomes are.
    only_more("TickFinished", 1),
    // The hash that knows no ids is new.
    only_more("ToolCalled", 1),
];

/// A step to a version that only added what may be absent.
const fn only_more(type_name: &'static str, from: u32) -> Upcaster {
    Upcaster {
        type_name,
        from,
        raise: |data| data,
    }
}

/// Raises `data` of `type_name` step by step from version `from` to version `to`.
///
/// # Errors
/// [`CodecError::NoUpcaster`] names the version from which no step leads on.
pub(crate) fn raise(
    upcasters: &[Upcaster],
    type_name: &str,
    from: u32,
    to: u32,
    data: Value,
) -> Result<Value, CodecError> {
    (from..to).try_fold(data, |data, version| {
        let step = upcasters
            .iter()
            .find(|step| step.type_name == type_name && step.from == version);
        step.map(|step| (step.raise)(data))
            .ok_or_else(|| CodecError::NoUpcaster {
                type_name: type_name.to_owned(),
                version,
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use serde_json::json;

    /// What is wrong with `upcasters` for types at `versions`.
    fn faults(upcasters: &[Upcaster], versions: &[(&str, u32)]) -> Vec<String> {
        let mut faults = Vec::new();
        for (type_name, version) in versions {
            for from in 1..*version {
                let steps = upcasters
                    .iter()
                    .filter(|step| step.type_name == *type_name && step.from == from);
                match steps.count() {
                    1 => {}
                    count => faults.push(format!("{type_name} v{from}: {count} steps")),
                }
            }
        }
        for step in upcasters {
            let is_wanted = versions.iter().any(|(type_name, version)| {
                step.type_name == *type_name && (1..*version).contains(&step.from)
            });
            if !is_wanted {
                faults.push(format!("{} v{}: leads nowhere", step.type_name, step.from));
            }
        }
        faults
    }

    #[test]
    fn one_step_leads_from_each_older_version_of_each_type_to_the_next_and_none_elsewhere() {
        assert_eq!(faults(UPCASTERS, Event::TYPES), Vec::<String>::new());
    }

    const fn step(type_name: &'static str, from: u32) -> Upcaster {
        Upcaster {
            type_name,
            from,
            raise: |data| json!({ "was": data }),
        }
    }

    #[test]
    fn a_missing_a_double_and_a_stray_step_are_noticed() {
        let steps = [step("Moon", 1), step("Sun", 2), step("Sun", 2), step("Star", 1)];
        assert_eq!(
            faults(&steps, &[("Moon", 3), ("Sun", 3)]),
            [
                "Moon v2: 0 steps",
                "Sun v1: 0 steps",
                "Sun v2: 2 steps",
                "Star v1: leads nowhere"
            ]
        );
    }

    #[test]
    fn steps_are_taken_one_after_the_other_and_a_gap_is_named() {
        let steps = [step("Moon", 2), step("Moon", 1), step("Sun", 1)];
        assert_eq!(
            raise(&steps, "Moon", 1, 3, json!(7)).unwrap(),
            json!({ "was": { "was": 7 } })
        );
        assert_eq!(raise(&steps, "Moon", 3, 3, json!(7)).unwrap(), json!(7));
        let gap = raise(&steps, "Moon", 1, 4, json!(7)).unwrap_err();
        assert_eq!(gap.to_string(), "Moon v3 has no upcaster");
    }
}
