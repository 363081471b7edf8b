"""Print docs/options.md: ``python -m serve_app.options``."""

from serve_app.options.table import options_table

if __name__ == "__main__":
    print(options_table(), end="")
