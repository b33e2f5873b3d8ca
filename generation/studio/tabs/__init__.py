"""The tabs of the page: make, edit, read, sets, and what is measured."""
