"""The interactive session: a prompt, an answer above it, and commands that begin with a slash."""
