"""Pictures of the documentation, made from our own runs: ``make gallery``."""
