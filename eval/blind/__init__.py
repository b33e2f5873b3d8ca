"""Two sides of generated faces, compared in pairs by people who do not know which is which."""
