"""A crowd of virtual shoppers against any address, and a verdict: a shop runs it before its sale."""
