"""A Hub on this machine that has some files."""

import contextlib
import http.server
import threading


@contextlib.contextmanager
def serving(files, seen=None):
    """A Hub that has these files, by address; it writes down the headers of each request."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if seen is not None:
                seen.append((self.path, dict(self.headers)))
            found = files.get(self.path)
            if isinstance(found, int):
                self.send_response(found)
                self.end_headers()
            elif isinstance(found, str):
                self.send_response(302)
                self.send_header("Location", found)
                self.end_headers()
            else:
                self.send_response(200 if found is not None else 404)
                self.end_headers()
                self.wfile.write(found or b"")

        do_HEAD = do_POST = do_CONNECT = do_GET  # noqa: N815

        def log_message(self, format, *args):  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def addresses(row, commit=None):
    below = [row.id, "resolve", commit or row.revision, row.of]
    return {"/" + "/".join(filter(None, (*below, name))): b"{}" for name in row.files}
