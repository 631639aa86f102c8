"""Who is told what, and when."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from models.options import Options
from monitoring.alerts.message import Severity

Environment = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Seconds = Annotated[float, Field(gt=0.0, le=3600.0)]


class ChannelOptions(Options):
    """What every channel has."""

    name: str = Field("", description="How it is called in logs. Default: its type.")
    severity: Severity = Field("warning", description="The least severity it is told about.")
    attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        4, description="How often a message is tried before it becomes a dead letter."
    )
    backoff_seconds: Annotated[float, Field(ge=0.0, le=60.0)] = Field(
        1.0, description="Wait before the second attempt; doubled each time, with jitter."
    )
    timeout_seconds: Seconds = Field(10.0, description="Of one attempt.")

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or self.type  # type: ignore[attr-defined]


class ConsoleChannel(ChannelOptions):
    """To stderr of the process that sends."""

    type: Literal["console"] = "console"


class FileChannel(ChannelOptions):
    """One JSON object per line, appended."""

    type: Literal["file"] = "file"
    path: str = Field(".flywheel/alerts.jsonl", description="The file.")


class WebhookChannel(ChannelOptions):
    """An HTTP POST, signed where a secret is named."""

    type: Literal["webhook"] = "webhook"
    url: str | None = Field(None, description="Where to. Chat webhooks are secrets: `url_env`.")
    url_env: Environment | None = Field(
        None, description="Environment variable that holds the URL."
    )
    body: Literal["json", "slack", "teams"] = Field(
        "json",
        description="`json`: the message as it is. `slack`: blocks of an incoming webhook. "
        "`teams`: an Adaptive Card, as Teams' workflows take it.",
    )
    secret_env: Environment | None = Field(
        None, description="Environment variable that holds the HMAC-SHA256 key."
    )
    headers_env: dict[str, Environment] = Field(
        {}, description="Header to environment variable, e.g. `Authorization: ALERTS_TOKEN`."
    )

    @pydantic.model_validator(mode="after")
    def _one_address(self) -> WebhookChannel:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("needs either url or url_env")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("url must begin with http:// or https://")
        return self


class SmtpChannel(ChannelOptions):
    """A mail with text, HTML and the picture in it."""

    type: Literal["smtp"] = "smtp"
    host: str = Field(description="The SMTP server.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(587, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is encrypted."
    )
    sender: str = Field(description="The From address.")
    to: tuple[str, ...] = Field(min_length=1, description="The recipients.")
    username: str | None = Field(None, description="Log in as this user.")
    password_env: Environment | None = Field(
        None, description="Environment variable that holds the password."
    )

    @pydantic.model_validator(mode="after")
    def _whole_login(self) -> SmtpChannel:
        if (self.username is None) != (self.password_env is None):
            raise ValueError("username and password_env go together")
        if self.username is not None and self.security == "none":
            raise ValueError("a password is not sent over an unencrypted connection")
        return self


class PubSubChannel(ChannelOptions):
    """A message on a Google Cloud Pub/Sub topic; the credentials are the environment's."""

    type: Literal["pubsub"] = "pubsub"
    topic: Annotated[str, Field(pattern=r"^projects/[^/]+/topics/[^/]+$")] = Field(
        description="`projects/PROJECT/topics/TOPIC`."
    )


class PrometheusChannel(ChannelOptions):
    """Open incidents as metrics: files for node_exporter, or a Pushgateway."""

    type: Literal["prometheus"] = "prometheus"
    severity: Severity = Field("info", description="The least severity it is told about.")
    folder: str | None = Field(
        None, description="node_exporter's textfile folder: one `.prom` file per incident."
    )
    gateway: str | None = Field(None, description="URL of a Pushgateway.")

    @pydantic.model_validator(mode="after")
    def _one_target(self) -> PrometheusChannel:
        if (self.folder is None) == (self.gateway is None):
            raise ValueError("needs either folder or gateway")
        return self


Channel = Annotated[
    ConsoleChannel | FileChannel | WebhookChannel | SmtpChannel | PubSubChannel | PrometheusChannel,
    Field(discriminator="type"),
]

Kind = Literal["schema", "quality", "drift", "prediction", "performance", "service", "volume"]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]


class RetrainOptions(Options):
    """Which incidents ask for a new model."""

    kinds: tuple[Kind, ...] = Field(
        ("performance",),
        description="Kinds of incident that ask for a retrain. Realised performance alone by "
        "default: the largest drift predicts no fall of quality (docs/thresholds.md).",
    )
    severity: Severity = Field("warning", description="The least severity that does.")
    cooldown_hours: Annotated[float, Field(ge=0.0)] = Field(
        24.0, description="No second request within this time of the last one."
    )


class AlertOptions(Options):
    """Who is told what, and when."""

    channels: tuple[Channel, ...] = Field(
        (),
        description="Where alerts go; each has a `type`: `console`, `file`, `webhook`, `smtp`, "
        "`pubsub` or `prometheus`, and that type's keys (docs/alerts.md). Empty: the console.",
    )
    severities: dict[Kind, Severity] = Field(
        {},
        description="Kind of incident to its severity, where it is to differ from "
        "docs/alerts.md's table.",
    )
    group_from: Annotated[int, Field(ge=2)] = Field(
        4, description="So many features drifting in one window are one incident."
    )
    resolve_after: Annotated[int, Field(ge=1)] = Field(
        2, description="Windows in a row without a finding until an incident is resolved."
    )
    cooldown_hours: Annotated[float, Field(ge=0.0)] = Field(
        24.0,
        description="A matter that comes back within this time of its resolution re-opens its "
        "incident without a new message.",
    )
    remind_hours: Annotated[float, Field(gt=0.0)] = Field(
        24.0, description="An open incident nobody acknowledged is told again after this time."
    )
    escalate_hours: Annotated[float, Field(gt=0.0)] = Field(
        72.0,
        description="An open incident nobody acknowledged becomes one severity worse after this "
        "time, once.",
    )
    dead_letters: str = Field(
        ".flywheel/alerts.dead.jsonl",
        description="Messages that no attempt delivered: `flywheel alerts resend`.",
    )
    retrain: RetrainOptions = Field(default_factory=RetrainOptions)

    @property
    def targets(self) -> tuple[ChannelOptions, ...]:
        """The channels; the console where none is configured."""
        return self.channels or (ConsoleChannel(),)
