"""Where the cluster is and who we are to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.options import Options


class ClusterOptions(Options):
    """Connection to a Kubeflow Pipelines API. Secrets are named here, never written here."""

    host: str | None = Field(
        None,
        description="Address of the Kubeflow Pipelines API, e.g. `https://kubeflow.example.com/"
        "pipeline`. Default: the environment variable KF_PIPELINES_ENDPOINT.",
    )
    namespace: str | None = Field(
        None, description="Namespace of the user on a multi-user Kubeflow."
    )
    experiment: str = Field("Default", description="Experiment that runs and schedules belong to.")
    token_env: str = Field(
        "KF_PIPELINES_TOKEN", description="Environment variable that holds a bearer token."
    )
    cookies_env: str = Field(
        "KF_PIPELINES_COOKIES",
        description="Environment variable that holds a session cookie, e.g. "
        "`authservice_session=…` or `oauth2_proxy_kubeflow=…`.",
    )
    service_account_token: str | None = Field(
        None,
        description="Path of a projected service account token, read again before each request: "
        "for callers inside the cluster.",
    )
    iap_client_id: str | None = Field(
        None, description="OAuth client id of Google's Identity-Aware Proxy before the API."
    )
    ca_file: str | None = Field(
        None, description="PEM file of certificate authorities to trust besides the system's."
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        30.0, description="Longest wait for one answer, in seconds."
    )
    attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        5, description="Tries per request while the server is unavailable, waiting ever longer."
    )


class VertexOptions(Options):
    """Vertex AI Pipelines on Google Cloud. Credentials are Google's application default ones."""

    project: str | None = Field(
        None, description="Google Cloud project. Default: that of the credentials."
    )
    region: str = Field("us-central1", description="Region that the job runs in.")
    endpoint: str | None = Field(
        None,
        description="Address of the API where it is not the region's public one (Private Service "
        "Connect): `host:port`.",
    )
