"""`goldmaster completion`: what a shell sources."""

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'eval "$(goldmaster completion bash)"          # in ~/.bashrc',
    "zsh": 'eval "$(goldmaster completion zsh)"           # in ~/.zshrc, after compinit',
    "fish": "goldmaster completion fish | source           # in ~/.config/fish/config.fish",
}


@click.command(short_help="Print what makes a shell complete this command.")
@click.argument("shell", type=click.Choice(list(_HOW)))
def completion(shell: str) -> None:
    """Print what makes SHELL complete verbs, flags, kinds, namespaces and names.

    \b
    eval "$(goldmaster completion bash)"          # in ~/.bashrc
    eval "$(goldmaster completion zsh)"           # in ~/.zshrc, after compinit
    goldmaster completion fish | source           # in ~/.config/fish/config.fish
    """
    from controller.cli import main

    found = get_completion_class(shell)
    assert found is not None, "click knows the shells that are offered"  # noqa: S101
    script = found(main.cli, {}, main.PROGRAM, "_GOLDMASTER_COMPLETE")
    click.echo(script.source_template % script.source_vars())
