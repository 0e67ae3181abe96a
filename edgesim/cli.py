"""The `edgesim` command: thin, one function a verb. Heavy imports wait until a verb needs them.

Exit codes: 0 done; 1 a run failed; 2 bad usage or a bad scenario; 130 interrupted (Ctrl-C) or 143 (SIGTERM), what there
is was written.
"""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from edgesim.errors import EdgesimError, EdgesimWarning
from edgesim.plots.registry import PLOTS

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="What each federated algorithm costs, in time, energy and bytes, for the accuracy it reaches.",
)

ScenarioFile = Annotated[
    Path, typer.Argument(help="A scenario file, or the name of a shipped one.", show_default=False)
]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Set a value of the scenario, e.g. task.clients=50."),
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N|ray|ray://HOST:PORT",
        help="Worker processes, by default one per core; or a Ray cluster. Changes no result.",
        show_default=False,
    ),
]
ResultsFolder = Annotated[Path, typer.Argument(help="A results folder, or one run's directory.", show_default=False)]
ResultsFolders = Annotated[
    list[Path], typer.Argument(help="Results folders, or runs' directories.", metavar="RESULTS…", show_default=False)
]


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        # of a checkout in whose folder one works the code counts, whatever else is installed
        print(f"edgesim {version('edgesim')}, {Path(__file__).parent}, Python {sys.version.split()[0]}")
        raise typer.Exit


@app.callback()
def every_verb(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_tell_version, help="Say which edgesim this is, and where."),
    ] = False,
) -> None:
    """What each federated algorithm costs, in time, energy and bytes, for the accuracy it reaches."""


@app.command()
def run(
    scenario: ScenarioFile,
    overrides: Overrides = [],  # noqa: B006 typer reads the default, nobody changes it
    out: Annotated[Path | None, typer.Option(help="Where results go; by default results/<name>.")] = None,
    workers: Workers = None,
    replace: Annotated[bool, typer.Option("--replace", help="Discard what is there and start again.")] = False,
) -> None:
    """Run a scenario: all combinations of its sweep, each into a directory of its own."""
    from edgesim import console

    console.run(scenario, overrides, out, workers, replace=replace)


@app.command()
def estimate(
    scenario: ScenarioFile,
    overrides: Overrides = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Where results go; by default results/<name>-estimate.")] = None,
    workers: Workers = None,
    replace: Annotated[bool, typer.Option("--replace", help="Discard what is there and start again.")] = False,
) -> None:
    """Work out what a scenario takes in time, bytes and energy; nothing is trained, all else is as in a run."""
    from edgesim import console

    console.estimate(scenario, overrides, out, workers, replace=replace)


@app.command()
def resume(results: ResultsFolder, workers: Workers = None) -> None:
    """Go on with what was killed or interrupted; the files end up as if nothing had happened."""
    from edgesim import console

    console.resume(results, workers)


@app.command()
def verify(results: ResultsFolder, workers: Workers = None) -> None:
    """Run what is finished once more, here and now, and say whether it comes out the same, byte for byte."""
    from edgesim import console

    console.verify(results, workers)


@app.command()
def validate(scenario: ScenarioFile, overrides: Overrides = []) -> None:  # noqa: B006
    """Check a scenario and everything that it names, and say what it would run."""
    from edgesim import console

    console.validate(scenario, overrides)


@app.command()
def plot(
    figure: Annotated[str, typer.Argument(help=f"{', '.join(PLOTS)}.")],
    results: ResultsFolders,
    cost: Annotated[
        str | None, typer.Option(help="time, energy, bytes, flops, or prices, e.g. '0.3/kWh + 2/GB'.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="What the curves are of: accuracy, accuracy_worst10, loss, gradient_norm, …")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="When the timeline begins, e.g. 2 min.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="When it ends.")] = None,
    out: Annotated[Path | None, typer.Option(help="The picture; by default <results>/<figure>-….png.")] = None,
) -> None:
    """Draw a figure from results on disk."""
    from edgesim import drawing

    drawing.plot(figure, results, {"cost": cost, "metric": metric, "from": begin, "to": end}, out)


@app.command()
def report(
    results: ResultsFolders,
    against: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="Set the others against this one; by default the first.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="ACCURACY", help="In place of evaluate.target, e.g. 80 %.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(metavar="PRICES", help="One more cost: what all is worth at e.g. '0.3/kWh + 2/GB'.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The page; by default <results>/report.html.")] = None,
) -> None:
    """Set variants against each other, seed by seed and budget by budget, and write all there is to a page."""
    from edgesim import report as page

    page.write(results, against, target, price, out)


@app.command()
def analyze(
    results: ResultsFolders,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: each run's analysis.json.")] = False,
) -> None:
    """Say who took part, how stale updates were, what set the time of rounds, and what was wasted on what."""
    from edgesim import analyses

    analyses.show(results, as_json=as_json)


@app.command()
def export(
    results: ResultsFolder,
    begin: Annotated[str | None, typer.Option("--from", metavar="TIME", help="When it begins, e.g. 2 min.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="When it ends.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The trace; by default <run>/trace.json.gz. Compressed if it ends in .gz.")
    ] = None,
) -> None:
    """Write what everyone in a run did when as a trace, to zoom through in ui.perfetto.dev or chrome://tracing."""
    from edgesim import exports

    exports.trace(results, begin, end, out)


@app.command()
def devices(
    name: Annotated[str | None, typer.Argument(help="One device or link.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="A folder of your own profiles, instead of the catalogue.")
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option(metavar="SCENARIO", help="What a scenario's fleet is and when it is on line.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The picture of --fleet; by default <name>-fleet.png. A second lies beside it.")
    ] = None,
) -> None:
    """List the devices and links of the catalogue or of a folder, show one with its sources, or a whole fleet."""
    from edgesim import hardware

    hardware.devices(name, folder, fleet, out)


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(help="The profile; its name is the device's.")] = Path("my-board.yaml"),
    watts: Annotated[
        str | None, typer.Option(metavar="IDLE,TRAINING", help="Power of the whole device, where it cannot tell.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to train with; by default all cores.")] = None,
    family: Annotated[
        str, typer.Option(help="Kind of device: mcu, sbc, sbc-gpu, phone, tablet, laptop, gateway or server.")
    ] = "sbc",
) -> None:
    """Measure this machine and write its device profile, to put it into a fleet. Takes a minute; leave it alone."""
    from edgesim import hardware

    hardware.calibrate(out, watts, threads, family)


@app.command()
def algorithms(name: Annotated[str | None, typer.Argument(help="One algorithm.")] = None) -> None:
    """List the algorithms, or show one with its paper and hyper-parameters."""
    from edgesim import listings

    listings.algorithms(name)


@app.command()
def scenarios() -> None:
    """List the scenarios that ship with edgesim."""
    from edgesim import listings

    listings.scenarios()


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="A page for people instead: docs/scenario.md.")] = False,
) -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from edgesim import listings

    listings.schema(markdown=markdown)


_usually = warnings.showwarning


def _show(message: Warning | str, category: type[Warning], *where: Any, **what: Any) -> None:
    if issubclass(category, EdgesimWarning):
        print(f"edgesim: mind: {message}", file=sys.stderr)
    else:
        _usually(message, category, *where, **what)


def main() -> NoReturn:
    """Run the command; errors made on purpose become one message and an exit code, never a traceback."""
    warnings.showwarning = _show
    try:
        app()
    except EdgesimError as error:
        print(f"edgesim: {error}" if "\n" not in str(error) else error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("edgesim: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
