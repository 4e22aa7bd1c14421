"""A stand-in of the hub on the loopback: repositories in memory, with the routes that pushing and loading use."""

import base64
import hashlib
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit


class Hub:
    """Commits by repository, the newest last; each is a mapping of path to content."""

    def __init__(self):
        self.commits = {}
        self.tags = {}
        self.asked = []

    def found(self, name, revision):
        """Return commit and files of a revision, or None."""
        commits = self.commits[name]
        commit = {"main": next(reversed(commits), "0" * 40)}.get(revision, self.tags.get((name, revision), revision))
        return (commit, commits.get(commit, {})) if revision == "main" or commit in commits else None

    def commit(self, name, lines):
        """Add a commit from the lines of its request."""
        files = dict(self.found(name, "main")[1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = hashlib.sha1(f"{name} {len(self.commits[name])}".encode()).hexdigest()
        self.commits[name][oid] = files
        return oid


def _routes(hub):
    class Routes(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def reply(self, content=b"", status=200, head=False, **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if not head:
                self.wfile.write(body)

        def refuse(self, code):
            self.reply({"error": code}, 404, self.command == "HEAD", X_Error_Code=code)

        def do_POST(self):
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            words = self.begin()
            if words == ["api", "repos", "create"]:
                content = json.loads(sent)
                name = f"{content['organization']}/{content['name']}"
                hub.commits.setdefault(name, {})
                self.reply({"url": f"http://{self.headers['Host']}/{name}"})
            elif words == ["api", "validate-yaml"]:
                self.reply({"errors": [], "warnings": []})
            elif words[4] == "preupload":
                files = [file["path"] for file in json.loads(sent)["files"]]
                self.reply(
                    {"files": [{"path": file, "uploadMode": "regular", "shouldIgnore": False} for file in files]}
                )
            elif words[4] == "commit":
                name = "/".join(words[2:4])
                oid = hub.commit(name, [json.loads(line) for line in sent.splitlines()])
                self.reply({"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{oid}", "commitOid": oid})
            elif words[4] == "tag":
                hub.tags["/".join(words[2:4]), json.loads(sent)["tag"]] = words[5]
                self.reply({})

        def do_GET(self):
            words = self.begin()
            api = words[0] == "api"
            name, (what, revision, *rest) = "/".join(words[2:4] if api else words[:2]), words[4 if api else 2 :]
            if name not in hub.commits:
                return self.refuse("RepoNotFound")
            if (found := hub.found(name, revision)) is None:
                return self.refuse("RevisionNotFound")
            commit, files = found
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ]
            if what == "revision":
                return self.reply({"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]})
            if what == "tree":
                return self.reply(entries)
            content = files["/".join(rest)]
            etag = f'"{hashlib.sha1(content).hexdigest()}"'
            return self.reply(content, head=self.command == "HEAD", ETag=etag, X_Repo_Commit=commit)

        do_HEAD = do_GET

        def begin(self):
            path = urlsplit(self.path).path
            hub.asked.append((self.command, path, self.headers.get("Authorization")))
            return [unquote(word) for word in path.strip("/").split("/")]

    return Routes


@contextmanager
def hub_server():
    """Run a stand-in of the hub; yield it and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _routes(hub))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
