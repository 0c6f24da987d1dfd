"""The bank side: what a connector must offer, and the REST and webhook connector."""
