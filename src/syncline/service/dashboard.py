"""The dashboard put together; what it serves is in `syncline.api.dashboard`."""

from __future__ import annotations

import contextlib
import logging

from syncline.api.app import AsgiApp
from syncline.api.dashboard.app import DashboardApp, DashboardOff
from syncline.api.dashboard.clients import Clients
from syncline.api.dashboard.configs import Configs
from syncline.api.dashboard.explaining import Explaining
from syncline.api.dashboard.overview import Overview
from syncline.api.dashboard.recent_errors import RecentErrors
from syncline.api.dashboard.sizes import Sizes
from syncline.api.dashboard.tail import Tails
from syncline.api.probes import Probes
from syncline.auth.api_tokens import ApiTokens
from syncline.replication.postgres.row_reader import PostgresRowReader
from syncline.replication.postgres.source import PUBLICATION
from syncline.service.administration import Administration
from syncline.service.config import ServiceConfig
from syncline.service.logs import Redactor
from syncline.sync.stream import StreamContext

__all__ = ["make_dashboard"]


def make_dashboard(
    config: ServiceConfig,
    administration: Administration,
    *,
    context: StreamContext,
    probes: Probes,
    conninfo: str,
    ignored_schema: str,
    closing: contextlib.AsyncExitStack,
) -> AsgiApp:
    """The dashboard, or what answers in its place where `api.tokens` has no token. Call after the admin API's handlers were made.

    The newest errors of the process are kept until `closing` is.
    """
    tokens = [token for token in config.settings.api.tokens if token]
    if not tokens:
        return DashboardOff()
    assert administration.diagnostics is not None, "made together with the handlers"
    errors = RecentErrors(Redactor(config.secrets).clear)
    logger = logging.getLogger("syncline")
    logger.addHandler(errors)
    closing.callback(logger.removeHandler, errors)
    rows = PostgresRowReader(conninfo, publication=PUBLICATION, ignored_schema=ignored_schema)
    deployments, limits = administration.deployments, context.limits
    app = DashboardApp(
        tokens=ApiTokens(tokens),
        overview=Overview(diagnostics=administration.diagnostics, probes=probes, registry=administration.registry),
        clients=Clients(administration.users, context.watcher),
        errors=errors,
        configs=Configs(deployments=deployments, control=administration.control, rows=rows, limits=limits),
        explaining=Explaining(reader=context.reader, deployments=deployments, rows=rows, limits=limits),
        sizes=Sizes(context.reader, administration.control),
        tails=Tails(context),
    )
    closing.push_async_callback(app.close)
    return app
