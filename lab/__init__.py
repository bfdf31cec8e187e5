"""What proves the promises and measures the cost: bench, chaos, drill, overload, simulation."""
