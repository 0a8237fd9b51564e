"""How a command ends: exit codes, one sentence for bad input, and the progress bar until then."""

from __future__ import annotations

import contextlib
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import typer

__all__ = ["BAD_INPUT", "DONE", "GATE_FAILED", "INTERRUPTED", "UNEXPECTED", "exit_codes", "progress_bar"]

DONE, GATE_FAILED, BAD_INPUT, UNEXPECTED, INTERRUPTED = 0, 1, 2, 3, 130


@contextlib.contextmanager
def progress_bar() -> Iterator[bool | Callable[[str, float], None]]:
    """A progress bar on standard error, or False where nobody watches."""
    if not sys.stderr.isatty():
        yield False
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("Starting", total=1.0)
        yield lambda stage, fraction: bars.update(task, description=stage, completed=fraction)


@contextlib.contextmanager
def exit_codes(interrupted: str = "no report was written") -> Iterator[list[str]]:
    """Exceptions as exit codes: one sentence for bad input, a traceback only for what nobody foresaw.

    Yields the list of warnings about the input, which are also shown as one line each.
    """
    with warnings.catch_warnings():
        shown: list[str] = []
        warnings.showwarning = _short_warnings(warnings.showwarning, shown)
        try:
            yield shown
        except (typer.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            typer.echo(f"Interrupted; {interrupted}.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if not _is_bad_input(error):
                traceback.print_exc()
                raise typer.Exit(UNEXPECTED) from error
            typer.echo("Error: " + " ".join(str(error).split()), err=True)
            raise typer.Exit(BAD_INPUT) from error


def _is_bad_input(error: Exception) -> bool:
    """Whether the message is for the user: of the file system, or a check of this package, raised here."""
    if isinstance(error, OSError | ImportError):
        return True
    if not isinstance(error, ValueError | TypeError | FloatingPointError):
        return False
    *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").partition(".")[0] == "mace_jax"


def _short_warnings(default: Callable[..., None], shown: list[str]) -> Callable[..., None]:
    def show(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if category is UserWarning:
            shown.append(str(message))
            typer.echo(f"Warning: {message}", err=True)
        else:
            default(message, category, *args, **kwargs)

    return show
