"""A message as text, HTML, Slack blocks and a Teams card."""

from __future__ import annotations

import html as markup
from typing import Any

from monitoring.alerts.message import Message

_WORDS = {"info": "note", "warning": "warning", "critical": "critical"}
_COLOURS = {"info": "#3b6fb6", "warning": "#b26a00", "critical": "#b3261e", "resolved": "#2e7d32"}
_TEAMS = {"info": "accent", "warning": "warning", "critical": "attention", "resolved": "good"}
#: What Slack takes at most in a header, a section's text, and a section's fields.
_SLACK_HEADER, _SLACK_TEXT, _SLACK_FIELDS = 150, 3000, 10


def tone(message: Message) -> str:
    """Its severity, or `resolved`."""
    return "resolved" if message.status == "resolved" else message.severity


def headline(message: Message) -> str:
    """`[critical] title`."""
    word = "resolved" if message.status == "resolved" else _WORDS[message.severity]
    return f"[{word}] {message.title}"


def plain(message: Message) -> str:
    """Plain text, a paragraph, a row per fact, the next step."""
    parts = [headline(message)]
    if message.text:
        parts.append(message.text)
    if message.facts:
        width = max(map(len, message.facts))
        parts.append("\n".join(f"  {k:<{width}}  {v}" for k, v in message.facts.items()))
    if message.next:
        parts.append(f"→ {message.next}")
    return "\n".join(parts)


def html(message: Message, picture: str | None) -> str:
    """A page for a mail: inline styles, no script, nothing fetched.

    Args:
      message: Everything in it is escaped.
      picture: Source of the image, e.g. `cid:…`.
    """
    safe = markup.escape
    rows = "".join(
        f'<tr><td style="padding:2px 16px 2px 0;color:#555">{safe(name)}</td>'
        f'<td style="padding:2px 0">{safe(value)}</td></tr>'
        for name, value in message.facts.items()
    )
    image = (
        f'<p><img src="{safe(picture)}" alt="The two distributions" '
        'style="max-width:100%;height:auto"></p>'
        if picture
        else ""
    )
    step = (
        '<p style="font-family:monospace;background:#f4f4f4;padding:8px 12px">'
        f"{safe(message.next)}</p>"
        if message.next
        else ""
    )
    return (
        '<!doctype html><html><body style="font-family:sans-serif;line-height:1.45;color:#222">'
        f'<h2 style="border-left:6px solid {_COLOURS[tone(message)]};padding-left:12px">'
        f"{safe(headline(message))}</h2>"
        f'<p style="white-space:pre-line">{safe(message.text)}</p>'
        f"<table>{rows}</table>{image}{step}"
        f'<p style="color:#777;font-size:12px">{safe(message.time)}</p></body></html>'
    )


def slack(message: Message) -> dict[str, Any]:
    """Body of a Slack incoming webhook: blocks, and the text that notifications show."""

    def literal(text: str) -> str:
        # Slack's own three escapes, so that names from the data are neither links nor mentions.
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": _cut(headline(message), _SLACK_HEADER)},
        }
    ]
    if message.text:
        text = _cut(literal(message.text), _SLACK_TEXT)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    facts = [f"*{literal(name)}*\n{literal(value)}" for name, value in message.facts.items()]
    for start in range(0, len(facts), _SLACK_FIELDS):
        fields = [
            {"type": "mrkdwn", "text": _cut(fact, 2000)}
            for fact in facts[start : start + _SLACK_FIELDS]
        ]
        blocks.append({"type": "section", "fields": fields})
    if message.next:
        step = _cut(literal(message.next).replace("`", "'"), _SLACK_TEXT - 2)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"`{step}`"}})
    return {"text": literal(headline(message)), "blocks": blocks}


def teams(message: Message) -> dict[str, Any]:
    """Body for Teams: one Adaptive Card (schema 1.4); no picture, cards are limited to 28 KB."""
    body: list[dict[str, Any]] = [
        {
            "type": "TextBlock",
            "size": "Large",
            "weight": "Bolder",
            "wrap": True,
            "color": _TEAMS[tone(message)],
            "text": headline(message),
        }
    ]
    if message.text:
        body.append({"type": "TextBlock", "wrap": True, "text": message.text})
    if message.facts:
        facts = [{"title": name, "value": value} for name, value in message.facts.items()]
        body.append({"type": "FactSet", "facts": facts})
    if message.next:
        body.append(
            {"type": "TextBlock", "wrap": True, "fontType": "Monospace", "text": message.next}
        )
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": card}]}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
