"""The pages. Each answers one question; what it shows, the API says too."""

from __future__ import annotations

import functools
import hashlib
from typing import Annotated, Any
from urllib.parse import urlsplit

import jinja2
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from control_center import (
    artifacts,
    asking,
    card,
    cluster,
    comparison,
    features,
    live,
    look,
    overview,
    proposal,
    rooms,
    run_page,
    trail,
    watching,
)
from control_center import scorecard as scores
from control_center import versions as deployed
from control_center.access import CenterOf, accounts_of, center_of, sessions_of, user_of
from control_center.api.errors import status_of
from control_center.api.session import set_cookie
from control_center.auth import User
from models.errors import ConfigError, FlywheelError
from pipeline.demos import DEMOS
from pipeline.report import words

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
NAVIGATION = (
    ("/", "Home", "h"),
    ("/run", "Run it", "n"),
    ("/runs", "Runs", "r"),
    ("/models", "Models", "m"),
    ("/why", "Why this model", "w"),
    ("/monitoring", "Monitoring", "o"),
    ("/automation", "Automation", "a"),
    ("/deploy", "Deploy", "d"),
    ("/scorecard", "Scorecard", "s"),
)
_PAGE_ROWS = 50
_ASSETS = {
    "report.css": (look.REPORT / "style.css", "text/css"),
    "dark.css": (look.REPORT / "dark.css", "text/css"),
    "theme.js": (look.REPORT / "theme.js", "text/javascript"),
}


@functools.lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    return look.environment()


@functools.lru_cache(maxsize=1)
def sections() -> run_page.Sections:
    return run_page.Sections(environment())


@functools.lru_cache(maxsize=1)
def build() -> str:
    """Changes with our static files, so that a browser never keeps old ones."""
    digest = hashlib.sha256()
    static = look.REPORT.parent.parent / "control_center" / "static"
    for path in sorted(static.rglob("*")) + [path for path, _ in _ASSETS.values()]:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def page(request: Request, name: str, title: str, *, status: int = 200, **content: Any) -> Response:
    """A page for whoever asks; without a session it begins one, without a login it asks for it."""
    user = user_of(request)
    if user is None and accounts_of(request).needed and name not in ("login", "error"):
        return RedirectResponse("/login", 303)
    sessions = sessions_of(request)
    cookie = request.cookies.get(sessions.COOKIE)
    fresh = None
    if not sessions.csrf(cookie):
        cookie = fresh = sessions.new()
        user = sessions.user(cookie) or user
    html = (
        environment()
        .get_template(f"{name}.html")
        .render(
            title=title,
            user=user or User("", "viewer"),
            login_needed=accounts_of(request).needed,
            csrf=sessions.csrf(cookie),
            path=request.url.path,
            navigation=NAVIGATION,
            build=build(),
            project=_project(request),
            **content,
        )
    )
    answer = HTMLResponse(words.printable(html), status)
    if fresh:
        set_cookie(request, answer, fresh)
    return answer


def _project(request: Request) -> str:
    center = center_of(request)
    return center.folder.name if center.problem else center.config.name


def problem(request: Request, error: FlywheelError) -> Response:
    """A page about what went wrong."""
    return page(
        request, "error", "Not here", status=status_of(error), reason=error.reason.to_dict()
    )


def shown(function: Any) -> Any:
    """Errors a user can act on become a page; without a login nothing is looked up."""

    @functools.wraps(function)
    def wrapped(request: Request, *args: Any, **kwargs: Any) -> Response:
        if user_of(request) is None and accounts_of(request).needed:
            return RedirectResponse("/login", 303)
        try:
            return function(request, *args, **kwargs)
        except FlywheelError as error:
            return problem(request, error)

    return wrapped


@router.get("/assets/{name}")
def asset(name: str) -> Response:
    """Stylesheets and the theme's script, shared with the report."""
    if name not in _ASSETS:
        return Response(status_code=404)
    path, kind = _ASSETS[name]
    return Response(
        path.read_bytes(), media_type=kind, headers={"cache-control": "public, max-age=3600"}
    )


@router.get("/")
@shown
def home(request: Request, center: CenterOf) -> Response:
    found = overview.overview(center)
    return page(
        request,
        "home",
        "Home",
        **found,
        wheel=overview.wheel(found["parts"]),
        recent=[center.runs.row(i).to_dict() for i in center.runs.ids()[:6]],
        no_config=bool(center.problem and center.problem.reason.code == "NO_CONFIG"),
        first=None if center.problem or center.runs.ids() else overview.first_run(center),
        demos={name.removeprefix("demo:"): about["question"] for name, about in DEMOS.items()},
        config_path=str(center.config_path),
    )


@router.get("/run")
@shown
def start(request: Request, center: CenterOf, again: str | None = None) -> Response:
    if center.problem:
        if center.problem.reason.code == "NO_CONFIG":
            return RedirectResponse("/", 303)
        raise center.problem
    text = center.config_path.read_text("utf-8")
    if again:
        text = run_page.config_text(center, center.run(again).id) or text
    return page(
        request,
        "start",
        "Run it",
        text=text,
        again=again,
        running=[r.to_dict() for r in center.runs.running()],
        keys=proposal.describe_keys(),
        upload_bytes=center.options.upload_bytes,
        data=center.shown(center.config.data.path),
    )


