"""The transports: servers, health and reflection."""
