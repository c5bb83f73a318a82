"""Container images made from Debian packages, without docker."""
