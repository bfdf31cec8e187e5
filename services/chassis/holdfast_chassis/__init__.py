"""What all services share, independent of stock."""
