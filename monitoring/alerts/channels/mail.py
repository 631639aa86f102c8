"""A mail: plain text, HTML, and the picture inside the HTML."""

from __future__ import annotations

import email.utils
import smtplib
import ssl
from email.message import EmailMessage

from monitoring.alerts import templates
from monitoring.alerts.channels.errors import Undelivered, secret
from monitoring.alerts.message import Message
from monitoring.alerts.options import SmtpChannel


def compose(message: Message, options: SmtpChannel) -> EmailMessage:
    """The mail. All about one matter carry the same thread, so a mailbox groups them."""
    mail = EmailMessage()
    domain = options.sender.rpartition("@")[2].rstrip(">") or "localhost"
    mail["Subject"] = " ".join(templates.headline(message).split())
    mail["From"] = options.sender
    mail["To"] = ", ".join(options.to)
    mail["Date"] = email.utils.formatdate(usegmt=True)
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    if message.key:
        mail["References"] = f"<{''.join(filter(str.isalnum, message.key))}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(templates.plain(message))
    name = email.utils.make_msgid(domain=domain)
    mail.add_alternative(
        templates.html(message, f"cid:{name[1:-1]}" if message.picture else None), subtype="html"
    )
    if message.picture:
        page = mail.get_payload()[1]
        page.add_related(message.picture, "image", "png", cid=name, filename="distributions.png")
    return mail


def deliver(message: Message, options: SmtpChannel) -> None:
    mail = compose(message, options)
    password = secret(options.password_env) if options.password_env else None
    try:
        with _connect(options) as server:
            if options.username and password is not None:
                server.login(options.username, password)
            refused = server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        # 4xx: try later, 5xx: never (RFC 5321, 4.2.1). The server's text may name the account.
        raise Undelivered(
            f"the server answered {error.smtp_code}", temporary=400 <= error.smtp_code < 500
        ) from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = {code for code, _ in error.recipients.values()}
        raise Undelivered(
            f"every recipient was refused ({', '.join(map(str, sorted(codes)))})",
            temporary=all(400 <= code < 500 for code in codes),
        ) from None
    except smtplib.SMTPNotSupportedError:
        raise Undelivered("the server offers no encryption or login", temporary=False) from None
    except ssl.SSLCertVerificationError:
        raise Undelivered("the server's certificate is not valid", temporary=False) from None
    except (OSError, smtplib.SMTPException) as error:
        raise Undelivered(f"no connection ({type(error).__name__})", temporary=True) from None
    if refused:
        raise Undelivered(
            f"{len(refused)} of {len(options.to)} recipients were refused", temporary=False
        )


def _connect(options: SmtpChannel) -> smtplib.SMTP:
    if options.security == "tls":
        return smtplib.SMTP_SSL(
            options.host,
            options.port,
            timeout=options.timeout_seconds,
            context=ssl.create_default_context(),
        )
    server = smtplib.SMTP(options.host, options.port, timeout=options.timeout_seconds)
    if options.security == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
    return server
