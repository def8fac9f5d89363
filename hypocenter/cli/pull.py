"""``hypocenter pull``: a window of what a server holds, into a store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .answers import Output
from .places import FolderPlace

if TYPE_CHECKING:
    from ..tracer.batch import Tally
    from ..tracer.window import Window

pull = typer.Typer(
    name="pull", no_args_is_help=True, help="Pull a window from Prometheus, Jaeger, Tempo, Zipkin or Alertmanager."
)

_Url = Annotated[str, typer.Argument(metavar="URL", help="The server's address up to, not including, /api.")]
_Since = Annotated[str, typer.Option("--since", help="Begin: RFC 3339, epoch or relative (-1h).")]
_Until = Annotated[str, typer.Option("--until", help="End, not included.")]
_Bearer = Annotated[str | None, typer.Option("--bearer-token-file", help="File with a bearer token.")]
_User = Annotated[str | None, typer.Option("--username", help="User name for basic authentication.")]
_Password = Annotated[str | None, typer.Option("--password-file", help="File with its password.")]
_Ca = Annotated[str | None, typer.Option("--ca-file", help="Certificate of the authority to trust.")]
_Cert = Annotated[str | None, typer.Option("--cert-file", help="Client certificate.")]
_Key = Annotated[str | None, typer.Option("--key-file", help="Its key.")]
_Insecure = Annotated[bool, typer.Option("--insecure-skip-verify", help="Do not check the server's certificate.")]
_Tenant = Annotated[str | None, typer.Option("--tenant", help="Sent as X-Scope-OrgID.")]
_Timeout = Annotated[str, typer.Option("--timeout", help="Longest wait for one answer.")]
_Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Traces of one answer; longer windows are halved.")]


@pull.command(short_help="Series of a Prometheus, Mimir, Thanos or VictoriaMetrics.")
def prometheus(
    url: _Url,
    store: FolderPlace,
    since: _Since = "-1h",
    until: _Until = "now",
    match: Annotated[
        list[str] | None,
        typer.Option(help="Selector of series, as scraped; repeat for more. None: the useful ones are found by name."),
    ] = None,
    query: Annotated[list[str] | None, typer.Option(help="PromQL expression, each 15 s or --step.")] = None,
    step: Annotated[str | None, typer.Option(help="Thin out to multiples of this, e.g. 1m.")] = None,
    exemplars: Annotated[bool, typer.Option(help="Pull exemplars too.")] = True,
    bearer_token_file: _Bearer = None,
    username: _User = None,
    password_file: _Password = None,
    ca_file: _Ca = None,
    cert_file: _Cert = None,
    key_file: _Key = None,
    insecure_skip_verify: _Insecure = False,
    tenant: _Tenant = None,
    timeout: _Timeout = "2m",
    output: Output = "text",
) -> None:
    """Series of a Prometheus, or of what speaks its query API (Mimir, Thanos, VictoriaMetrics)."""
    _pull("prometheus", locals() | {"queries": query})


@pull.command()
def jaeger(
    url: _Url,
    store: FolderPlace,
    since: _Since = "-1h",
    until: _Until = "now",
    service: Annotated[list[str] | None, typer.Option(help="Only traces with this service; repeat for more.")] = None,
    limit: _Limit = None,
    bearer_token_file: _Bearer = None,
    username: _User = None,
    password_file: _Password = None,
    ca_file: _Ca = None,
    cert_file: _Cert = None,
    key_file: _Key = None,
    insecure_skip_verify: _Insecure = False,
    tenant: _Tenant = None,
    timeout: _Timeout = "2m",
    output: Output = "text",
) -> None:
    """Traces of a Jaeger, whole, each once."""
    _pull("jaeger", locals() | {"services": service})


@pull.command()
def tempo(
    url: _Url,
    store: FolderPlace,
    since: _Since = "-1h",
    until: _Until = "now",
    query: Annotated[str | None, typer.Option(help="TraceQL; by default all traces.")] = None,
    limit: _Limit = None,
    bearer_token_file: _Bearer = None,
    username: _User = None,
    password_file: _Password = None,
    ca_file: _Ca = None,
    cert_file: _Cert = None,
    key_file: _Key = None,
    insecure_skip_verify: _Insecure = False,
    tenant: _Tenant = None,
    timeout: _Timeout = "2m",
    output: Output = "text",
) -> None:
    """Traces of a Tempo that a search finds, whole."""
    _pull("tempo", locals())


@pull.command()
def zipkin(
    url: _Url,
    store: FolderPlace,
    since: _Since = "-1h",
    until: _Until = "now",
    limit: _Limit = None,
    bearer_token_file: _Bearer = None,
    username: _User = None,
    password_file: _Password = None,
    ca_file: _Ca = None,
    cert_file: _Cert = None,
    key_file: _Key = None,
    insecure_skip_verify: _Insecure = False,
    timeout: _Timeout = "2m",
    output: Output = "text",
) -> None:
    """Traces of a Zipkin, or of what serves its API."""
    _pull("zipkin", locals())


@pull.command(short_help="Alerts of an Alertmanager, as events.")
def alertmanager(
    url: _Url,
    store: FolderPlace,
    since: _Since = "-1d",
    until: _Until = "now",
    bearer_token_file: _Bearer = None,
    username: _User = None,
    password_file: _Password = None,
    ca_file: _Ca = None,
    cert_file: _Cert = None,
    key_file: _Key = None,
    insecure_skip_verify: _Insecure = False,
    timeout: _Timeout = "2m",
    output: Output = "text",
) -> None:
    """Alerts of an Alertmanager that fire or ended lately, as events."""
    _pull("alertmanager", locals())


_NOT_SETTINGS = ("store", "since", "until", "query", "service", "output")


def _pull(kind: str, given: dict[str, Any]) -> None:
    """Pull a window into the store, and print what came and, as ``ingest`` does, what of it was dropped and why."""
    from ..tracer.pull import fetcher
    from ..tracer.pull.settings import Settings
    from ..tracer.pull.stored import store_new
    from ..tracer.store import Store

    window = _window(given["since"], given["until"])
    section = {key: value for key, value in given.items() if key not in _NOT_SETTINGS}
    if kind == "tempo":
        section["query"] = given["query"]
    fetch, base = fetcher(Settings.of(kind, section))
    with _progress() as bar:
        task = bar.add_task(f"pulling {kind}", total=1.0)
        batches = fetch(window, on_progress=lambda share: bar.update(task, completed=share))
        tally = store_new(Store(given["store"], create=True), base, window, batches)
    _print(base, window, tally, given["output"])


def _window(since: str, until: str) -> Window:
    from ..tracer.window import Window, parse_time

    try:
        return Window(parse_time(since), parse_time(until))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since, --until") from error


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _print(base: str, window: Window, tally: Tally, output: str) -> None:
    from ..tracer.window import to_rfc3339

    if output == "json":
        found = {
            "source": base,
            "since": to_rfc3339(window.start_ns),
            "until": to_rfc3339(window.end_ns),
            "rows": dict(tally.accepted),
            "dropped": dict(tally.dropped),
            "repaired": dict(tally.repaired),
            "problems": tally.problems,
        }
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    rows = ", ".join(f"{count:,} {signal}" for signal, count in sorted(tally.accepted.items()) if count)
    typer.echo(f"{base}: {rows or 'nothing new'}")
    for word, counts in (("dropped", tally.dropped), ("repaired", tally.repaired)):
        for reason, count in sorted(counts.items()):
            typer.echo(f"  {word} {count:,}: {reason}")
    for problem in tally.problems:
        typer.echo(f"    {problem}", err=True)
