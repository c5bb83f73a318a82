"""Generated from events.proto: containerd's own event stream."""
