"""The inventory service: owns the stock, and serves it over gRPC."""
