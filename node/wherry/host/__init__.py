"""What a node process may do to the Linux host it runs on: one adapter per foreign thing."""
