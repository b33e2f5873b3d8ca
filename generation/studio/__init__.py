"""The page in a browser: make, edit, read, sets and figures, in English and French, on the engine of the service."""
