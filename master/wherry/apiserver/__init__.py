"""The API server: two doors (REST, gRPC) to one registry."""
