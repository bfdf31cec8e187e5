"""How calls come in: servers, health, reflection."""
