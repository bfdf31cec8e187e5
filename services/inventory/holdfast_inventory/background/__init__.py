"""What runs by itself: ends due holds, opens scheduled sales."""
