"""`signalops export`: write what a trainer reads to a file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from sidecar.cli.client import DEFAULT_URL, MISTYPED, Json, Url, part, stop
from sidecar.cli.downloads import Downloads, Saved, check_place, patient
from sidecar.cli.output import number, say, show_json

app = typer.Typer(no_args_is_help=True, help="Write training data to a file.")

DATASETS = "/v1/datasets"
JUDGMENTS = "judgments"
KINDS = ("sft", "dpo", "kto")

Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="openai-sft, openai-dpo, azure, together, fireworks, trl-sft, trl-dpo, trl-kto, "
        "alpaca, sharegpt or parquet; of judgments jsonl or parquet.",
    ),
]
Output = Annotated[Path, typer.Option(help="Where to; a name that ends in .gz is compressed.")]
Split = Annotated[str | None, typer.Option(help="train (unless said) or validation.")]


@app.command("training-data")
def training_data(  # noqa: PLR0913  (each is an option of the command)
    *,
    kind: Annotated[str, typer.Option("--type", help="judgments, sft, dpo or kto.")],
    form: Format,
    output: Output,
    project: Annotated[str | None, typer.Option(help="Whose.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Of this dataset; else one is built.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Only of this model group.")] = None,
    since: Annotated[str | None, typer.Option(help="Calls from this time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Calls before this time.")] = None,
    split: Split = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Export judgments, or a dataset, which is built first unless one is named."""
    only = {"project_id": project, "group": group, "since": since, "until": until}
    check_place(output)
    api = patient(url)
    if kind == JUDGMENTS:
        _refuse_given("judgments", dataset=dataset, split=split)
        path, params = "/v1/judgments/export", {"format": form, **only}
        return _tell(_save(api, path, output, params), None, as_json=as_json)
    if kind not in KINDS:
        msg = f"--type must be {JUDGMENTS}, {', '.join(KINDS)}; found {kind[:40]!r}"
        raise stop(msg, MISTYPED)
    if dataset is None:
        dataset = str(api.post(DATASETS, {"kind": kind, **only})["id"])
    else:
        _refuse_given("a dataset that is there already", group=group, since=since, until=until)
        _check_kind(api, dataset, kind)
    _tell(_of_dataset(api, dataset, output, form, split), dataset, as_json=as_json)
    return None


@app.command("dataset")
def of_dataset(
    dataset: Annotated[str, typer.Argument(help="As `signalops dataset list` shows it.")],
    *,
    form: Format,
    output: Output,
    split: Split = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Export a dataset."""
    saved = _of_dataset(patient(url), dataset, output, form, split)
    _tell(saved, dataset, as_json=as_json)


def _of_dataset(
    api: Downloads, dataset: str, output: Path, form: str, split: str | None
) -> Saved:
    params = {"format": form, "split": split}
    return _save(api, f"{DATASETS}/{part(dataset)}/export", output, params)


def _check_kind(api: Downloads, dataset: str, kind: str) -> None:
    found = api.get(f"{DATASETS}/{part(dataset)}")["kind"]
    if found != kind:
        msg = f"{dataset} is a dataset of type {found}, and --type says {kind}"
        raise stop(msg, MISTYPED)


def _refuse_given(what: str, **options: str | None) -> None:
    for name, value in options.items():
        if value is not None:
            msg = f"--{name} does not go with {what}"
            raise stop(msg, MISTYPED)


def _save(api: Downloads, path: str, output: Path, params: dict[str, Any]) -> Saved:
    with _bar() as started:
        return api.save(path, output, started, **params)


@contextmanager
def _bar() -> Iterator[Callable[[int], Callable[[int], None]]]:
    """Show how many rows have come, on a terminal's standard error."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), "rows", TimeRemainingColumn())
    shown = Progress(
        "{task.description}", *columns, console=console, disable=not console.is_terminal
    )
    with shown:
        task = shown.add_task("preparing", total=None)

        def started(rows: int) -> Callable[[int], None]:
            shown.update(task, description="exporting", total=rows)
            return lambda done: shown.update(task, completed=done)

        yield started


def _tell(saved: Saved, dataset: str | None, *, as_json: bool) -> None:
    found = {"dataset": dataset, **asdict(saved), "path": str(saved.path)}
    if as_json:
        show_json(found)
        return
    held = "" if saved.held_out is None else f" ({saved.held_out:,} of the holdout left out)"
    of = "" if dataset is None else f"{dataset}: "
    say(f"{of}{number(saved.rows)} rows in {saved.path}{held}")
