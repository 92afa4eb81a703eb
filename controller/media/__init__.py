"""HOW bytes are understood, sans-IO: feed(chunk), finish(), properties. No file handles, no clock, no threads."""
