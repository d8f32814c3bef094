"""What is for lunch.

Usage: lunch.py [--port=PORT] [--check]

Options:
  --port=PORT  where to listen [default: 8000]
  --check      ask the one that runs here, and exit with what came of it
"""

import signal
import sys
from urllib.request import urlopen

import docopt
import flask
import waitress

DAYS = ("dal", "rajma", "chole", "sambar", "kadhi")
app = flask.Flask(__name__)


@app.get("/lunch/<int:day>")
def lunch(day: int) -> dict[str, object]:
    if day >= len(DAYS):
        flask.abort(404)
    return {"day": day, "dish": DAYS[day]}


if __name__ == "__main__":
    options = docopt.docopt(__doc__)
    port = int(options["--port"])
    if options["--check"]:
        with urlopen(f"http://127.0.0.1:{port}/lunch/0", timeout=3) as answer:
            sys.exit(answer.status != 200)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="*", port=port)
