"""The process in which SDKs and the user's model live."""
