"""Who calls, and what they may do: tokens, API keys, scopes. Knows nothing of stock."""
