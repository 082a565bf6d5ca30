"""The local SQLite database: its connection, its migrations, and one module per noun. All local SQL."""
