"""A Flask application, for Werkzeug's threaded development server: `python -m flask run`."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/")  # type: ignore[untyped-decorator]
def index() -> str:
    return f"hello {request.args.get('name', 'nobody')}\n"


@app.post("/sum")  # type: ignore[untyped-decorator]
def add() -> dict[str, int]:
    return {"sum": sum(request.get_json())}
