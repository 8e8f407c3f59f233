//! Accounts, passwords, tokens and JWKS, the vault of master keys, spaces and memberships.
