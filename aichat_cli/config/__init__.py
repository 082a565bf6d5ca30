"""Where things are kept, what is set, and the keys."""
