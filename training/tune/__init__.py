"""The engine room of the recipes: one training loop, and what it is put together from."""
