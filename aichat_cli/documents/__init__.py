"""Documents: load, chunk, embed, index, search, cite. Knows no terminal and no network but what it is handed."""
