"""The pictures of the report's page: `python docs/screenshots.py REFERENCE UPSTREAM` takes them again.

REFERENCE and UPSTREAM are saved runs of the whole suite, or of the scenarios below (`pytest conformance/ --results DIR`). It
needs Debian's chromium and chromium-driver. The drawings are made by `pictures.py`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.wait import WebDriverWait

PICTURES = Path(__file__).parent / "pictures"
#: What is shown, as the page's address has it.
PLACES = {
    "report.png": "#/s/walkthrough%2Fhello-world?view=1",
    "side-by-side.png": "#/s/containerd%2Frun-path%2Fexec-terminal?view=0,1",
}
WIDTH, HEIGHT = 1280, 880
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
SECONDS = 60


def take(page: Path, folder: Path, scheme: str = "light") -> None:
    """Write the pictures of a report's page, as a reader with this colour scheme sees it, into `folder`."""
    with tempfile.TemporaryDirectory() as profile:
        options = ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
        try:
            size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            for name, place in PLACES.items():
                driver.get("about:blank")
                driver.get(f"file://{page}{place}")
                WebDriverWait(driver, SECONDS).until(
                    lambda driver: driver.execute_script("return document.documentElement.dataset.ready")
                )
                driver.save_screenshot(str(folder / name))
        finally:
            driver.quit()


def main(runs: list[str]) -> None:
    """Make a report of the runs, and take its pictures."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([Path(sys.executable).with_name("sixhops"), "report", *runs, "-o", folder], check=True)
        take(Path(folder) / "index.html", PICTURES)


if __name__ == "__main__":
    main(sys.argv[1:])
