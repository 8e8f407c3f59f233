//! Rows of folded tables as plain values, and what both databases need to know of their columns.

use std::collections::BTreeMap;
use std::hash::Hash;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::column;
use crate::database::{Cell, DbRow, Kind};
use crate::queries::CallResult;

/// One folded table.
#[derive(Debug)]
pub(crate) struct FoldedTable {
    pub(crate) name: &'static str,
    /// Columns that name a row, in the order of the primary key.
    pub(crate) key: &'static [&'static str],
    /// All columns in the order of the canonical row. Appending one changes every checksum of its table.
    pub(crate) columns: &'static [Column],
}

/// One column of a folded table.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

impl FoldedTable {
    /// All columns, qualified with `table`, for a `SELECT`.
    pub(crate) fn columns_of(&self, table: &str) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{table}.{}", column.name))
            .collect();
        columns.join(", ")
    }
}

/// A row of a folded table.
pub(crate) trait Row: Clone + Send + Sync + 'static {
    /// What names it.
    type Key: Clone + Eq + Hash + Ord + Send + Sync + std::fmt::Debug;
    const TABLE: FoldedTable;

    fn key(&self) -> Self::Key;
    /// Appends its columns in the table's order.
    fn into_cells(self, cells: &mut Vec<Cell>) -> Result<(), sqlx::Error>;
    /// Reads a result whose columns are in the table's order.
    fn read(row: &DbRow) -> Result<Self, sqlx::Error>;
}

/// What a column may hold.
pub(crate) trait Field: Sized {
    const KIND: Kind;
    fn into_cell(self) -> Result<Cell, sqlx::Error>;
    fn read(row: &DbRow, column: usize) -> Result<Self, sqlx::Error>;
}

macro_rules! fields {
    ($($type:ty: $kind:ident, $value:ident => $cell:expr;)+) => {$(
        impl Field for $type {
            const KIND: Kind = Kind::$kind;
            fn into_cell(self) -> Result<Cell, sqlx::Error> {
                let $value = self;
                Ok(Cell::$kind($cell))
            }
            fn read(row: &DbRow, column: usize) -> Result<Self, sqlx::Error> {
                row.try_get(column)
            }
        }
    )+};
}

fields! {
    i64: Int, value => Some(value);
    Option<i64>: Int, value => value;
    f64: Real, value => Some(value);
    Option<f64>: Real, value => value;
    String: Text, value => Some(storable(value));
    Option<String>: Text, value => value.map(storable);
}

/// Text as both databases can hold it: Postgres has no zero byte in text, so SQLite is not given one either.
fn storable(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

impl Field for CallResult {
    const KIND: Kind = Kind::Text;
    fn into_cell(self) -> Result<Cell, sqlx::Error> {
        Ok(Cell::Text(Some(self.as_str().to_owned())))
    }
    fn read(row: &DbRow, column: usize) -> Result<Self, sqlx::Error> {
        let word: String = row.try_get(column)?;
        serde_json::from_value(serde_json::Value::String(word)).map_err(|error| unreadable(column, error))
    }
}

/// The fields of a record as they stand. They are text in the table and values in a fold, which reads a record once a
/// batch and not once a change.
pub(crate) type RecordFields = BTreeMap<String, FieldState>;

/// The write that won a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FieldState {
    pub(crate) value: Value,
    /// The writer's time.
    pub(crate) at: Timestamp,
    /// Sequence of its commit. A database of before may not say.
    #[serde(default)]
    pub(crate) seq: i64,
    /// The sync client that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    /// Whether it came as plaintext and was sealed by the gateway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sealed_here: bool,
}

impl Field for RecordFields {
    const KIND: Kind = Kind::Text;
    fn into_cell(self) -> Result<Cell, sqlx::Error> {
        column::json_text(&self).map(|text| Cell::Text(Some(text)))
    }
    fn read(row: &DbRow, column: usize) -> Result<Self, sqlx::Error> {
        let text: &str = row.try_get(column)?;
        serde_json::from_str(text).map_err(|error| unreadable(column, error))
    }
}

fn unreadable(column: usize, error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_string(),
        source: Box::new(error),
    }
}

/// Declares the rows of folded tables: one struct each, and from its fields all that checksums, rebuild and the bulk
/// statements need to know.
macro_rules! folded_tables {
    ($($(#[$doc:meta])* $row:ident in $table:literal, key ($($key:ident),+): $key_type:ty {
        $($column:ident: $type:ty,)+
    })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq)]
            #[allow(clippy::struct_field_names, reason = "fields are named as their columns")]
            pub(crate) struct $row {
                $(pub(crate) $column: $type,)+
            }

            impl Row for $row {
                type Key = $key_type;
                const TABLE: FoldedTable = FoldedTable {
                    name: $table,
                    key: &[$(stringify!($key)),+],
                    columns: &[$(Column { name: stringify!($column), kind: <$type as Field>::KIND }),+],
                };

                fn key(&self) -> Self::Key {
                    ($(self.$key.clone()),+)
                }

                fn into_cells(self, cells: &mut Vec<Cell>) -> Result<(), sqlx::Error> {
                    $(cells.push(self.$column.into_cell()?);)+
                    Ok(())
                }

                fn read(row: &DbRow) -> Result<Self, sqlx::Error> {
                    let mut columns = 0..;
                    let mut next = || columns.next().unwrap_or_default();
                    Ok(Self { $($column: Field::read(row, next())?,)+ })
                }
            }
        )+

        /// All of them, in the order of reports.
        pub(crate) const FOLDED_TABLES: &[FoldedTable] = &[$(<$row as Row>::TABLE),+];
    };
}
pub(crate) use folded_tables;
