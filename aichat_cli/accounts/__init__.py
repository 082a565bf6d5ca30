"""Accounts of many people on a gateway: their keys, plans and credits, kept in SQLite or in Postgres."""
