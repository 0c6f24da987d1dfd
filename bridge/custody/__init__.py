"""Who signs: a protocol, and the backends that speak it."""
