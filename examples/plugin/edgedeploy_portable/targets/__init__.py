"""Target files; edgedeploy reads every .toml here."""
