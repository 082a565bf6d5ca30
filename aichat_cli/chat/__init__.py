"""The turn: from a prompt to a stored, settled answer."""
