"""The domain over gRPC: protos in and out, statuses, health."""
