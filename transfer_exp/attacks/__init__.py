"""The attacks, on top of the optimiser."""
