"""From files and pages to searchable chunks: plan, prepare, store; whole or not at all for each document."""
