"""The official web SDK for a page: which packages, fetched when somebody asks for them, and where a browser finds each module.

Nothing of it is part of Syncline: npm fetches it from the public registry into a cache folder, and a page imports it from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from syncline.cli.demo.npm_packages import NpmFailed, cache_folder, install_packages, installed_packages
from syncline.cli.demo.state import WebSdkState

__all__ = ["IMPORTS", "WEB_PACKAGES", "WORKER_PATH", "WebSdkFiles"]

WEB_PACKAGES = ("@powersync/web@2.4.0", "@powersync/common@2.3.0")

# Where the browser finds each module that the SDK imports by name: with this, no bundler is needed.
IMPORTS = {
    "@powersync/web": "/packages/@powersync/web/lib/index.js",
    "@powersync/common": "/packages/@powersync/common/lib/index.js",
    "@powersync/shared-internals": "/packages/@powersync/shared-internals/lib/index.js",
    "@powersync/shared-internals/websockets": "/packages/@powersync/shared-internals/dist/websockets.mjs",
    "@journeyapps/wa-sqlite": "/packages/@journeyapps/wa-sqlite/src/sqlite-api.js",
    "@journeyapps/wa-sqlite/": "/packages/@journeyapps/wa-sqlite/",
    "comlink": "/packages/comlink/dist/esm/comlink.mjs",
}
WORKER_PATH = "/packages/@powersync/web/dist/worker/worker.js"


class WebSdkFiles:
    """The packages for one server. `modules` is their folder once they are there; `when_changed` is called when `state` has changed."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or cache_folder("syncline-demo")
        self.when_changed: Callable[[], None] | None = None
        self.modules = installed_packages(WEB_PACKAGES, self._cache)
        self.state = WebSdkState("absent", "It is fetched from the npm registry when the tab is opened.")
        if self.modules is not None:
            self.state = WebSdkState("ready", "")
        self._fetching: asyncio.Task[None] | None = None

    def fetch(self) -> None:
        """Begin to fetch what is missing; again after a failure. Returns at once."""
        if self.modules is None and (self._fetching is None or self._fetching.done()):
            self._tell(WebSdkState("fetching", "npm fetches the official web SDK …"))
            self._fetching = asyncio.create_task(self._fetch())

    async def close(self) -> None:
        """Wait for a fetch under way: npm writes into the cache until then."""
        if self._fetching is not None:
            await asyncio.wait([self._fetching])

    async def _fetch(self) -> None:
        try:
            self.modules = await asyncio.to_thread(install_packages, WEB_PACKAGES, self._cache)
        except (NpmFailed, OSError) as exc:
            self._tell(WebSdkState("failed", str(exc)))
        else:
            self._tell(WebSdkState("ready", ""))

    def _tell(self, state: WebSdkState) -> None:
        self.state = state
        if self.when_changed is not None:
            self.when_changed()
