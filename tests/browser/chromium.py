"""The browser of the tests: the system's Chromium, driven by Playwright; where there is none, that is an error."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

COMMANDS = ("chromium", "chromium-browser", "google-chrome")


def command() -> str:
    """Return the path of the first Chromium on this machine."""
    found = next((path for path in map(shutil.which, COMMANDS) if path), None)
    if found is None:
        raise FileNotFoundError(f"none of {', '.join(COMMANDS)} is installed: run `sh tools/chromium.sh`")
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """Run one headless browser.

    Only as long as a module of tests: Playwright keeps an event loop running, and no other can run in its process.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command())
        yield browser
        browser.close()


class Watch:
    """What a page asks the network for, and what it complains of."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
