"""``python -m serve_app``: the same as ``whisper-ox serve``."""

from serve_app.cli.serve import serve

if __name__ == "__main__":
    serve(prog_name="python -m serve_app")
