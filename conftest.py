"""Makes plain `pytest` and `pytest --nbval notebooks` run as `make test` does: see tools/nbval_plugin.py."""

pytest_plugins = ["tools.nbval_plugin"]
