"""Ways to a device: move bytes there and back, start programs. No transport knows another."""
