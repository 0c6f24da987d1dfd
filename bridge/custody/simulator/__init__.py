"""A simulated custodian, for tests and for trying things out. It guards nothing: its keys are in memory."""
