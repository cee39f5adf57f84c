"""A headless Chromium for tests of pages, driven by `playwright-core` from npm: commands out, answers in, one at a time."""

from __future__ import annotations

from tests.support.browser.browser import Browser

__all__ = ["Browser"]
