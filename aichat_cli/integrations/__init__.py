"""Services that are told of finished turns: each off until it is configured, none able to slow, break or leak a turn."""
