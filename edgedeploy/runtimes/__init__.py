"""What to start on a device, for each format."""
