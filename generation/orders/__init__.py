"""How people may ask: one thing for all faces or one a face, seeds in every form, settings by name."""
