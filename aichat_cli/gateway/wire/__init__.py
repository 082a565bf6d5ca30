"""The two protocols of clients: requests read, answers written. No input or output."""
