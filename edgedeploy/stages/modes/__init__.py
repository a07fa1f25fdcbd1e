"""One file per mode of measuring (docs/modes.md): which processes of the runner there are, and what they give."""
