"""Background work: ends due holds, opens scheduled sales and sends webhooks."""
