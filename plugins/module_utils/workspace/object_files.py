# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A workspace in an object store that speaks S3."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import InvalidOption
from ..libraries import library
from .errors import StoreNotReadable, StoreNotWritable
from .files import FileEntry

if TYPE_CHECKING:
    import numpy as np
    import pyarrow.fs as arrow_fs
else:
    np = library("numpy")
    arrow_fs = library("pyarrow.fs")

_CONNECT_TIMEOUT_S = 10.0
_REQUEST_TIMEOUT_S = 60.0
_ATTEMPTS = 4
#: Query parameters of the store's URL that are handed to the S3 client.
_PARAMETERS = ("endpoint_override", "scheme", "region")


class ObjectFiles:
    """Files below a bucket's prefix. Objects appear whole, so there are no unfinished ones to hide or clean."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.strip("/")

    @classmethod
    def from_url(cls, url: str) -> ObjectFiles:
        """Open ``s3://bucket/prefix?endpoint_override=host:port&scheme=https&region=name``; does no I/O.

        Credentials come from where AWS clients look for them (environment, shared file, instance). Raises
        `InvalidOption` for a URL without a bucket, with an unknown parameter, or with credentials in it.
        """
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise InvalidOption("store", "credentials in the URL would be shown in logs", advice=_CREDENTIALS_ADVICE)
        if not parts.netloc:
            raise InvalidOption("store", "the URL names no bucket: s3://bucket/prefix is expected")
        filesystem = arrow_fs.S3FileSystem(
            **_client_options(parts.query),
            connect_timeout=_CONNECT_TIMEOUT_S,
            request_timeout=_REQUEST_TIMEOUT_S,
            retry_strategy=arrow_fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        )
        return cls(filesystem, f"{parts.netloc}/{unquote(parts.path).strip('/')}")

    @property
    def location(self) -> str:
        return f"s3://{self._root}"

    def read(self, path: str) -> bytes:
        with self._reading(path), self._filesystem.open_input_stream(self._full(path)) as stream:
            return bytes(stream.read())

    def open(self, path: str) -> Any:
        with self._reading(path):
            return self._filesystem.open_input_file(self._full(path))

    def open_array(self, path: str) -> Any:
        return np.load(io.BytesIO(self.read(path)), allow_pickle=False)

    def write(self, path: str, *content: bytes | memoryview) -> None:
        with self._writing(path):
            stream = self._filesystem.open_output_stream(self._full(path))
            for part in content:
                stream.write(part)
            stream.close()  # only now does the object exist; an exception before leaves nothing

    def delete(self, path: str) -> None:
        with self._writing(path):
            try:
                self._filesystem.delete_file(self._full(path))
            except FileNotFoundError:
                return

    def delete_folder(self, path: str) -> None:
        with self._writing(path):
            try:
                self._filesystem.delete_dir(self._full(path))
            except FileNotFoundError:
                return

    def files(self, folder: str) -> list[FileEntry]:
        return sorted(
            FileEntry(info.base_name, info.size, info.mtime_ns / 1e9)
            for info in self._list(folder)
            if info.type == arrow_fs.FileType.File
        )

    def folders(self, folder: str) -> list[str]:
        return sorted(info.base_name for info in self._list(folder) if info.type == arrow_fs.FileType.Directory)

    def tree(self, folder: str) -> list[str]:
        found = [info.path for info in self._list(folder, recursive=True) if info.type == arrow_fs.FileType.File]
        return sorted(path.removeprefix(f"{self._root}/") for path in found)

    def clean(self, before_ts: float) -> None:
        return

    def check_writable(self) -> None:
        with self._writing(""):
            bucket = self._filesystem.get_file_info(self._root.partition("/")[0])
        if bucket.type == arrow_fs.FileType.NotFound:
            raise StoreNotWritable(
                f"The bucket of {self.location} does not exist", advice="Create it, or name another."
            )

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    def _list(self, folder: str, *, recursive: bool = False) -> list[Any]:
        selector = arrow_fs.FileSelector(self._full(folder), allow_not_found=True, recursive=recursive)
        with self._reading(folder):
            return list(self._filesystem.get_file_info(selector))

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise StoreNotReadable(f"{self.location}/{path} cannot be read: {exc}", advice=_S3_ADVICE) from exc

    @contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StoreNotWritable(f"{self.location}/{path} cannot be written: {exc}", advice=_S3_ADVICE) from exc


_CREDENTIALS_ADVICE = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use an AWS profile."
_S3_ADVICE = "Check the bucket, endpoint_override, region and the AWS credentials in the environment."


def _client_options(query: str) -> Mapping[str, str]:
    given = parse_qs(query, keep_blank_values=True)
    unknown = sorted(set(given) - set(_PARAMETERS))
    if unknown:
        raise InvalidOption("store", f"unknown parameter {unknown[0]!r}; known are {', '.join(_PARAMETERS)}")
    options = {name: values[-1] for name, values in given.items()}
    endpoint = options.get("endpoint_override", "")
    scheme, separator, rest = endpoint.partition("://")
    if separator:
        options["endpoint_override"] = rest
        options.setdefault("scheme", scheme)
    return options
