"""Facts and telemetry of an operating system: a shell script, and a pure parser of what it printed."""
