"""What the chain says: blocks, logs and decoded events in Postgres, and a feed of every change of belief."""
