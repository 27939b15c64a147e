# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Prometheus that misbehaves: overloaded, dying in the middle, replaced by a login page, or sending elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.sources.prometheus import escaped
from ansible_collections.foresight.migration.plugins.module_utils.sources.prometheus_client import (
    AnswerTooLarge,
    LoginRefused,
    PrometheusClient,
)
from ansible_collections.foresight.migration.plugins.module_utils.sources.source import SourceFailed
from hypothesis import given
from hypothesis import strategies as st

GOOD = {
    "status": "success",
    "data": {"resultType": "matrix", "result": [{"metric": {"vm": "a"}, "values": [[0, "1.5"], [300, "NaN"]]}]},
}
Script = list[Callable[["Handler"], None]]


class Handler(BaseHTTPRequestHandler):
    """Plays one step of the script for each request."""

    script: Script
    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append({"path": self.path, "headers": dict(self.headers), "form": parse_qs(body)})
        self.script.pop(0)(self)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        return


def status(code: int, body: Any = None, **headers: str) -> Callable[[Handler], None]:
    content = body if isinstance(body, bytes) else json.dumps(GOOD if body is None else body).encode()
    return lambda handler: handler.answer(
        code, content, {name.replace("_", "-"): text for name, text in headers.items()}
    )


def dies_in_the_middle(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"status": "success", "da')
    handler.close_connection = True


def hangs_up(handler: Handler) -> None:
    handler.connection.close()
    handler.close_connection = True


class Lab:
    """The misbehaving server, the client to it, and the pauses that the client made."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.pauses: list[float] = []

    def ask(self, *script: Callable[[Handler], None], **options: Any) -> Any:
        Handler.script, Handler.seen = list(script), []
        client = PrometheusClient({"url": self.url, "timeout_s": 5, **options}, self.pauses.append)
        return client.query_range("up", 299.999, 599.999, 300)


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one
        one.shutdown()


@pytest.fixture
def lab(server: ThreadingHTTPServer) -> Lab:
    return Lab(server.server_port)


def test_the_answer_comes_as_arrays_with_labels_and_warnings(lab: Lab) -> None:
    series, warnings = lab.ask(status(200, {**GOOD, "warnings": ["partial"]}))
    assert (dict(series[0].labels), warnings) == ({"vm": "a"}, ["partial"])
    np.testing.assert_array_equal(series[0].value, [1.5, np.nan])
    assert Handler.seen[0]["form"] == {"query": ["up"], "start": ["299.999"], "end": ["599.999"], "step": ["300.000"]}


def test_series_of_histograms_are_left_out_and_told(lab: Lab) -> None:
    histogram = {"metric": {"vm": "b"}, "histograms": [[300, {"count": "1", "sum": "1"}]]}
    data = {"resultType": "matrix", "result": [*GOOD["data"]["result"], histogram]}
    series, warnings = lab.ask(status(200, {"status": "success", "data": data}))
    assert [dict(one.labels) for one in series] == [{"vm": "a"}]
    assert warnings == ["1 series of the query 'up' hold histograms, not numbers"]


@pytest.mark.parametrize("trouble", [status(429), status(503), status(502), dies_in_the_middle, hangs_up])
def test_trouble_that_passes_is_waited_out_with_growing_pauses(lab: Lab, trouble: Callable[[Handler], None]) -> None:
    series, _unused = lab.ask(trouble, trouble, status(200))
    assert len(series) == 1
    assert lab.pauses == [0.5, 1.0]


def test_the_server_says_how_long_to_wait(lab: Lab) -> None:
    lab.ask(status(429, Retry_After="7"), status(503, Retry_After="9999"), status(200))
    assert lab.pauses == [7.0, 15.0]


def test_trouble_that_stays_fails_in_the_end(lab: Lab) -> None:
    with pytest.raises(SourceFailed, match="5 times in a row, lastly it answered HTTP 503"):
        lab.ask(*[status(503)] * 5)
    assert len(lab.pauses) == 4


def test_nothing_listening_is_told(lab: Lab) -> None:
    lab.url = "http://127.0.0.1:1"
    with pytest.raises(SourceFailed, match="connection broke"):
        lab.ask()


@pytest.mark.parametrize("body", [b"<html><title>Sign in</title></html>", b"", b'{"status": "succ', b"[1, 2]"])
def test_an_answer_that_is_not_prometheus_is_told(lab: Lab, body: bytes) -> None:
    with pytest.raises(SourceFailed, match=r"does not answer like Prometheus \(HTTP 200, text/html\)"):
        lab.ask(status(200, body, Content_Type="text/html; charset=utf-8"))


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_login_is_told_and_not_tried_again(lab: Lab, code: int) -> None:
    with pytest.raises(LoginRefused):
        lab.ask(status(code, b"Unauthorized"))
    assert lab.pauses == []


def test_credentials_are_sent_and_never_follow_a_redirect(lab: Lab) -> None:
    with pytest.raises(SourceFailed, match="HTTP 302"):
        lab.ask(status(302, b"", Location="http://127.0.0.1:1/elsewhere"), auth={"token": "t0ken"})
    assert [request["headers"]["Authorization"] for request in Handler.seen] == ["Bearer t0ken"]


def test_the_path_before_the_api_is_kept(lab: Lab) -> None:
    lab.url += "/prometheus/"
    lab.ask(status(200))
    assert Handler.seen[0]["path"] == "/prometheus/api/v1/query_range"


@pytest.mark.parametrize(
    "error",
    [
        "exceeded maximum resolution of 11,000 points per timeseries",
        "query processing would load too many samples into memory in query execution",
        "query timed out in expression evaluation",
    ],
)
def test_a_query_too_large_is_told_apart_from_a_wrong_one(lab: Lab, error: str) -> None:
    with pytest.raises(AnswerTooLarge):
        lab.ask(status(422, {"status": "error", "errorType": "execution", "error": error}))
    with pytest.raises(InvalidOption, match="parse error"):
        lab.ask(status(400, {"status": "error", "errorType": "bad_data", "error": "parse error"}))
    with pytest.raises(SourceFailed, match="disk on fire"):
        lab.ask(status(500, {"status": "error", "errorType": "internal", "error": "disk on fire"}))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "prometheus:9090",
        "ftp://x",
        "file:///etc/passwd",
        "http://u:p@host",
        "http://[::1",
        "http://h:port",
        "http://h:0",
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        PrometheusClient({"url": url})
    assert caught.value.details["option"] == "sources.url"
    assert "p@host" not in caught.value.message


def test_a_ca_file_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidOption, match="ca_path"):
        PrometheusClient({"url": "https://x", "ca_path": "/no/such/file"})


@given(st.text())
def test_an_escaped_label_value_reads_back_as_itself(text: str) -> None:
    quoted = escaped(text)
    assert "\n" not in quoted
    unescaped, at = "", 0
    while at < len(quoted):
        assert quoted[at] != '"'
        step = 2 if quoted[at] == "\\" else 1
        unescaped += {"\\n": "\n", '\\"': '"', "\\\\": "\\"}[quoted[at : at + 2]] if step == 2 else quoted[at]
        at += step
    assert unescaped == text
