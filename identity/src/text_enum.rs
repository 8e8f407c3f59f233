//! Enums that are one lower-case word everywhere: in Rust, in JSON, in a column.

/// Declares such an enum with `as_str`, `Display`, serde in both directions, and a reader for its column.
macro_rules! text_enum {
    (
        $(#[$doc:meta])*
        $name:ident stored in $column:literal {
            $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// The word, as JSON and the database spell it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// Reads the word back from its column.
            pub(crate) fn from_column(text: &str) -> Result<Self, $crate::error::IdentityError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::error::IdentityError::unknown_value($column)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use text_enum;
