"""HTTP to a Kubeflow Pipelines API: time limits, retries, and errors in words.

The kfp client waits for ever and raises what its generated code raises. Everything it
sends goes through one method of its REST client; that one is bounded and explained here.
"""

from __future__ import annotations

import http.client
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import tenacity
import urllib3

from models.errors import ConfigError, FlywheelError
from pipeline.cluster.options import ClusterOptions

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
#: urllib3 begins its words with the object that met the problem.
_OBJECT = re.compile(r"<[\w.]+ object at 0x[0-9a-f]+>: ")
_log = logging.getLogger(__name__)


class ClusterError(FlywheelError):
    """The cluster refused.

    Attributes:
      status: HTTP status; None when there was no answer.
    """

    status: int | None = None


class Unavailable(ClusterError):
    """No answer, or one that says to come back: whether the request took effect is not known."""


def bound(rest: Any, host: str, options: ClusterOptions) -> None:
    """Puts time limits, retries and errors in words around a generated REST client.

    Only requests that change nothing are retried here: of others it is not known whether
    they took effect, so their caller looks before it asks again (`again`).

    Args:
      rest: `kfp_server_api.rest.RESTClientObject`.
      host: As shown in messages.
      options: Time limit and number of tries.
    """
    if getattr(rest, "bounded", False):
        return
    plain = rest.request
    # urllib3 would retry by itself, without a word and without waiting.
    rest.pool_manager.connection_pool_kw["retries"] = False

    def request(method: str, url: str, **kwargs: Any) -> Any:
        # A pair: the generated client ignores a single number that is not an integer.
        kwargs["_request_timeout"] = (options.timeout_seconds, options.timeout_seconds)
        if method.upper() in ("GET", "HEAD"):
            return again(options)(_explained, plain, host, method, url, **kwargs)
        return _explained(plain, host, method, url, **kwargs)

    rest.request = request
    rest.bounded = True


def again(options: ClusterOptions) -> tenacity.Retrying:
    """Calls a function until it is not `Unavailable`, waiting longer each time."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Unavailable),
        stop=tenacity.stop_after_attempt(options.attempts),
        wait=tenacity.wait_exponential_jitter(initial=0.3, max=15, jitter=0.3),
        before_sleep=_say_again,
        reraise=True,
    )


def _say_again(state: tenacity.RetryCallState) -> None:
    assert state.outcome is not None
    problem = state.outcome.exception()
    assert isinstance(problem, FlywheelError)
    _log.warning("%s Trying again.", problem.reason.message)


def _explained(plain: Callable[..., Any], host: str, method: str, url: str, **kwargs: Any) -> Any:
    from kfp_server_api.exceptions import ApiException

    try:
        return plain(method, url, **kwargs)
    except ApiException as error:
        raise _refusal(error, host) from None
    except urllib3.exceptions.SSLError as error:
        raise _untrusted(host, str(error)) from None
    except urllib3.exceptions.LocationParseError as error:
        raise _no_address(host, str(error)) from None
    except urllib3.exceptions.HTTPError as error:
        if any(isinstance(cause, http.client.InvalidURL) for cause in error.args):
            raise _no_address(host, "it has characters that no address has") from None
        reached = isinstance(
            error, (urllib3.exceptions.ReadTimeoutError, urllib3.exceptions.ProtocolError)
        )
        what = "broke off or did not answer in time" if reached else "cannot be reached"
        raise Unavailable(
            "CLUSTER_UNREACHABLE",
            f"Kubeflow Pipelines at {host} {what}: {_short(str(error))}.",
            next="Check the address, and that this machine reaches it (VPN, `kubectl port-forward "
            "-n kubeflow svc/ml-pipeline 8888`). The same command again is safe: nothing is "
            "uploaded, started or scheduled twice.",
        ) from None


def _no_address(host: str, why: str) -> ConfigError:
    return ConfigError(
        "WRONG_HOST",
        f"`{host}` is not an address: {why}.",
        next="It looks like `https://kubeflow.example.com/pipeline`.",
    )


def _refusal(error: Any, host: str) -> ClusterError:
    status = error.status
    if not status:
        return _untrusted(host, str(error.reason))
    said = _message(error.body) or str(error.reason or "")
    where = f"Kubeflow Pipelines at {host}"
    told = f": {_short(said)}" if said else ""
    kind: type[ClusterError] = Unavailable if status in _TRANSIENT else ClusterError
    code, message, next_step = {
        400: ("CLUSTER_REFUSED", f"{where} refuses the request{told}.",
              "`flywheel compile --lint FILE` names what a backend would refuse in a spec."),
        401: ("NOT_LOGGED_IN", f"{where} does not know who asks{told}.",
              "Put a fresh token into KF_PIPELINES_TOKEN, or the session cookie into "
              "KF_PIPELINES_COOKIES (`kubeflow.cluster` in the config names other ways)."),
        403: ("NOT_ALLOWED", f"{where} knows who asks, and does not allow it{told}.",
              "On a multi-user Kubeflow name your own namespace: `--namespace NAME`; its owner "
              "grants the rest."),
        404: ("NOT_IN_CLUSTER", f"{where} knows no such thing{told}.",
              "If nothing is found at all, the address is not that of the API: it usually ends in "
              "`/pipeline`."),
        409: ("ALREADY_THERE", f"{where} has it already{told}.", "Run the command again."),
        429: ("CLUSTER_BUSY", f"{where} asks to slow down{told}.", "Try again in a minute."),
    }.get(
        status,
        ("CLUSTER_FAILED", f"{where} failed with HTTP {status}{told}.",
         "The same command again is safe. If it stays: `kubectl logs -n kubeflow "
         "deploy/ml-pipeline`."),
    )  # fmt: skip
    refusal = kind(code, message, next=next_step)
    refusal.status = status
    return refusal


def _untrusted(host: str, why: str) -> ClusterError:
    return ClusterError(
        "CERTIFICATE_REFUSED",
        f"The certificate of {host} is not trusted here: {_short(why)}.",
        next="Name the authority that signed it: `kubeflow.cluster.ca_file`, or `--ca-file FILE`.",
    )


def _message(body: Any) -> str:
    """What the server said: gRPC gateway and upload handler word it differently."""
    try:
        said = json.loads(body)
    except (TypeError, ValueError):
        text = (body.decode("utf-8", "replace") if isinstance(body, bytes) else body) or ""
        return "" if "<html" in text.lower() else text
    if not isinstance(said, dict):
        return ""
    return str(said.get("error_message") or said.get("message") or said.get("error") or "")


def _short(text: str) -> str:
    text = _OBJECT.sub("", " ".join(text.split())).rstrip(".")
    return text if len(text) <= 300 else text[:299] + "…"
