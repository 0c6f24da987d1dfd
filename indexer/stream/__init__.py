"""The feed of each chain in Redis: one stream for each, entry for entry what Postgres says.

Postgres is the truth. A stream holds the newest part of the feed with the events in it, for whoever wants to
be told rather than ask; it can be lost at any moment and is then filled again.
"""
