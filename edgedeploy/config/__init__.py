"""The only reader of TOML."""
