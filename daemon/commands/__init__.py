"""The commands of ``landbridge``."""
