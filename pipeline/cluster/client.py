"""A Kubeflow Pipelines cluster: what it has, and what is put there once."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from models.errors import ConfigError
from pipeline.cluster.follow import Progress, read_progress
from pipeline.cluster.options import ClusterOptions
from pipeline.cluster.transport import ClusterError, Unavailable, again, bound

_PAGE = 100


@dataclasses.dataclass(frozen=True)
class Uploaded:
    """One version of a pipeline on the cluster.

    Attributes:
      pipeline_id: Of the pipeline.
      version_id: Of the version.
      name: Of the pipeline.
      version: Name of the version: the beginning of its content's SHA-256.
      new: Whether this call uploaded it.
    """

    pipeline_id: str
    version_id: str
    name: str
    version: str
    new: bool


class Cluster:
    """Kubeflow Pipelines through the kfp client, with limits and errors in words.

    Args:
      options: Where it is and who we are to it.

    Raises:
      ConfigError: NO_HOST, NO_CA_FILE.
      ClusterError: when the cluster refuses or cannot be reached.
    """

    def __init__(self, options: ClusterOptions):
        host = options.host or os.environ.get("KF_PIPELINES_ENDPOINT")
        if not host:
            raise ConfigError(
                "NO_HOST",
                "No Kubeflow Pipelines is named.",
                next="Name one: `--host https://kubeflow.example.com/pipeline`, `kubeflow.cluster."
                "host` in the config, or KF_PIPELINES_ENDPOINT.",
            )
        if options.ca_file and not pathlib.Path(options.ca_file).is_file():
            raise ConfigError(
                "NO_CA_FILE",
                f"There is no file of certificate authorities `{options.ca_file}`.",
                next="Mend `kubeflow.cluster.ca_file`.",
            )
        host = host if "://" in host else f"https://{host}"
        self._options = options
        self.host = without_credentials(host.rstrip("/"))
        self._kfp = _connect(host, self.host, options)

    def upload(self, package: pathlib.Path, name: str, version: str) -> Uploaded:
        """Makes sure that a version is there; the same content is uploaded once.

        Args:
          package: YAML file.
          name: Of the pipeline.
          version: Name of the version, derived from the content.
        """
        namespace = self._options.namespace
        where = {"namespace": namespace} if namespace else {}
        pipeline, _ = self._once(
            lambda: self._only("pipelines", name, self._kfp.list_pipelines, **where),
            lambda: self._kfp.upload_pipeline(str(package), pipeline_name=name, **where),
        )
        # The first upload made a version under a name of the server's choice: ours goes beside
        # it, where the next call finds it by its content.
        identifier = pipeline.pipeline_id
        found, added = self._once(
            lambda: self._only(
                "pipeline_versions",
                version,
                self._kfp.list_pipeline_versions,
                pipeline_id=identifier,
            ),
            lambda: self._kfp.upload_pipeline_version(
                str(package), pipeline_version_name=version, pipeline_id=identifier
            ),
        )
        return Uploaded(identifier, found.pipeline_version_id, name, version, added)

    def experiment(self) -> str:
        """The id of the configured experiment, made when it is not there."""
        name, namespace = self._options.experiment, self._options.namespace
        where = {"namespace": namespace} if namespace else {}
        found, _ = self._once(
            lambda: self._only("experiments", name, self._kfp.list_experiments, **where),
            lambda: self._kfp.create_experiment(name, **where),
        )
        return found.experiment_id

    def start(
        self, uploaded: Uploaded, name: str, parameters: dict[str, Any], **how: Any
    ) -> tuple[Any, bool]:
        """Starts a run with this display name, unless there is one.

        Args:
          uploaded: What to run.
          name: Display name; the run is looked for by it before it is asked for again.
          parameters: Runtime parameters.
          **how: `pipeline_root`, `service_account`, as `kfp.Client.run_pipeline` takes them.

        Returns:
          The run, and whether this call started it.
        """
        experiment = self.experiment()
        return self._once(
            lambda: self._only("runs", name, self._kfp.list_runs, experiment_id=experiment),
            lambda: self._kfp.run_pipeline(
                experiment,
                name,
                params=parameters,
                pipeline_id=uploaded.pipeline_id,
                version_id=uploaded.version_id,
                **how,
            ),
        )

    def schedules(self, name: str | None = None) -> list[Any]:
        """Recurring runs of the experiment; with a name only those called so."""
        where = {"experiment_id": self.experiment()}
        return list(self._all("recurring_runs", name, self._kfp.list_recurring_runs, **where))

    def schedule(
        self, uploaded: Uploaded, name: str, cron: str, parameters: dict[str, Any], **how: Any
    ) -> tuple[Any, str]:
        """Makes sure that there is exactly one schedule with this name, and that it is this one.

        What an earlier call left behind is put out of force before the new one is made, so that
        a call that is cut off leaves one too few and never one too many.

        Args:
          uploaded: What to run.
          name: Display name of the schedule.
          cron: Six fields, seconds first.
          parameters: Runtime parameters.
          **how: `pipeline_root`, `service_account`.

        Returns:
          The schedule, and `created`, `updated` or `unchanged`.
        """
        wanted = (uploaded.version_id, cron, _comparable(parameters), how)
        there = self.schedules(name)
        same = [s for s in there if _enabled(s) and _meaning(s, how) == wanted]
        for stale in there:
            if same and stale is same[0]:
                continue
            self._gone(lambda s=stale: self._kfp.disable_recurring_run(s.recurring_run_id))
            self._gone(lambda s=stale: self._kfp.delete_recurring_run(s.recurring_run_id))
        if same:
            return same[0], "unchanged" if len(there) == 1 else "updated"
        experiment = self.experiment()
        made, _ = self._once(
            lambda: next(iter(self.schedules(name)), None),
            lambda: self._kfp.create_recurring_run(
                experiment,
                name,
                cron_expression=cron,
                max_concurrency=1,
                no_catchup=True,
                params=parameters,
                pipeline_id=uploaded.pipeline_id,
                version_id=uploaded.version_id,
                **how,
            ),
        )
        return made, "updated" if there else "created"

    def unschedule(self, name: str) -> int:
        """Deletes the schedules with this name; returns how many there were."""
        there = self.schedules(name)
        for stale in there:
            self._gone(lambda s=stale: self._kfp.delete_recurring_run(s.recurring_run_id))
        return len(there)

    def runs(self, limit: int = 20) -> list[Any]:
        """Runs of the experiment, newest first."""
        answer = self._asked(
            self._kfp.list_runs,
            experiment_id=self.experiment(),
            page_size=limit,
            sort_by="created_at desc",
        )
        return list(answer.runs or [])

    def run(self, run_id: str) -> Any:
        """One run with its tasks."""
        return self._asked(self._kfp.get_run, run_id)

    def progress(self, run_id: str) -> Progress:
        """How far a run is; for `follow`."""
        return read_progress(self.run(run_id))

    def terminate(self, run_id: str) -> Any:
        """Asks for the end of a run; returns the run as it is then."""
        state = self.run(run_id).state
        if state in ("PENDING", "RUNNING", None):
            again(self._options)(self._asked, self._kfp.terminate_run, run_id)
        return self.run(run_id)

    def link(self, kind: str, identifier: str) -> str:
        """The page of a run, a recurring run or a pipeline."""
        return f"{self.host}/#/{kind}/details/{identifier}"

    def _once(self, find: Callable[[], Any], create: Callable[[], Any]) -> tuple[Any, bool]:
        """What is looked for, created if need be, looked for again when that is not certain."""

        def attempt() -> tuple[Any, bool]:
            found = find()
            if found is not None:
                return found, False
            try:
                return self._asked(create), True
            except Unavailable:
                raise
            except ClusterError as error:
                found = find() if error.status == 409 else None  # someone was faster
                if found is None:
                    raise
                return found, False

        return again(self._options)(attempt)

    def _gone(self, remove: Callable[[], Any]) -> None:
        try:
            again(self._options)(self._asked, remove)
        except ClusterError as error:
            if error.status != 404:
                raise

    def _only(self, kind: str, name: str, listing: Callable[..., Any], **where: Any) -> Any | None:
        """The first thing with exactly this display name."""
        return next(self._all(kind, name, listing, **where), None)

    def _all(
        self, kind: str, name: str | None, listing: Callable[..., Any], **where: Any
    ) -> Iterator[Any]:
        """Everything a listing holds, page by page; with a name only what is called so."""
        token = ""
        if name is not None:
            where["filter"] = json.dumps(
                {
                    "predicates": [
                        {"operation": "EQUALS", "key": "display_name", "stringValue": name}
                    ]
                }
            )
        while True:
            answer = self._asked(listing, page_token=token, page_size=_PAGE, **where)
            for thing in getattr(answer, kind) or []:
                # Older servers ignore filters they do not know.
                if name is None or thing.display_name == name:
                    yield thing
            token = answer.next_page_token or ""
            if not token:
                return

    def _asked(self, call: Callable[..., Any], *arguments: Any, **kwargs: Any) -> Any:
        # kfp prints links to stdout, where our results are.
        with contextlib.redirect_stdout(io.StringIO()):
            return call(*arguments, **kwargs)


def without_credentials(host: str) -> str:
    """The address without user and password, for people to see."""
    parts = urlsplit(host)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _connect(host: str, shown: str, options: ClusterOptions) -> Any:
    import kfp.client
    from kfp.client import set_volume_credentials

    class Client(kfp.client.Client):
        """Bounded before its constructor asks the server for the first time."""

        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            bound(self._healthz_api.api_client.rest_client, shown, options)
            return super().get_kfp_healthz(sleep_duration=sleep_duration)

    credentials = None
    if options.service_account_token:
        credentials = set_volume_credentials.ServiceAccountTokenVolumeCredentials(
            options.service_account_token
        )
    # Its own retries log whole stack traces; what matters is in the error.
    logging.getLogger("kfp").setLevel(logging.ERROR)
    with warnings.catch_warnings(), _logged_in():
        warnings.simplefilter("ignore", FutureWarning)
        client = Client(
            host=host,
            client_id=options.iap_client_id,
            namespace=options.namespace or "kubeflow",
            existing_token=os.environ.get(options.token_env) or None,
            cookies=os.environ.get(options.cookies_env) or None,
            ssl_ca_cert=options.ca_file,
            credentials=credentials,
        )
    bound(client._run_api.api_client.rest_client, shown, options)
    client.get_kfp_healthz()
    return client


@contextlib.contextmanager
def _logged_in() -> Iterator[None]:
    """Errors of Google's credentials, which Identity-Aware Proxy needs, in words."""
    from google.auth import exceptions

    try:
        yield
    except exceptions.GoogleAuthError as error:
        raise ClusterError(
            "NOT_LOGGED_IN",
            f"Google gives no token for Identity-Aware Proxy: {error}",
            next="Name a service account's key file in GOOGLE_APPLICATION_CREDENTIALS, and look at "
            "`kubeflow.cluster.iap_client_id`.",
        ) from None


def _comparable(parameters: dict[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True)


def _enabled(schedule: Any) -> bool:
    return str(schedule.status).upper() == "ENABLED"


def _meaning(schedule: Any, how: dict[str, Any]) -> tuple[Any, ...]:
    """What a schedule on the cluster runs, when, and with what."""
    reference = schedule.pipeline_version_reference
    trigger = schedule.trigger.cron_schedule if schedule.trigger else None
    runtime = schedule.runtime_config
    has = {
        "pipeline_root": (runtime.pipeline_root if runtime else None) or None,
        "service_account": schedule.service_account or None,
    }
    return (
        reference.pipeline_version_id if reference else None,
        trigger.cron if trigger else None,
        _comparable((runtime.parameters if runtime else None) or {}),
        {key: has[key] for key in how},
    )
