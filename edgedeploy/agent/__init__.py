"""What runs on a device that has Python."""
