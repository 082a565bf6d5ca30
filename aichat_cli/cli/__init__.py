"""The Typer app: one thin module per command group."""
