"""Generated from runtime.proto: the container runtime interface (CRI v1), the part that is used."""
