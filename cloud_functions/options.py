"""How the model is served, and what may start a run by itself."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from models.strict import Options

Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]


class ServingOptions(Options):
    """The predict function."""

    port: Port = Field(8080, description="Where `flywheel functions serve predict` listens.")
    threads: Count = Field(16, description="Requests worked on at the same time, per process.")
    interpreters: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="LiteRT interpreters per process; an interpreter serves one at a time."
    )
    max_rows: Count = Field(10_000, description="Most rows of one request.")
    max_bytes: Count = Field(16 << 20, description="Largest body of a request.")
    max_pixels: Count = Field(
        25_000_000,
        description="Largest image of a row, width times height. A file of a few kilobytes can "
        "hold one that takes gigabytes; its header is looked at before it is decoded.",
    )
    unknown_features: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="What to do with a row that names a feature the model does not have. A "
        "misspelt name that is ignored would be predicted as a missing value.",
    )
    reload_seconds: Annotated[float, Field(gt=0.0)] = Field(
        1.0, description="How often the pointer to the deployed version is looked at."
    )
    log_rows: Count = Field(50_000, description="Most predictions that wait for a log file.")
    log_seconds: Annotated[float, Field(gt=0.0)] = Field(
        30.0, description="Longest a prediction waits for its log file."
    )
    log_bytes: Count = Field(
        64 << 20,
        description="Most memory of predictions that wait; beyond it, when the disk is slow or "
        "full, further ones are answered and not logged, and counted.",
    )


class DropOptions(Options):
    """When new data is complete."""

    pattern: str = Field("*", description="Glob of the objects that are data, e.g. `trips/*.csv`.")
    complete: Literal["at_once", "quiet", "manifest"] = Field(
        "quiet",
        description="`at_once`: every object is a drop. `quiet`: a folder is one when nothing "
        "arrived in it for `quiet_seconds`. `manifest`: a folder is one when `manifest` is in it.",
    )
    quiet_seconds: Annotated[float, Field(ge=0.0)] = Field(
        60.0, description="How long nothing may have arrived."
    )
    manifest: str = Field(
        "_SUCCESS",
        description="Name of the object that is written last. When it holds JSON "
        '`{"files": {name: bytes}}`, every file must be there with that size.',
    )
    min_bytes: Annotated[int, Field(ge=0)] = Field(
        1, description="A drop with fewer bytes in all is refused."
    )
    use: Literal["drop", "config"] = Field(
        "drop",
        description="`drop`: the run reads the drop. `config`: it reads the config's `data.path`, "
        "of which the drop is a part.",
    )


class BrakeOptions(Options):
    """What keeps drift, retrain, drift from spinning."""

    cooldown_minutes: Annotated[float, Field(ge=0.0)] = Field(
        60.0, description="No run by an alert within this time of the start of the last run."
    )
    daily_cap: Annotated[int, Field(ge=0)] = Field(
        6, description="Most runs within 24 hours, whatever asked for them."
    )
    in_flight_hours: Annotated[float, Field(gt=0.0)] = Field(
        12.0,
        description="A run that has not said how it ended after this time is taken for lost, and "
        "no longer stands in the way of the next.",
    )


class AuthOptions(Options):
    """Who may call the HTTP triggers."""

    audience: str | None = Field(
        None,
        description="Audience that a caller's OIDC token must name, usually the function's URL. "
        "None: tokens are not looked at; right only where the platform does (Cloud Run's IAM), or "
        "on one machine.",
    )
    accounts: tuple[str, ...] = Field((), description="E-mails of the service accounts let in.")
    issuers: tuple[str, ...] = Field(
        ("https://accounts.google.com", "accounts.google.com"), description="Issuers let in."
    )
    certificates: str = Field(
        "https://www.googleapis.com/oauth2/v3/certs",
        description="URL of the issuer's public keys: a JWKS, or key id to PEM.",
    )

    @pydantic.model_validator(mode="after")
    def _someone(self) -> AuthOptions:
        if self.audience is not None and not self.accounts:
            raise ValueError("with an audience, accounts must name who is let in")
        return self


class BackendOptions(Options):
    """Where runs are started."""

    type: Literal["local", "kubeflow"] = Field(
        "local", description="`local`: a process on this machine. `kubeflow`: Kubeflow Pipelines."
    )
    host: str | None = Field(None, description="kubeflow: URL of the Pipelines API.")
    pipeline_id: str | None = Field(None, description="kubeflow: the uploaded pipeline.")
    pipeline_version_id: str | None = Field(None, description="kubeflow: its version.")
    experiment_id: str | None = Field(None, description="kubeflow: the experiment of the runs.")
    service_account: str | None = Field(None, description="kubeflow: the pods' service account.")
    token_env: str | None = Field(
        None, description="kubeflow: environment variable that holds a bearer token."
    )
    token_file: str | None = Field(
        None, description="kubeflow: file that holds a bearer token, read for every run."
    )
    data_parameter: str = Field(
        "data_path", description="kubeflow: the pipeline's parameter that names the data."
    )

    @pydantic.model_validator(mode="after")
    def _whole(self) -> BackendOptions:
        if self.type == "kubeflow" and not (self.host and self.pipeline_id):
            raise ValueError("type kubeflow needs host and pipeline_id")
        return self


class TopicOptions(Options):
    """Where events are published: `projects/PROJECT/topics/TOPIC`, or the URL of a local bus."""

    alerts: str | None = Field(None, description="Read by `on_alert`.")
    runs: str | None = Field(None, description="Read by `on_run_finished`.")


class AutomationOptions(Options):
    """The functions that react to events, and their brakes."""

    data: DropOptions = Field(default_factory=DropOptions)
    brakes: BrakeOptions = Field(default_factory=BrakeOptions)
    auth: AuthOptions = Field(default_factory=AuthOptions)
    backend: BackendOptions = Field(default_factory=BackendOptions)
    topics: TopicOptions = Field(default_factory=TopicOptions)
    jobs: str = Field(".flywheel/jobs", description="Folder of the runs that were started here.")
    ledger: str = Field(
        ".flywheel/ledger.sqlite",
        description="Events that were seen, runs that were asked for, dead letters: a SQLite file, "
        "or `firestore://PROJECT/COLLECTION` (`firestore://PROJECT/DATABASE/COLLECTION`).",
    )
    inbox: str | None = Field(
        None, description="Folder that `flywheel functions up` watches for new data."
    )
    check_seconds: Annotated[float, Field(gt=0.0)] = Field(
        300.0, description="How often `flywheel functions up` calls check_drift."
    )
    max_age_hours: Annotated[float, Field(gt=0.0)] = Field(
        24.0, description="An event older than this is dropped, with a record."
    )
    lease_seconds: Annotated[float, Field(gt=0.0)] = Field(
        120.0,
        description="Longest a handler may take for an event. After it, a redelivery takes the "
        "event over from a handler that died.",
    )
    attempts: Count = Field(
        8, description="Deliveries of one event that may fail until it becomes a dead letter."
    )
