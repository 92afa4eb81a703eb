"""The command `goldmaster`: which verbs there are, and what becomes of errors. A verb is imported when it is used."""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from controller import errors
from controller.cli import exits
from controller.model import foreign_text

PROGRAM = "goldmaster"
_SECTIONS = ("Main job", "Look", "Ask", "Care", "Shell")
VERBS = {
    "apply": ("Main job", "controller.cli.apply", "Bring the images of PATH... to Ready, once."),
    "run": ("Main job", "controller.cli.run", "Watch PATH... and keep its images as they are asked for."),
    "plan": ("Main job", "controller.cli.plan", "Print what apply would do, and why; change nothing."),
    "validate": ("Main job", "controller.cli.validate", "Check manifests; for editors, pre-commit and CI."),
    "get": ("Look", "controller.cli.get", "List images or backupstorages, or show one."),
    "describe": ("Look", "controller.cli.describe", "Tell everything known of one object."),
    "history": ("Look", "controller.cli.history", "List the revisions of an image that are kept."),
    "inventory": ("Look", "controller.cli.inventory", "Print the image inventory records as JSON."),
    "reconcile": ("Ask", "controller.cli.request", "Ask for a look at images now."),
    "suspend": ("Ask", "controller.cli.request", "Stop and start nothing for images, until resume."),
    "resume": ("Ask", "controller.cli.request", "Let suspended images go on."),
    "rollback": ("Care", "controller.cli.history", "Print what to commit so that an older revision serves again."),
    "trash": ("Care", "controller.cli.trash", "List, recover or expunge what deleted images left."),
    "quarantine": ("Care", "controller.cli.quarantine", "List damaged copies that are out of service, or let them go."),
    "verify": ("Care", "controller.cli.verify", "Hash stored bytes again and compare."),
    "doctor": ("Care", "controller.cli.doctor", "Find, explain and mend what does not agree."),
    "operator": ("Main job", "controller.cli.operator", "Reconcile the Images of a Kubernetes API server."),
    "completion": ("Shell", "controller.cli.completion", "Print what makes a shell complete this command."),
}
"""Verb -> (section of the help, module whose attribute of that name it is, one line)."""


class LazyGroup(click.Group):
    """Knows its verbs by name and imports the module of one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: D102
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(VERBS[cmd_name][1])
        command: click.Command = getattr(module, cmd_name)
        command.epilog = exits.epilog()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; suggest the nearest one for a slip."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            ctx.fail(f"There is no verb {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: D102
        for section in _SECTIONS:
            with formatter.section(section):
                formatter.write_dl([(name, line) for name, (of, _, line) in VERBS.items() if of == section])


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{PROGRAM} {version(PROGRAM)}")
        ctx.exit()


@click.group(cls=LazyGroup, epilog=exits.epilog(), context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def cli() -> None:
    """Keep golden VM images where they should be.

    Write Image manifests; `goldmaster apply` downloads the bytes, proves that they are the right ones, places them on
    every backup storage that a manifest names, and reports what it did.

    Every flag has a variable, shown in brackets; GOLDMASTER_STATE saves typing --state.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. A bug of ours comes out as the exception it is, and exit code 1."""
    try:
        code = cli.main(arguments, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exits.USAGE
    except errors.GoldmasterError as exc:
        click.echo(foreign_text.printable(f"{PROGRAM}: {exc}"), err=True)
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except BrokenPipeError:
        # the reader has had enough (`| head`); the interpreter must not complain about the rest at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BROKEN_PIPE
    return code if isinstance(code, int) else exits.OK
