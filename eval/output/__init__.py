"""How results are shown: tables, charts, sheets."""
