"""The sync service as a whole: `config` (the configuration file), `wiring` (the one place that picks implementations), `run` (the
process: signals, exit codes), `logs`.
"""

from __future__ import annotations

from syncline.service.config import ServiceConfig, load_config
from syncline.service.wiring import Service

__all__ = ["Service", "ServiceConfig", "load_config"]
