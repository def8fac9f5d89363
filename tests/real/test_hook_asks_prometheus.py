"""A real Prometheus behind TLS and a password, asked for series and for rules at the time of an alert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scraped import scraped

from hypocenter.errors import CaseError
from hypocenter.hook.telemetry import case_at
from hypocenter.hook.windows import Rules


def test_series_come_with_the_alert_and_a_wrong_password_is_named(tmp_path: Path, program: Callable[..., str]) -> None:
    with scraped(tmp_path, program, 8) as server:
        section: dict[str, Any] = {"url": server.url} | {
            name: getattr(server.access, name) for name in ("username", "password_file", "ca_file")
        }
        now = time.time_ns()

        def asked(section: dict[str, Any]) -> Any:
            return case_at({"prometheus": section}, now, now, "web", most_spans=1, ask_s=60)

        series = asked(section).telemetry.table("series").to_pylist()
        (tmp_path / "wrong").write_text("not it", encoding="utf-8")
        with pytest.raises(CaseError, match=r"^prometheus: .*refused with 401"):
            asked(section | {"password_file": str(tmp_path / "wrong")})
        asyncio.run(Rules(section).refresh())  # raises where it is not heard
    names = {one["name"] for one in series}
    assert {"http_requests_total", "process_open_fds", "http_request_duration_seconds"} <= names
    assert "web" in {one["service"] for one in series}
