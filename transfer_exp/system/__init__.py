"""Processes and files, whatever they are for: memory, signals, locks, safe reading and writing."""
