# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prometheus' HTTP API, as far as range queries need it."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from ..errors import InvalidOption
from ..libraries import library
from .source import SourceFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Answers that a later attempt may better: too many requests, and gateways or servers that are overloaded.
_RETRIED = (429, 502, 503, 504)
_ATTEMPTS = 5
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 15.0
#: Larger answers are asked for in smaller pieces.
_LARGEST_ANSWER_BYTES = 128 << 20
#: What Prometheus says when a query is too large for its limits, and a smaller window may help.
_TOO_LARGE = ("exceeded maximum resolution", "too many samples", "query timed out")


class LoginRefused(SourceFailed):
    """The server answered, and refused the credentials."""

    code = "login_refused"


class AnswerTooLarge(Exception):
    """The server or this client gives up on the size of the answer; a shorter window may do."""


@dataclass(frozen=True, slots=True)
class LabelledSeries:
    """One series of an answer: its labels, evaluation times in Unix seconds, and values."""

    labels: Mapping[str, str]
    ts: NDArray[np.float64]
    value: NDArray[np.float64]


class PrometheusClient:
    """One Prometheus server, or anything that speaks its API (Thanos, Mimir, VictoriaMetrics)."""

    def __init__(self, options: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep) -> None:
        """Take ``url``, ``auth`` (username and password, or token), ``ca_path``, ``validate_certs``, ``timeout_s``.

        Raises `InvalidOption` for a URL that is not HTTP(S) or has credentials in it, or an unreadable ``ca_path``.
        """
        self._url = _checked_url(options.get("url") or "")
        self._timeout_s = float(options.get("timeout_s") or 60.0)
        self._headers = {"Accept": "application/json", **_authorization(options.get("auth") or {})}
        self._sleep = sleep
        https = urllib.request.HTTPSHandler(context=_tls_context(options))
        self._opener = urllib.request.build_opener(https, _NoRedirect())

    def query_range(
        self, query: str, start_ts: float, end_ts: float, step_s: float
    ) -> tuple[list[LabelledSeries], list[str]]:
        """Return the series that ``query`` gives at every step from start to end, both included, and warnings.

        Overload and broken connections are retried with growing pauses. Raises `AnswerTooLarge`, `InvalidOption`
        for a query that the server rejects, `LoginRefused` or `SourceFailed`.
        """
        form = {"query": query, "start": f"{start_ts:.3f}", "end": f"{end_ts:.3f}", "step": f"{step_s:.3f}"}
        answer = self._call("/api/v1/query_range", form)
        data = answer.get("data") or {}
        if data.get("resultType") != "matrix":
            raise SourceFailed(f"{self._url} did not answer the query {query!r} with series")
        found, warnings = list(data.get("result", ())), [str(one) for one in answer.get("warnings", ())]
        plain = [item for item in found if item.get("values")]
        if len(plain) < len(found):
            warnings.append(f"{len(found) - len(plain)} series of the query {query!r} hold histograms, not numbers")
        return [_series(item) for item in plain], warnings

    def _call(self, path: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        problem = ""
        for attempt in range(_ATTEMPTS):
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
            try:
                status, headers, body = self._post(path, form)
            except (TimeoutError, http.client.HTTPException, ConnectionError) as exc:
                problem = f"the connection broke: {exc or type(exc).__name__}"
            else:
                if status not in _RETRIED:
                    return self._understood(status, headers, body, form)
                problem = f"it answered HTTP {status}"
                wait_s = _retry_after_s(headers, wait_s)
            if attempt + 1 < _ATTEMPTS:
                self._sleep(wait_s)
        raise SourceFailed(f"{self._url} failed {_ATTEMPTS} times in a row, lastly {problem}", advice=_REACH_ADVICE)

    def _post(self, path: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        request = urllib.request.Request(
            self._url + path, data=urlencode(form).encode(), headers=self._headers, method="POST"
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                body = answer.read(_LARGEST_ANSWER_BYTES + 1)
                if len(body) > _LARGEST_ANSWER_BYTES:
                    raise AnswerTooLarge
                if answer.length:  # a read with a limit does not notice by itself
                    raise http.client.IncompleteRead(body, answer.length)
                return answer.status, dict(answer.headers), body
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, dict(answer.headers), answer.read(1 << 16)
        except urllib.error.URLError as exc:
            raise self._unreachable(exc) from exc

    def _unreachable(self, exc: urllib.error.URLError) -> Exception:
        """Return what a failure before any answer means: worth another attempt, or not."""
        reason = exc.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            return SourceFailed(
                f"The certificate of {self._url} cannot be verified: {reason.verify_message}",
                advice="Give the CA that signed it in ca_path.",
            )
        if isinstance(reason, socket.gaierror):
            return SourceFailed(f"The host name of {self._url} cannot be resolved", advice=_REACH_ADVICE)
        return ConnectionError(str(reason))

    def _understood(
        self, status: int, headers: Mapping[str, str], body: bytes, form: Mapping[str, str]
    ) -> Mapping[str, Any]:
        if status in (401, 403):
            raise LoginRefused(f"{self._url} refused the login (HTTP {status})", advice="Check auth.")
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "status" not in answer:
            kind = str(headers.get("Content-Type") or "nothing")
            raise SourceFailed(
                f"{self._url} does not answer like Prometheus (HTTP {status}, {kind.partition(';')[0]})",
                advice="Give the URL under which /api/v1/query_range is found, without a login page before it.",
            )
        if answer["status"] == "success":
            return answer
        error = str(answer.get("error", ""))
        if any(sign in error for sign in _TOO_LARGE):
            raise AnswerTooLarge
        if answer.get("errorType") == "bad_data":
            raise InvalidOption("sources.queries", f"{self._url} rejects the query {form['query']!r}: {error}")
        raise SourceFailed(f"{self._url} could not answer the query {form['query']!r}: {error}")


_REACH_ADVICE = "Check that the server is up and can be reached from here."


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are not followed: they would carry the credentials to another place."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that hold no address, a port that is no number
        usable = False
    if not usable:
        raise InvalidOption("sources.url", "an http:// or https:// URL is needed")
    if "@" in parts.netloc:
        raise InvalidOption("sources.url", "credentials in the URL would be shown in logs", advice="Use auth.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _authorization(auth: Mapping[str, Any]) -> dict[str, str]:
    if auth.get("username"):
        pair = f"{auth['username']}:{auth.get('password') or ''}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {"Authorization": f"Bearer {auth['token']}"} if auth.get("token") else {}


def _tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ca_path") or None)
    except (OSError, ssl.SSLError) as exc:
        raise InvalidOption("sources.ca_path", f"the file cannot be used: {exc}") from exc
    if options.get("validate_certs") is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _retry_after_s(headers: Mapping[str, str], otherwise: float) -> float:
    text = headers.get("Retry-After") or ""
    return min(_LONGEST_WAIT_S, float(text)) if text.isdigit() else otherwise


def _series(item: Mapping[str, Any]) -> LabelledSeries:
    ts, values = zip(*item["values"], strict=True)
    return LabelledSeries(item["metric"], np.array(ts, np.float64), np.array(values, np.float64))
