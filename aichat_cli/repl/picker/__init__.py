"""The full-screen pickers: chats, models, settings, branches. Each runs to its end and returns what was chosen."""
