"""The local database and a hosted one, kept alike: what is sent, what comes, and what becomes of both."""
