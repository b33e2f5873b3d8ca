"""How good an encoder is: figures, tables, the report."""
