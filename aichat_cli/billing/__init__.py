"""Who pays: admission before a call, and the charge after it."""
