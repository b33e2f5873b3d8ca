"""A tokenizer that sees grey faces of web quality and paints photographs in colour: what it is trained on, and how."""
