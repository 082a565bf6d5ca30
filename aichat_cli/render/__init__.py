"""From events and values to what a terminal, a pipe or a JSON reader gets."""
