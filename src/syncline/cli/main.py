"""Entry point of the command line, and the table of its commands.

A command is one line in `COMMANDS`; its module is imported when it is called (`syncline.cli.lazy_groups`).
"""

from __future__ import annotations

import sys

import typer

from syncline import __version__
from syncline.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from syncline.cli.lazy_groups import Command, CommandTable, group_class

__all__ = ["COMMANDS", "GROUPS", "TABLE", "app", "main"]

_AT = "syncline.cli.commands"
_OF_SERVICE = EXIT_FAILED  # what the service's container expects of a wrong command line (service config reference, 6)


def _cloud(words: str, function: str) -> Command:
    return Command(words, f"{_AT}.cloud_only:{function}", "What to do instead.", hidden=True, takes_anything=True)


COMMANDS: tuple[Command, ...] = (
    Command("start", f"{_AT}.start:start", "Run the sync service until it is told to stop.", _OF_SERVICE),
    Command(
        "test-connection", f"{_AT}.check_connection:check_connection", "Check the source and the storage.", _OF_SERVICE
    ),
    Command("migrate", f"{_AT}.migrate:migrate", "Bring bucket storage up to date, or back.", _OF_SERVICE),
    Command("compact", f"{_AT}.compact:compact", "Compact bucket storage once.", _OF_SERVICE),
    Command("teardown", f"{_AT}.teardown:teardown", "Drop the replication slots, remove bucket storage.", _OF_SERVICE),
    Command("init", f"{_AT}.init:init", "Make a project for a service of your own."),
    Command("init self-hosted", f"{_AT}.init:init", "The same."),
    Command("link self-hosted", f"{_AT}.link:link_self_hosted", "Link the project to a service of your own."),
    Command("validate", f"{_AT}.validate:validate", "Check the configuration, the connections and the sync config."),
    Command(
        "check schema", f"{_AT}.check:check_schema", "Compare the device's schema, the sync config and the source."
    ),
    Command("check policies", f"{_AT}.check:check_policies", "Compare a backend's policies with the sync config."),
    Command("doctor", f"{_AT}.doctor:doctor", "Find out why nothing syncs, and what to do about it."),
    Command("status", f"{_AT}.status:status", "Show how the linked service's replication stands."),
    Command("deploy", f"{_AT}.deploy:deploy", "Deploy the sync config to the linked service."),
    Command("deploy sync-config", f"{_AT}.deploy:deploy", "The same."),
    Command("pull", f"{_AT}.pull:pull", "Fetch the sync config of the linked service."),
    Command("pull instance", f"{_AT}.pull:pull", "The same."),
    Command("fetch status", f"{_AT}.status:status", "The same as status."),
    Command("fetch instances", f"{_AT}.fetch:fetch_instances", "List the linked projects in the folders of this one."),
    Command("fetch config", f"{_AT}.fetch:fetch_config", "Show the service's configuration with all defaults."),
    Command("configure ide", f"{_AT}.configure_ide:configure_ide", "Let an editor know the project's files."),
    Command("source setup", f"{_AT}.source_setup:source_setup", "Print the statements that set up a source."),
    Command("docker configure", f"{_AT}.docker:docker_configure", "Write a development stack into the project."),
    Command("docker start", f"{_AT}.docker:docker_start", "Start the stack, and wait until it is healthy."),
    Command("docker stop", f"{_AT}.docker:docker_stop", "Stop the stack."),
    Command("docker reset", f"{_AT}.docker:docker_reset", "Remove the stack's containers, and start it again."),
    Command(
        "generate schema", f"{_AT}.generate_schema:generate_schema", "Generate the schema of the device's database."
    ),
    Command("generate token", f"{_AT}.generate_token:generate_token", "Print a token for a user, for development."),
    Command("token decode", f"{_AT}.token_decode:token_decode", "Show what a token says, and what is wrong with it."),
    Command("keys generate", f"{_AT}.keys:keys_generate", "Make the first key of a folder."),
    Command("keys rotate", f"{_AT}.keys:keys_rotate", "Announce the next key."),
    Command("keys list", f"{_AT}.keys:keys_list", "List the keys of a folder with their stages."),
    Command("keys jwks", f"{_AT}.keys:keys_jwks", "Print the public keys of a folder."),
    Command("migrate sync-rules", f"{_AT}.migrate_sync_rules:migrate_sync_rules", "Write sync rules as sync streams."),
    Command("source sql", f"{_AT}.administration:source_sql", "Run SQL on the source, through the service."),
    Command("users connections", f"{_AT}.administration:users_connections", "Show open streams, and those by day."),
    Command("users revoke", f"{_AT}.administration:users_revoke", "End all streams of a user now."),
    Command("reprocess", f"{_AT}.administration:reprocess", "Copy everything from the source again."),
    Command("dead-letters list", f"{_AT}.dead_letters:dead_letters_list", "List writes that a backend has refused."),
    Command("dead-letters show", f"{_AT}.dead_letters:dead_letters_show", "Show a refused write whole."),
    Command("dead-letters retry", f"{_AT}.dead_letters:dead_letters_retry", "Apply a refused write again."),
    Command("dead-letters discard", f"{_AT}.dead_letters:dead_letters_discard", "Give a refused write up."),
    Command("dlq ls", f"{_AT}.dead_letters:dead_letters_list", "The same as dead-letters list."),
    Command("dlq show", f"{_AT}.dead_letters:dead_letters_show", "The same as dead-letters show."),
    Command("dlq retry", f"{_AT}.dead_letters:dead_letters_retry", "The same as dead-letters retry."),
    Command("dlq discard", f"{_AT}.dead_letters:dead_letters_discard", "The same as dead-letters discard."),
    Command(
        "backend types", f"{_AT}.backend_tools:backend_types", "Show which values become which values of Postgres."
    ),
    Command("openapi", f"{_AT}.backend_tools:openapi", "Print the OpenAPI document of the write API."),
    Command("queue ls", f"{_AT}.queue:queue_list", "List a device's writes that wait, or were refused."),
    Command("queue show", f"{_AT}.queue:queue_show", "Show one of them whole."),
    Command("queue retry", f"{_AT}.queue:queue_retry", "Queue a refused one again."),
    Command("queue discard", f"{_AT}.queue:queue_discard", "Give one up."),
    Command("inspect", f"{_AT}.inspect:inspect", "Show what is in a device's file, or what it would download."),
    Command("buckets", f"{_AT}.live:buckets", "Show a user's buckets, and why the user has them."),
    Command("tail", f"{_AT}.live:tail_ops", "Show the operations that reach a user's devices, as they come."),
    Command("explain row", f"{_AT}.explain:explain_row", "Tell why a row is on a device, or not."),
    Command("explain user", f"{_AT}.explain:explain_user", "Tell which buckets a user has, and why."),
    Command("explain stream", f"{_AT}.explain:explain_stream", "Tell what one stream gives to a user."),
    Command("who", f"{_AT}.explain:who", "Show who sees a row, and in which buckets it stands."),
    Command("login", f"{_AT}.login:login", "Keep the token for a service's admin API on this machine."),
    Command("logout", f"{_AT}.login:logout", "Forget it."),
    Command("skill install", f"{_AT}.skill:skill_install", "Give a coding agent the skill of Syncline."),
    Command("demo", f"{_AT}.demo:demo", "Show a row travelling between devices, then stay for you to try."),
    # Of the official CLI's cloud: each says what to do instead.
    _cloud("init cloud", "init_cloud"),
    _cloud("link cloud", "link_cloud"),
    _cloud("deploy service-config", "deploy_service_config"),
    _cloud("destroy", "destroy"),
    _cloud("stop", "stop"),
    _cloud("plugins", "plugins"),
)

