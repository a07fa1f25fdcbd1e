"""An exporter and a target for edgedeploy."""
