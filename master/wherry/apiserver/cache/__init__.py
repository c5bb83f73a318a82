"""The watch cache: every object's bytes in memory, its recent history, and all watchers."""
