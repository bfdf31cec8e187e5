"""The gRPC API of the domain: requests, responses, statuses."""
