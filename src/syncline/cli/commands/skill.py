"""`syncline skill install`: give a coding agent what it has to know of Syncline."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.exit_codes import failures_told

__all__ = ["skill_install"]


def skill_install(
    folder: Path = typer.Argument(
        ..., help="Where the agent looks for skills, such as .claude/skills.", metavar="FOLDER"
    ),
    rule: Path | None = typer.Option(None, "--rule", help="Write the rule file for editors here too."),
) -> None:
    """Copy the skill into FOLDER/syncline, and bring an older copy there up to date.

    Nothing else is touched: a folder of this name that is no copy of the skill is left as it is.
    """
    from syncline.cli.skill_files import install_rule, install_skill

    with failures_told():
        target, files = install_skill(folder)
        typer.echo(f"Installed the skill: {len(files)} files in {target}.")
        if rule is not None:
            install_rule(rule)
            typer.echo(f"Wrote the rule file {rule}.")
