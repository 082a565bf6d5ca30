"""aichat: chat with language models from the terminal, local first."""

__version__ = "0.1.0"
