"""The programs that run on a device: how the host gets hold of them, and how it reads what they print."""
