//! Values out of columns.

use jiff::Timestamp;

use crate::error::IdentityError;

/// An instant out of `column`.
pub(crate) fn instant(microseconds: i64, column: &'static str) -> Result<Timestamp, IdentityError> {
    Timestamp::from_microsecond(microseconds).map_err(|_| IdentityError::unknown_value(column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DatabaseError;

    #[test]
    fn a_value_outside_its_column_is_named_and_not_guessed() {
        let error = instant(i64::MAX, "users.created_at").unwrap_err();
        let IdentityError::Database(DatabaseError::Value { column }) = error else {
            panic!("{error}")
        };
        assert_eq!(column, "users.created_at");
    }
}
