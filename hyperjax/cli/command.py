"""The command: what it is made of, and how it ends."""

import os
import sys
from typing import Annotated

import typer

from hyperjax.cli import advise, batch_cost, diagnose, lr_range, noise_scale, report, sharpness, signal, study, tasks

app = typer.Typer(
    name="hyperjax",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Train hundreds of settings in a few compiled programs, and see which hyperparameters mattered.",
    epilog="Begin with:  hyperjax study digits --trials 64 --output out",
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; bad input ends with one line and exit code 2, Ctrl-C with 130."""
    # XLA reports as errors, on stderr, features of its own that it misses in programs from its own cache (jax 0.10).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name="hyperjax", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted", 130)
    except ValueError as error:
        _complain(str(error), 2)
    except OSError as error:  # the disk is full, or the folder went away
        _complain(f"{error.filename or 'a file'} could not be written or read: {error.strerror or error}", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what Typer raises for arguments it cannot read
            raise
        message, where = error.format_message(), getattr(getattr(error, "ctx", None), "command_path", "hyperjax")
        if message:
            _complain(f"{message.rstrip('.')}; see: {where} --help", getattr(error, "exit_code", 2))
        sys.exit(getattr(error, "exit_code", 2))
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str, code: int) -> None:
    print(f"hyperjax: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        from hyperjax import __version__

        print(f"hyperjax {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


app.command()(tasks.tasks)
app.command(epilog=study.EPILOG)(study.study)
app.command(epilog=report.EPILOG)(report.report)
app.command(epilog=advise.EPILOG)(advise.advise)
app.command("noise-scale", epilog=noise_scale.EPILOG)(noise_scale.noise_scale)
app.command("batch-cost", epilog=batch_cost.EPILOG)(batch_cost.batch_cost)
app.command("lr-range", epilog=lr_range.EPILOG)(lr_range.lr_range)
app.command(epilog=sharpness.EPILOG)(sharpness.sharpness)
app.command(epilog=signal.EPILOG)(signal.signal)
app.command(epilog=diagnose.EPILOG)(diagnose.diagnose)
