"""The vocabulary of aichat: messages, events, models, money, ids and errors. Standard library only."""