GROUPS: dict[str, str] = {  # words of a group -> its line of help
    "link": "Say which service the project belongs to.",
    "configure": "Set up tools around the project.",
    "source": "Prepare the database that is to be replicated.",
    "users": "Who is connected, and who may not be.",
    "check": "Whether device, sync config, source and backend agree.",
    "docker": "A development stack in containers.",
    "dead-letters": "Writes that an app's backend has refused, and keeps.",
    "dlq": "The same as dead-letters.",
    "backend": "What the backend toolkit does.",
    "queue": "A device's local writes that have not reached the backend, in its file.",
    "explain": "Why a row is on a device, or why it is not.",
    "generate": "Schemas for apps, and tokens for development.",
    "token": "Look at tokens.",
    "keys": "Signing keys in a folder, which rotate.",
    "skill": "What coding agents have to know of Syncline.",
    "fetch": "Show what is linked, and its configuration and status.",
}

TABLE = CommandTable(COMMANDS, GROUPS)

app = typer.Typer(
    name="syncline",
    cls=group_class(TABLE),
    help="Local-first sync for people who keep their data in their own database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing the help with it takes three times as long as all else
    context_settings={"help_option_names": ["-h", "--help"]},
    # Where a command is named, the options about completion only cost time: their values are read by a library that is slow to import.
    add_completion=len(sys.argv) < 2 or sys.argv[1].startswith("-"),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and leave."
    ),
) -> None:
    """Local-first sync for people who keep their data in their own database."""


def main() -> None:
    """Run the command line. A wrong one ends with 2; with 1 where it is one of the service's process."""
    try:
        app()
    except SystemExit as exc:
        if exc.code != EXIT_USAGE:
            raise
        command = TABLE.of_line(sys.argv[1:])
        sys.exit(command.usage_code if command else EXIT_USAGE)


if __name__ == "__main__":
    main()
