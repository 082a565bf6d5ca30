"""One door per wire to the models, and the registry that picks the door."""
