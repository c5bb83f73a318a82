"""The agent: makes the pods of one node real."""
