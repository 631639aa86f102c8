"""Mail through a real SMTP server."""

from __future__ import annotations

import contextlib
import datetime
import email
import email.policy
import socket

import pytest

from monitoring.alerts.channels import send
from monitoring.alerts.options import SmtpChannel
from tests.monitoring.alerts.samples import MESSAGE, PNG, QUICK


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for the loopback: its file and its key's."""
    x509 = pytest.importorskip("cryptography.x509")
    import ipaddress

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class Mailbox:
    """What aiosmtpd hands over, after failing as often as told."""

    def __init__(self, answers=()):
        self.mails: list[bytes] = []
        self.answers = list(answers)

    async def handle_DATA(self, server, session, envelope):
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(envelope.content)
        return "250 OK"


@contextlib.contextmanager
def smtp_server(mailbox, **options):
    from aiosmtpd.controller import Controller

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


class TestMail:
    def channel(self, port, **changes):
        return SmtpChannel(
            **{
                "host": "127.0.0.1",
                "port": port,
                "security": "none",
                "sender": "flywheel@example.org",
                "to": ("a@example.org", "b@example.org"),
                **QUICK,
                **changes,
            }
        )

    def test_text_html_and_picture(self):
        mailbox = Mailbox()
        with smtp_server(mailbox) as port:
            assert send(MESSAGE, [self.channel(port)])[0].state == "sent"
        mail = email.message_from_bytes(mailbox.mails[0], policy=email.policy.default)
        assert mail["Subject"] == "[warning] fare has drifted <again>"
        assert "median 7.85 → 9.65" in mail.get_body(("plain",)).get_content()
        page = mail.get_body(("html",)).get_content()
        assert "&lt;again&gt;" in page and "<again>" not in page
        image = next(part for part in mail.walk() if part.get_content_type() == "image/png")
        assert image.get_content() == PNG
        assert f"cid:{image['Content-ID'][1:-1]}" in page

    def test_later_means_again_and_never_means_never(self):
        mailbox = Mailbox(["451 busy"])
        with smtp_server(mailbox) as port:
            delivery = send(MESSAGE, [self.channel(port)])[0]
        assert (delivery.state, delivery.attempts, len(mailbox.mails)) == ("sent", 2, 1)
        with smtp_server(Mailbox(["554 spam from flywheel@example.org"])) as port:
            delivery = send(MESSAGE, [self.channel(port)])[0]
        assert (delivery.state, delivery.attempts) == ("failed", 1)
        assert delivery.error == "the server answered 554"

    def test_encrypted_and_logged_in(self, certificate, monkeypatch):
        import ssl

        from aiosmtpd.smtp import AuthResult

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, certificate))
        seen = []

        def authenticate(server, session, envelope, mechanism, data):
            seen.append((data.login, data.password))
            good = data.password == b"open sesame"
            return AuthResult(success=good, handled=good)  # not handled: the server says 535

        monkeypatch.setenv("MAIL_PASSWORD", "open sesame")
        mailbox = Mailbox()
        options = {"tls_context": context, "authenticator": authenticate, "auth_required": True}
        with smtp_server(mailbox, **options) as port:
            channel = self.channel(
                port, security="starttls", username="me", password_env="MAIL_PASSWORD"
            )
            delivery = send(MESSAGE, [channel])[0]
            assert delivery.error == "the server's certificate is not valid"
            assert seen == []  # nothing was said to a server that could not be trusted
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
            assert send(MESSAGE, [channel])[0].state == "sent"
            monkeypatch.setenv("MAIL_PASSWORD", "wrong")
            delivery = send(MESSAGE, [channel])[0]
            assert (delivery.attempts, delivery.error) == (1, "the server answered 535")
        assert len(mailbox.mails) == 1 and seen[0] == (b"me", b"open sesame")

    def test_nobody_there(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        delivery = send(MESSAGE, [self.channel(port, attempts=2)])[0]
        assert (delivery.state, delivery.attempts) == ("failed", 2)
