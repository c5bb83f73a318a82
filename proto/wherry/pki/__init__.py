"""Certificates: who is who on every link."""
