"""Log lines that say whose request they belong to."""

from __future__ import annotations

import logging
import logging.config

from .context import current


class ContextFilter(logging.Filter):
    """Adds tenant, subject and request id to every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in current().as_dict().items():
            setattr(record, name, value or "-")
        return True


def configure(level: str = "INFO") -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"context": {"()": ContextFilter}},
            "formatters": {
                "line": {
                    "format": "%(asctime)s %(levelname)s %(name)s tenant=%(tenant)s "
                    "subject=%(subject)s request_id=%(request_id)s %(message)s"
                }
            },
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "filters": ["context"], "formatter": "line"}
            },
            "loggers": {"app": {"handlers": ["stderr"], "level": level, "propagate": False}},
        }
    )
