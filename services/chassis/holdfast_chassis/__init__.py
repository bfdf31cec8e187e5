"""What every service needs to run well, and that knows nothing of stock."""
