"""The user's own account on a gateway, as their program sees it."""
