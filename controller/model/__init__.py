"""WHAT things are: frozen, parsed, no I/O, no clock. Imports nothing of ours but errors and reasons."""
