"""The system's git, as a process of its own: without the settings of this machine or user, bounded in everything."""