@router.get("/runs")
@shown
def runs(
    request: Request,
    center: CenterOf,
    number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
) -> Response:
    ids = center.runs.ids()
    first = (number - 1) * _PAGE_ROWS
    return page(
        request,
        "runs",
        "Runs",
        rows=[center.runs.row(i).to_dict() for i in ids[first : first + _PAGE_ROWS]],
        number=number,
        pages=max(1, -(-len(ids) // _PAGE_ROWS)),
        total=len(ids),
        cluster=cluster.state(center) if number == 1 else None,
    )


@router.get("/runs/{run_id}")
@router.get("/runs/{run_id}/{tab}")
@shown
def run(
    request: Request,
    center: CenterOf,
    run_id: str,
    tab: str = "",
    feature: Annotated[str | None, Query(max_length=1000)] = None,
    column: Annotated[str | None, Query(max_length=1000)] = None,
    value: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:
    row = center.run(run_id)
    if tab not in run_page.NAMES:
        raise ConfigError("UNKNOWN_RUN", "A run has no such page.", next=f"See /runs/{run_id}.")
    folder = center.workspace.run(run_id)
    common = {
        "row": row.to_dict(),
        "result": row.result,
        "tab": tab,
        "tabs": run_page.NAMES,
        "has_report": folder.report.is_file(),
        "attempts": [r.to_dict() for r in center.runs.attempts(run_id)],
    }
    title = f"Run {run_id}"
    if tab in run_page.TABS:
        closer = features.page(center, run_id, feature, column, value) if tab == "data" else None
        parts = sections().of(center, row, tab)
        return page(request, "run_sections", title, **common, parts=parts, closer=closer)
    if tab == "files":
        files = artifacts.files(center, run_id)
        return page(
            request,
            "run_files",
            title,
            **common,
            files=files,
            config=run_page.config_text(center, run_id),
        )
    if tab == "log":
        text, end = live.tail(folder, 60_000)
        return page(request, "run_log", title, **common, log=text, end=end)
    if row.state == "running":
        follower = live.Follower(folder)
        follower.advance()
        text, end = live.tail(folder, 8_000)
        return page(
            request,
            "run_live",
            title,
            **common,
            snapshot=follower.snapshot,
            picture=run_page.live_picture(follower.snapshot, run_id),
            log=text,
            end=end,
        )
    return page(request, "run", title, **common, **run_page.overview(center, row))


@router.get("/compare")
@shown
def compare(
    request: Request,
    center: CenterOf,
    run: Annotated[list[str], Query(max_length=5)] = [],  # noqa: B006 (FastAPI reads it)
) -> Response:
    chosen = list(dict.fromkeys(run))
    for run_id in chosen:
        center.run(run_id)
    found = comparison.compare(center, chosen) if len(chosen) > 1 else None
    return page(request, "compare", "Compare", found=found, chosen=chosen)


@router.get("/models")
@shown
def models(request: Request, center: CenterOf) -> Response:
    moves = deployed.moves(center)
    return page(
        request,
        "models",
        "Models",
        versions=deployed.versions(center, moves),
        history=moves[:100],
        root=str(center.registry.root),
    )


@router.get("/models/{version}")
@shown
def model(request: Request, center: CenterOf, version: str) -> Response:
    from control_center.api.models import known

    name = known(center, version)
    return page(
        request,
        "model",
        f"Version {name}",
        card=card.card(center, name),
        manifest=center.registry.manifest(name),
        deployed=center.registry.current() == name,
        fields=asking.fields(center.registry.folder(name)),
        history=[e for e in center.registry.history() if name in (e["to"], e["from"])],
    )


@router.get("/why")
@shown
def why(request: Request, center: CenterOf, version: str | None = None) -> Response:
    try:
        found = trail.trail(center, version)
    except ConfigError as error:
        if error.reason.code != "NOTHING_DEPLOYED":
            raise
        found = None
    return page(request, "why", "Why is this model serving?", found=found)


@router.get("/monitoring")
@shown
def monitoring(
    request: Request, center: CenterOf, feature: str | None = None, window: str | None = None
) -> Response:
    found = watching.page(center, feature, window)
    return page(request, "monitoring", "Monitoring", **found)


@router.get("/automation")
@shown
def automation(request: Request, center: CenterOf) -> Response:
    return page(request, "automation", "Automation", **rooms.automation(center))


@router.get("/deploy")
@shown
def deploy(request: Request, center: CenterOf) -> Response:
    return page(request, "deploy", "Deploy", **rooms.deploy(center))


@router.get("/scorecard")
@shown
def scorecard(request: Request, center: CenterOf) -> Response:
    return page(request, "scorecard", "Scorecard", **scores.scorecard(center))


@router.get("/audit")
@shown
def audit(request: Request, center: CenterOf) -> Response:
    return page(request, "audit", "Audit log", entries=center.audit.read(300))


@router.get("/login")
def login(
    request: Request,
    problem: str = "",
    seconds: Annotated[int, Query(ge=0, le=3600)] = 60,
) -> Response:
    if not accounts_of(request).needed:
        return RedirectResponse("/", 303)
    said = {
        "wrong": "Name, password or token is wrong.",
        "wait": f"Too many wrong tries: wait {seconds} s.",
        "stale": "The page was too old; try again.",
        "oidc": "The login at the provider did not succeed; the control center's log says why.",
        "unknown": "You are known to the provider, but may not use this control center.",
    }.get(problem, "")
    provider = request.app.state.oidc
    return page(
        request,
        "login",
        "Log in",
        said=said,
        provider=urlsplit(provider.options.issuer).netloc if provider else "",
        own=accounts_of(request).own,
    )
