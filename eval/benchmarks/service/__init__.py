"""The service as its clients and its enemies have it: many at once, and attacks."""
