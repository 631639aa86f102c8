"""Every channel but mail against the real thing on the loopback: HTTP, Pub/Sub's emulator."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts import templates
from monitoring.alerts.channels import send, webhook
from monitoring.alerts.channels.dead_letters import DeadLetters
from monitoring.alerts.message import Message
from monitoring.alerts.options import (
    AlertOptions,
    ConsoleChannel,
    FileChannel,
    PrometheusChannel,
    PubSubChannel,
    WebhookChannel,
)
from tests.monitoring.alerts.samples import MESSAGE, QUICK


def test_it_starts_light():
    code = (
        "import sys; from monitoring.alerts.channels import send; import monitoring.alerts.options;"
        "print([m for m in ('tensorflow', 'sqlalchemy', 'numpy', 'httpx', 'google.cloud.pubsub_v1')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_message_survives_its_dict():
    assert Message.from_dict(json.loads(json.dumps(MESSAGE.to_dict(picture=True)))) == MESSAGE


def test_console_writes_to_stderr(capsys):
    assert send(MESSAGE, [ConsoleChannel()])[0].state == "sent"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[warning] fare has drifted <again>" in captured.err
    assert "→ flywheel alerts show drift:fare" in captured.err


def test_file_appends_lines_of_many_senders_whole(tmp_path):
    channel = FileChannel(path=str(tmp_path / "deep" / "alerts.jsonl"))
    threads = [threading.Thread(target=lambda: send(MESSAGE, [channel])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "deep" / "alerts.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["title"] for line in lines] == [MESSAGE.title] * 8


def test_a_channel_is_told_only_what_is_bad_enough(tmp_path):
    path = tmp_path / "alerts.jsonl"
    delivery = send(MESSAGE, [FileChannel(path=str(path), severity="critical")])[0]
    assert delivery.state == "skipped" and not path.exists()


class Receiver:
    """A real HTTP server that answers what it is told to and keeps what it got."""

    def __init__(self, answers=(200,), retry_after=None):
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        answers = list(answers)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), body))
                self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
                if retry_after is not None:
                    self.send_header("Retry-After", retry_after)
                self.end_headers()

            do_PUT = do_DELETE = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class TestWebhook:
    def test_signed_json(self, monkeypatch):
        monkeypatch.setenv("HOOK_KEY", "s3cret")
        with Receiver() as receiver:
            channel = WebhookChannel(url=receiver.url, secret_env="HOOK_KEY", **QUICK)
            assert send(MESSAGE, [channel])[0].state == "sent"
        ((_, headers, body),) = receiver.requests
        assert webhook.verify(body, headers[webhook.SIGNATURE], "s3cret")
        assert not webhook.verify(body + b" ", headers[webhook.SIGNATURE], "s3cret")
        assert not webhook.verify(body, headers[webhook.SIGNATURE], "other")
        assert headers[webhook.DELIVERY] == MESSAGE.id
        assert Message.from_dict(json.loads(body)) == MESSAGE

    def test_an_old_signature_is_refused(self):
        header = webhook.sign(b"x", "k", int(time.time()) - 3600)
        assert not webhook.verify(b"x", header, "k")
        assert webhook.verify(b"x", header, "k", tolerance_seconds=7200)

    @given(st.text())
    def test_any_header_is_answered_with_no(self, header):
        assert not webhook.verify(b"x", header, "k")

    def test_it_tries_again_with_the_same_id(self):
        with Receiver([503, 429, 200]) as receiver:
            delivery = send(MESSAGE, [WebhookChannel(url=receiver.url, **QUICK)])[0]
        assert (delivery.state, delivery.attempts) == ("sent", 3)
        assert {headers[webhook.DELIVERY] for _, headers, _ in receiver.requests} == {MESSAGE.id}

    def test_it_waits_as_long_as_it_is_asked_to(self):
        with Receiver([429, 200], retry_after="1") as receiver:
            start = time.monotonic()
            send(MESSAGE, [WebhookChannel(url=receiver.url, **QUICK)])
        assert time.monotonic() - start >= 1.0 and len(receiver.requests) == 2

    def test_a_refusal_is_not_repeated(self):
        with Receiver([404]) as receiver:
            delivery = send(MESSAGE, [WebhookChannel(url=receiver.url, **QUICK)])[0]
        assert (delivery.state, delivery.attempts) == ("failed", 1)
        assert "404" in delivery.error and len(receiver.requests) == 1

    def test_no_secret_is_ever_told(self, monkeypatch, caplog, tmp_path):
        monkeypatch.setenv("HOOK_URL", "http://127.0.0.1:9/T000/B000/hush-hush")
        channel = WebhookChannel(url_env="HOOK_URL", attempts=2, **QUICK)
        letters = tmp_path / "dead.jsonl"
        with caplog.at_level("DEBUG"):
            delivery = send(MESSAGE, [channel], dead_letters=letters)[0]
        assert (delivery.state, delivery.attempts) == ("failed", 2)
        assert "hush-hush" not in caplog.text + delivery.error + letters.read_text("utf-8")

    def test_a_secret_that_is_not_set_is_named(self, monkeypatch):
        monkeypatch.delenv("HOOK_URL", raising=False)
        delivery = send(MESSAGE, [WebhookChannel(url_env="HOOK_URL")])[0]
        assert delivery.state == "failed" and "HOOK_URL is not set" in delivery.error

    def test_slack_and_teams_bodies(self):
        with Receiver() as receiver:
            send(
                MESSAGE,
                [WebhookChannel(url=receiver.url, body="slack", **QUICK)],
            )
            send(MESSAGE, [WebhookChannel(url=receiver.url, body="teams", **QUICK)])
        slack, teams = (json.loads(body) for _, _, body in receiver.requests)
        assert slack["text"] == "[warning] fare has drifted &lt;again&gt;"
        assert {block["type"] for block in slack["blocks"]} == {"header", "section"}
        card = teams["attachments"][0]
        assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
        assert card["content"]["type"] == "AdaptiveCard"
        assert {"title": "PSI", "value": "0.31"} in card["content"]["body"][2]["facts"]

    @given(st.text(min_size=1, max_size=5000), st.integers(0, 60))
    def test_slack_stays_within_its_limits(self, text, facts):
        message = Message(text, text, "info", {str(i): text for i in range(facts)}, next=text)
        for block in templates.slack(message)["blocks"]:
            if block["type"] == "header":
                assert len(block["text"]["text"]) <= 150
            else:
                assert len(block.get("text", {}).get("text", "")) <= 3000
                assert len(block.get("fields", [])) <= 10


def test_one_slow_channel_holds_up_no_other_and_a_dead_letter_is_sent_later(tmp_path):
    letters, path = tmp_path / "dead.jsonl", tmp_path / "alerts.jsonl"
    with socket.socket() as listener:  # accepts, never answers
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        mute = WebhookChannel(name="hook", url=url, attempts=1, timeout_seconds=0.3)
        states = [
            d.state
            for d in send(MESSAGE, [mute, FileChannel(path=str(path))], dead_letters=letters)
        ]
    assert states == ["failed", "sent"]
    kept = DeadLetters(letters)
    assert [letter["channel"] for letter in kept.read()] == ["hook"]
    with open(letters, "a", encoding="utf-8") as file:
        file.write('{"channel": "cut sh')
    with Receiver() as receiver:
        mended = WebhookChannel(name="hook", url=receiver.url, **QUICK)
        assert [d.state for d in kept.resend([mended], send)] == ["sent"]
    assert kept.read() == []
    assert json.loads(receiver.requests[0][2])["id"] == MESSAGE.id


class TestPrometheus:
    def test_files_that_prometheus_reads(self, tmp_path):
        from prometheus_client.parser import text_fd_to_metric_families as parse

        channel = PrometheusChannel(folder=str(tmp_path))

        def value():
            (file,) = tmp_path.glob("*.prom")
            families = {f.name: f for f in parse(io.StringIO(file.read_text("utf-8")))}
            return families["flywheel_incident_open"].samples[0]

        send(MESSAGE, [channel])
        assert value().value == 1 and value().labels["incident"] == "drift:fare"
        send(Message("over", "", "warning", key="drift:fare", status="resolved"), [channel])
        assert value().value == 0

    def test_a_gateway(self):
        with Receiver([202]) as receiver:
            gateway = receiver.url.removesuffix("/hook")
            channel = PrometheusChannel(gateway=gateway, **QUICK)
            assert send(MESSAGE, [channel])[0].state == "sent"
            resolved = Message("over", "", "warning", key="drift:fare", status="resolved")
            assert send(resolved, [channel])[0].state == "sent"
        (path, _, body), (path_after, _, body_after) = receiver.requests
        assert path == path_after and path.startswith("/metrics/job/flywheel/incident")
        assert b"flywheel_incident_open" in body and body_after == b""


def pubsub_emulator() -> str | None:
    """Its start script, which needs Java, where Google's SDK has it."""
    tool = shutil.which("gcloud")
    roots = [pathlib.Path(tool).resolve().parent.parent] if tool else []
    roots.append(pathlib.Path("/usr/lib/google-cloud-sdk"))
    for root in roots:
        script = root / "platform" / "pubsub-emulator" / "bin" / "cloud-pubsub-emulator"
        if script.is_file() and shutil.which("java"):
            return str(script)
    return None


