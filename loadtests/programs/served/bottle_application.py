"""A Bottle application, for wsgiref's server: `python -m bottle bottle_application:app`."""

import bottle

app = bottle.Bottle()


@app.get("/hello/<name>")  # type: ignore[untyped-decorator]
def hello(name: str) -> str:
    return f"hello {name}\n"
