"""Child processes that cannot outlive us: PostgreSQL, Anvil, and programs of our own."""
