"""A document that is computed once and served as bytes."""

import gzip
import hashlib
from functools import cached_property


class Document:
    """Body, media type, strong ETag (quoted, as in the header) and a compressed twin."""

    def __init__(self, body: bytes, content_type: str = "application/json") -> None:
        self.body = body
        self.content_type = content_type
        self.hash = hashlib.sha256(body).hexdigest().upper()
        self.etag = f'"{self.hash}"'

    @cached_property
    def gzipped(self) -> bytes:
        """Return the body as `Content-Encoding: gzip` wants it, compressed at first use."""
        return gzip.compress(self.body, compresslevel=5, mtime=0)