@pytest.mark.skipif(pubsub_emulator() is None, reason="Google's Pub/Sub emulator is not installed")
def test_pubsub(monkeypatch, tmp_path):
    from google.cloud import pubsub_v1

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [pubsub_emulator(), "--host=127.0.0.1", f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.1)
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
        topic, subscription = "projects/demo/topics/alerts", "projects/demo/subscriptions/reader"
        channel = PubSubChannel(topic=topic, attempts=1, timeout_seconds=20)
        delivery = send(MESSAGE, [channel])[0]
        assert (delivery.state, delivery.error) == ("failed", "answered NotFound")
        pubsub_v1.PublisherClient().create_topic(request={"name": topic})
        with pubsub_v1.SubscriberClient() as reader:
            reader.create_subscription(request={"name": subscription, "topic": topic})
            assert send(MESSAGE, [channel])[0].state == "sent"
            answer = reader.pull(
                request={"subscription": subscription, "max_messages": 1}, timeout=20
            )
        received = answer.received_messages[0].message
        assert json.loads(received.data)["title"] == MESSAGE.title
        assert dict(received.attributes)["key"] == "drift:fare"
    finally:
        import signal

        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


class TestOptions:
    def test_every_kind_is_read_from_a_config(self):
        options = AlertOptions.model_validate(
            {
                "channels": [
                    {"type": "console"},
                    {"type": "file", "path": "a.jsonl"},
                    {"type": "webhook", "url_env": "HOOK", "body": "teams"},
                    {"type": "smtp", "host": "h", "sender": "a@b", "to": ["c@d"]},
                    {"type": "pubsub", "topic": "projects/p/topics/t"},
                    {"type": "prometheus", "folder": "metrics"},
                ]
            }
        )
        assert [c.title for c in options.targets] == [c.type for c in options.channels]
        assert [c.type for c in AlertOptions().targets] == ["console"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"type": "webhook"},
            {"type": "webhook", "url": "https://a", "url_env": "B"},
            {"type": "webhook", "url": "ftp://a"},
            {"type": "webhook", "url": "https://a", "secret": "in the open"},
            {"type": "smtp", "host": "h", "sender": "a@b", "to": ["c"], "username": "u"},
            {"type": "prometheus"},
            {"type": "pubsub", "topic": "t"},
            {"type": "pigeon"},
        ],
    )
    def test_what_cannot_work_is_refused(self, wrong):
        with pytest.raises(ValueError):
            AlertOptions.model_validate({"channels": [wrong]})
