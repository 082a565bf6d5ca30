"""The gateway: models over HTTP, for people with keys, plans and credits."""
