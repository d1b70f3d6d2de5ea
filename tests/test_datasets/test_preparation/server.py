"""A web server with the habits of bad ones, and archives for it."""

from __future__ import annotations

import io
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mmvideomac.datasets.preparation.source import Source


class Server:
    """Serves ``files`` (name -> bytes) on this machine; use as a context manager.

    Attributes:
        ranges: Whether ``Range`` is honoured.
        cuts: Lengths after which coming answers are cut, one each.
        tag: The ``ETag``; None sends none.
        status: An error that is sent in place of everything.
        kind: The ``Content-Type``.
        requests: (name, ``Range``) of what was asked for.
    """

    def __init__(self) -> None:
        self.files, self.requests, self.cuts = {}, [], []
        self.ranges, self.tag, self.status, self.kind = True, '"1"', None, 'application/zip'
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args) -> None:
                pass

        self._http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *args) -> None:
        self._http.shutdown()
        self._http.server_close()

    def url(self, name: str) -> str:
        return f'http://127.0.0.1:{self._http.server_port}/{name}'

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name, wanted = handler.path.lstrip('/'), handler.headers.get('Range')
        self.requests.append((name, wanted))
        if self.status or name not in self.files:
            handler.send_error(self.status or 404)
            return
        content, start = self.files[name], 0
        if wanted and self.ranges and handler.headers.get('If-Range', self.tag) == self.tag:
            start = int(wanted.removeprefix('bytes=').removesuffix('-'))
            if start >= len(content):
                handler.send_error(416)
                return
            handler.send_response(206)
            last = len(content) - 1
            handler.send_header('Content-Range', f'bytes {start}-{last}/{len(content)}')
        else:
            handler.send_response(200)
        handler.send_header('Content-Type', self.kind)
        handler.send_header('Content-Length', str(len(content) - start))
        if self.tag:
            handler.send_header('ETag', self.tag)
        handler.end_headers()
        end = start + self.cuts.pop(0) if self.cuts else None
        handler.wfile.write(content[start:end])


def zip_of(folder: Path, prefix: str = '') -> bytes:
    """What a folder holds, as a zip archive, below ``prefix``."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for path in sorted(folder.rglob('*')):
            if path.is_file():
                archive.write(path, f'{prefix}{path.relative_to(folder)}')
    return file.getvalue()


def tar_of(folder: Path, prefix: str = '') -> bytes:
    """What a folder holds, as a tar.gz archive, below ``prefix``."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w:gz') as archive:
        for path in sorted(folder.rglob('*')):
            if path.is_file():
                archive.add(path, f'{prefix}{path.relative_to(folder)}')
    return file.getvalue()


def served(server: Server, source: Source, contents: dict[str, bytes]) -> Source:
    """Let a server have the files of a data set, of which no size or checksum is known."""
    server.files.update(contents)
    source.parts = tuple(
        replace(part, url=server.url(part.name), size=None, digest=None) for part in source.parts
    )
    return source
