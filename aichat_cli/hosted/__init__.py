"""The hosted Postgres: the connection to it, its schema, and what it is asked. Its tables and functions are in schema.sql."""
