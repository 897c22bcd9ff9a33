"""A web server that knows nothing of where it runs: a page with a clock, fed by
server-sent events. Calls that are no HTTP requests come as POST /events."""
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"""<!doctype html><title>Clock</title><h1 id="now">...</h1>
<script>
  const source = new EventSource('ticks');
  source.onmessage = (e) => { document.getElementById('now').textContent = e.data; };
</script>
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/ticks":
            return self.ticks()
        self.answer("text/html", PAGE)

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer("application/json", json.dumps({"got": event, "now": time.ctime()}).encode())

    def ticks(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for n in range(10):
                self.wfile.write(f"data: tick {n} at {time.ctime()}\n\n".encode())
                time.sleep(1)
        except BrokenPipeError:
            pass  # the reader left
        self.close_connection = True

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
