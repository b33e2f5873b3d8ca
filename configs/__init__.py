"""Settings of every program as typed YAML, and the loader that checks them.

One folder of YAML files per program; `configs.loader` reads them, `configs.cli` turns errors into one line.
"""

from configs.installed import require_installed

require_installed()
