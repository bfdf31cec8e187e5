"""Following stock and movements, here and in other replicas."""
