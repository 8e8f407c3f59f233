//! Who the personas are: the catalog file, its loader and validation, and the derived password.
