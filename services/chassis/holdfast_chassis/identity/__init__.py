"""Authentication and authorization: tokens, API keys, scopes. Independent of stock."""
