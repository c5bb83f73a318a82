"""What makes a component a process: flags, logs, signals, health, the real clock."""
