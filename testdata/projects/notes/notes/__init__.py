"""Notes that anybody may add to."""
import os
from pathlib import Path

from flask import Flask, request


def create_app():
    app = Flask(__name__)
    file = Path(os.environ["NOTES_FILE"])

    @app.get("/healthy")
    def healthy():
        return "yes\n"

    @app.get("/")
    def read():
        return file.read_text() if file.exists() else "nothing yet\n"

    @app.get("/add")
    def add():
        with file.open("a") as notes:
            notes.write(request.args["text"] + "\n")
        return "added\n"

    return app
